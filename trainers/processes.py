"""Noise processes: how pictures become noise, and what the denoiser is asked for.

One convention for all: sigma in [0, 1], 1 is pure noise. sigma stays fp32, since bf16 would round it to
a few hundred values.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_SIGMA = 1e-3  # sigma_sqrt would weigh the last trace of noise without end


class NoiseProcess(Protocol):
    """Mixes clean latents x0 with noise eps, both [B,C,h,w]; sigma [B] fp32."""

    def add_noise(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor: ...

    def target(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor: ...

    def weight(self, sigma: Tensor, kind: str, gamma: float) -> Tensor:
        """How much the error at each noise level counts, [B]. Raises ValueError for a kind that it does not have."""
        ...

    def snr(self, sigma: Tensor) -> Tensor:
        """Signal-to-noise ratio, [B]: variance of the picture's part over that of the noise's."""
        ...


class RectifiedFlow:
    """Straight lines from picture to noise (Liu et al. 2022; Esser et al. 2024)."""

    def add_noise(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """z = (1 - sigma) x0 + sigma eps."""
        s = expand(sigma, x0)
        return (1 - s) * x0 + s * eps

    def target(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """velocity = dz/dsigma = eps - x0."""
        return eps - x0

    def weight(self, sigma: Tensor, kind: str, gamma: float) -> Tensor:
        """sigma_sqrt: sigma^-2. cosmap: 2 / (pi (1 - 2 sigma + 2 sigma^2)) (Esser et al. 2024, section 3.1)."""
        if kind == "none":
            return torch.ones_like(sigma)
        if kind == "sigma_sqrt":
            return sigma.clamp_min(MIN_SIGMA) ** -2
        if kind == "cosmap":
            return 2 / (math.pi * (1 - 2 * sigma + 2 * sigma**2))
        raise ValueError(f"a flow has no weighting {kind}")

    def snr(self, sigma: Tensor) -> Tensor:
        return ((1 - sigma) / sigma) ** 2


class Diffusion:
    """DDPM (Ho et al. 2020) with eps or v targets (Salimans & Ho 2022).

    sigma is the share of the schedule: of T timesteps it means number floor(sigma T), counted from 0.
    """

    def __init__(self, alphas_cumprod: Tensor, prediction: str) -> None:
        """alphas_cumprod [T], falling; prediction: "epsilon" | "v_prediction"."""
        if prediction not in ("epsilon", "v_prediction"):
            raise ValueError(f"unknown prediction {prediction}")
        self.alphas_cumprod, self.prediction = alphas_cumprod.float(), prediction

    def timesteps(self, sigma: Tensor) -> Tensor:
        """[B] int64 in [0, T - 1]."""
        count = len(self.alphas_cumprod)
        return (sigma.double() * count).floor().long().clamp(0, count - 1)

    def sigma_of(self, timesteps: Tensor) -> Tensor:
        """The middle of each timestep's share, [B] fp32: timesteps(sigma_of(t)) is t."""
        return (timesteps.float() + 0.5) / len(self.alphas_cumprod)

    def add_noise(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """z = sqrt(abar) x0 + sqrt(1 - abar) eps."""
        signal, noise = self._scales(sigma, x0)
        return signal * x0 + noise * eps

    def target(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """eps, or v = sqrt(abar) eps - sqrt(1 - abar) x0."""
        if self.prediction == "epsilon":
            return eps
        signal, noise = self._scales(sigma, x0)
        return signal * eps - noise * x0

    def _scales(self, sigma: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        abar = self._abar(sigma)
        return expand(abar.sqrt(), like), expand((1 - abar).sqrt(), like)

    def _abar(self, sigma: Tensor) -> Tensor:
        return self.alphas_cumprod.to(sigma.device)[self.timesteps(sigma)]

    def snr(self, sigma: Tensor) -> Tensor:
        abar = self._abar(sigma)
        return abar / (1 - abar)

    def weight(self, sigma: Tensor, kind: str, gamma: float) -> Tensor:
        """min_snr: min(snr, gamma) / snr for eps, / (snr + 1) for v (Hang et al. 2023).

        debiased: 1 / sqrt(min(snr, 1000)) for eps, 1 / (snr + 1) for v (Yu et al. 2023, as kohya's trainers have it).
        """
        snr, is_v = self.snr(sigma), self.prediction == "v_prediction"
        if kind == "none":
            return torch.ones_like(sigma)
        if kind == "min_snr":
            return snr.clamp_max(gamma) / (snr + 1 if is_v else snr)
        if kind == "debiased":
            return 1 / (snr + 1) if is_v else snr.clamp_max(1000).rsqrt()
        raise ValueError(f"eps and v models have no weighting {kind}")


def expand(sigma: Tensor, like: Tensor) -> Tensor:
    """sigma [B] as [B,1,1,...], to be broadcast over `like`."""
    return sigma.view(-1, *([1] * (like.ndim - 1)))


# --------------------------------------------------------------------------- noise levels


def apply_shift(sigma: Tensor, shift: float) -> Tensor:
    """sigma' = S sigma / (1 + (S - 1) sigma): S > 1 moves towards noise (Esser et al. 2024, eq. 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sample_sigma(
    kind: str, mean: float, std: float, shift: float, generator: torch.Generator, mode_scale: float = 1.29
) -> Tensor:
    """One noise level [1], fp32, shifted.

    kind "logit_normal": sigmoid(mean + std N(0,1)). "uniform". "mode": with u uniform and s = mode_scale,
    1 - u - s (cos^2(pi u / 2) - 1 + u) (Esser et al. 2024, eq. 20).
    """
    if kind == "logit_normal":
        sigma = torch.sigmoid(mean + std * torch.randn(1, generator=generator))
    elif kind == "uniform":
        sigma = torch.rand(1, generator=generator)
    elif kind == "mode":
        u = torch.rand(1, generator=generator)
        sigma = 1 - u - mode_scale * (torch.cos(math.pi * u / 2) ** 2 - 1 + u)
    else:
        raise ValueError(f"unknown distribution of noise levels: {kind}")
    return apply_shift(sigma, shift)


def sigma_grid(count: int) -> Tensor:
    """`count` noise levels [count] in the middle of equal shares of (0, 1): a fixed ruler for validation."""
    return (torch.arange(count) + 0.5) / count


# --------------------------------------------------------------------------- noise


def offset_noise(noise: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """eps + o N(0,1) for each channel of [C,h,w], so that the mean of a picture can be learned (Guttenberg 2023)."""
    return noise + strength * torch.randn(noise.shape[0], 1, 1, generator=generator)


def pyramid_noise(noise: Tensor, discount: float, levels: int, generator: torch.Generator) -> Tensor:
    """eps [C,h,w] + coarser noise, level i times discount^i; scaled back to a deviation of 1 (Whitaker 2023).

    Each level is smaller than the last by 2 to 4 times, drawn; one pixel is the coarsest.
    """
    channels, height, width = noise.shape
    total = noise
    for level in range(levels):
        ratio = 2 + 2 * float(torch.rand(1, generator=generator))
        rows, columns = (max(1, int(side / ratio**level)) for side in (height, width))
        coarse = torch.randn(1, channels, rows, columns, generator=generator)
        total = total + discount**level * F.interpolate(coarse, (height, width), mode="bilinear")[0]
        if rows == 1 or columns == 1:
            break
    return total / total.std()
