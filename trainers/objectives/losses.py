"""How a difference between prediction and truth counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trainers.config import Objective
from trainers.processes import NoiseProcess, expand


class Loss(Protocol):
    def __call__(self, difference: Tensor, sigma: Tensor, process: NoiseProcess) -> Tensor:
        """difference [B,C,h,w] fp32; sigma [B] -> what each place counts, of the same shape."""
        ...


def l2(difference: Tensor, sigma: Tensor, process: NoiseProcess) -> Tensor:
    """d^2."""
    return difference.square()


@dataclass(frozen=True)
class Huber:
    """2 c (sqrt(d^2 + c^2) - c): d^2 for small differences, 2 c |d| for large ones (pseudo-Huber; Charbonnier 1997).

    smooth: 2 (sqrt(d^2 + c^2) - c), which is steeper the smaller c is. schedule: how c moves with the noise level.
    """

    c: float
    schedule: str
    smooth: bool = False

    def __call__(self, difference: Tensor, sigma: Tensor, process: NoiseProcess) -> Tensor:
        c = expand(self.threshold(sigma, process), difference)
        scale = 1.0 if self.smooth else c
        return 2 * scale * ((difference.square() + c.square()).sqrt() - c)

    def threshold(self, sigma: Tensor, process: NoiseProcess) -> Tensor:
        """c at each noise level, [B]: constant; exponential c^sigma; snr (1 - c) / (1 + s)^2 + c, s = 1 / sqrt(snr)."""
        if self.schedule == "constant":
            return torch.full_like(sigma, self.c)
        if self.schedule == "exponential":
            return self.c**sigma
        if self.schedule == "snr":
            return (1 - self.c) / (1 + process.snr(sigma).rsqrt()) ** 2 + self.c
        raise ValueError(f"unknown schedule {self.schedule}")


def make_loss(config: Objective) -> Loss:
    """The loss of this name."""
    if config.loss == "l2":
        return l2
    return Huber(config.huber_c, config.huber_schedule, smooth=config.loss == "smooth_l1")
