"""Plain training: the mean error on pictures with captions, and what keeps the base's other words as they were."""

from __future__ import annotations

from torch import Tensor

from trainers.config import Noise
from trainers.config import Sft as SftConfig
from trainers.data.dataset import Batch
from trainers.objectives.base import Denoiser, LossResult
from trainers.objectives.losses import make_loss


class Sft:
    """loss = mean of weight * error, + preservation * mean drift.

    weight: of the sample's data set, times that of its noise level; error: over the places that its mask leaves.

    drift: on the same noisy pictures under a caption with another word in the trigger's place, the prediction
    must not move away from the base's (differential output preservation). Without it an adapter that only ever
    sees its subject draws it into everything.
    """

    def __init__(self, config: SftConfig, noise: Noise) -> None:
        self._preservation, self._noise, self._loss = config.preservation, noise, make_loss(config)

    def loss(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> LossResult:
        error = denoiser.error(batch.latents, batch.cond, noise, sigma, batch.mask, loss=self._loss)
        of_level = denoiser.family.process.weight(sigma, self._noise.weighting, self._noise.min_snr_gamma)
        error = (batch.weight * of_level * error).mean()
        if batch.preserved is None:
            return LossResult(error)
        drift = denoiser.drift(batch.latents, batch.preserved, noise, sigma).mean()
        return LossResult(error + self._preservation * drift, {"error": error.detach(), "drift": drift.detach()})
