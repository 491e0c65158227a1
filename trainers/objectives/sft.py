"""Plain training: the mean error on pictures with captions."""

from __future__ import annotations

from torch import Tensor

from trainers.data.dataset import Batch
from trainers.objectives.base import Denoiser, LossResult


class Sft:
    """loss = mean of error over the batch."""

    def loss(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> LossResult:
        error = denoiser.error(batch.latents, batch.cond, noise, sigma)
        return LossResult(error.mean(), error.detach())
