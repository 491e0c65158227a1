"""The denoiser with its adapter as objectives see it, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from trainers.adapters import Adapter
from trainers.data.dataset import Batch
from trainers.events import Warned
from trainers.families.base import Conditioning, ModelFamily
from trainers.objectives.losses import Loss, l2
from trainers.processes import NoiseProcess

Reference = Callable[[], AbstractContextManager[None]]  # the model is the reference for a while


@dataclass(frozen=True)
class LossResult:
    """loss: scalar with gradient; metrics: detached values [n] of samples, of which the mean is plotted."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


def means_of(metrics: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
    """The mean of each over all its values; those without any are left out."""
    joined = {name: torch.cat(list(parts)) for name, parts in metrics.items()}
    return {name: values.mean() for name, values in joined.items() if len(values)}


class Denoiser:
    """Family and adapter behind two questions: what is predicted, and how wrong is it?"""

    def __init__(self, family: ModelFamily, adapter: Adapter, reference: Reference | None = None) -> None:
        """reference: makes the model what the adapter is compared with; without it, the base alone."""
        self.family, self.adapter = family, adapter
        self._reference = reference or adapter.disabled

    @property
    def process(self) -> NoiseProcess:
        return self.family.process

    def predict(
        self, latents: Tensor, cond: Conditioning, noise: Tensor, sigma: Tensor, *, reference: bool = False
    ) -> Tensor:
        """What the model makes of the noisy latents, [B,C,h,w] fp32; as in `error`. The reference has no gradient."""
        # mixed in fp32, and cast by the family at the model's door
        noisy = self.process.add_noise(latents, noise, sigma)
        if not reference:
            return self.family.predict(noisy, sigma, cond).float()
        with torch.no_grad(), self._reference():
            return self.family.predict(noisy, sigma, cond).float()

    def error(
        self,
        latents: Tensor,
        cond: Conditioning,
        noise: Tensor,
        sigma: Tensor,
        mask: Tensor | None = None,
        *,
        reference: bool = False,
        loss: Loss = l2,
    ) -> Tensor:
        """Mean loss of each sample against the truth, [B] fp32; the loss is the squared error unless told.

        latents, noise [B,C,h,w] fp32; sigma [B] fp32; mask [B,1,h,w] weighs places, None for all alike.
        reference: ask the reference instead of the model with the adapter.
        """
        predicted = self.predict(latents, cond, noise, sigma, reference=reference)
        losses = loss(predicted - self.process.target(latents, noise, sigma), sigma, self.process)
        if mask is None:
            return losses.flatten(1).mean(1)
        weight = mask.expand_as(losses)
        return (losses * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1e-6)

    def drift(self, latents: Tensor, cond: Conditioning, noise: Tensor, sigma: Tensor) -> Tensor:
        """Mean squared distance of the prediction with the adapter from the one without, [B] fp32. As in `error`."""
        reference = self.predict(latents, cond, noise, sigma, reference=True)
        predicted = self.predict(latents, cond, noise, sigma)
        return (predicted - reference).square().flatten(1).mean(1)


class Objective(Protocol):
    """From a batch with its noise to one number, and what can be said of how training goes.

    noise [B,C,h,w] fp32 and sigma [B] fp32 are drawn by the loop, so that they follow from (seed, step, sample).
    """

    def reference(self, adapter: Adapter) -> Reference:
        """What the adapter, which has its first weights now, will be compared with."""
        ...

    def loss(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> LossResult: ...

    def measure(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        """Of held-out samples: "loss" [B], and metrics [n] by the names that `loss` has for them."""
        ...

    def watch(self, metrics: dict[str, float], *, held_out: bool = False) -> list[Warned]:
        """What people should know after these means of a step, or of the held-out samples."""
        ...
