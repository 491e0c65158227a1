"""Plain training: the mean error on pictures with captions, and what keeps the base's other words as they were."""

from __future__ import annotations

from torch import Tensor

from trainers.adapters import Adapter
from trainers.config import Noise, Objective
from trainers.data.dataset import Batch
from trainers.events import Warned
from trainers.objectives.base import Denoiser, LossResult, Reference
from trainers.objectives.losses import make_loss


class Sft:
    """loss = mean of weight * error, + preservation * mean drift.

    weight: of the sample's data set, times that of its noise level; error: over the places that its mask leaves.

    drift: on the same noisy pictures under a caption with another word in the trigger's place, the prediction
    must not move away from the base's (differential output preservation). Without it an adapter that only ever
    sees its subject draws it into everything.
    """

    def __init__(self, config: Objective, noise: Noise) -> None:
        self._preservation, self._noise, self._loss = config.preservation, noise, make_loss(config)

    def reference(self, adapter: Adapter) -> Reference:
        return adapter.disabled

    def loss(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> LossResult:
        errors = denoiser.error(batch.latents, batch.cond, noise, sigma, batch.mask, loss=self._loss)
        of_level = denoiser.process.weight(sigma, self._noise.weighting, self._noise.min_snr_gamma)
        errors = batch.weight * of_level * errors
        if batch.preserved is None:
            return LossResult(errors.mean())
        drift = denoiser.drift(batch.latents, batch.preserved, noise, sigma)
        metrics = {"error": errors.detach(), "drift": drift.detach()}
        return LossResult(errors.mean() + self._preservation * drift.mean(), metrics)

    def measure(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        """The squared error alone, over whole pictures: a ruler that settings do not stretch."""
        return {"loss": denoiser.error(batch.latents, batch.cond, noise, sigma)}

    def watch(self, metrics: dict[str, float], *, held_out: bool = False) -> list[Warned]:
        return []
