"""Noise processes: how pictures become noise, and what the denoiser is asked for.

One convention for all: sigma in [0, 1], 1 is pure noise. sigma stays fp32, since bf16 would round it to
a few hundred values.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class NoiseProcess(Protocol):
    """Mixes clean latents x0 with noise eps, both [B,C,h,w]; sigma [B] fp32."""

    def add_noise(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor: ...

    def target(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor: ...


class RectifiedFlow:
    """Straight lines from picture to noise (Liu et al. 2022; Esser et al. 2024)."""

    def add_noise(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """z = (1 - sigma) x0 + sigma eps."""
        s = expand(sigma, x0)
        return (1 - s) * x0 + s * eps

    def target(self, x0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """velocity = dz/dsigma = eps - x0."""
        return eps - x0


def expand(sigma: Tensor, like: Tensor) -> Tensor:
    """sigma [B] as [B,1,1,...], to be broadcast over `like`."""
    return sigma.view(-1, *([1] * (like.ndim - 1)))


def apply_shift(sigma: Tensor, shift: float) -> Tensor:
    """sigma' = S sigma / (1 + (S - 1) sigma): S > 1 moves towards noise (Esser et al. 2024, eq. 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sample_sigma(kind: str, mean: float, std: float, shift: float, generator: torch.Generator) -> Tensor:
    """One noise level [1], fp32. kind "logit_normal": sigmoid(mean + std N(0,1)), or "uniform"; then shifted."""
    if kind == "logit_normal":
        sigma = torch.sigmoid(mean + std * torch.randn(1, generator=generator))
    elif kind == "uniform":
        sigma = torch.rand(1, generator=generator)
    else:
        raise ValueError(f"unknown distribution of noise levels: {kind}")
    return apply_shift(sigma, shift)


def sigma_grid(count: int) -> Tensor:
    """`count` noise levels [count] in the middle of equal shares of (0, 1): a fixed ruler for validation."""
    return (torch.arange(count) + 0.5) / count
