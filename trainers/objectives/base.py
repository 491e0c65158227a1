"""The denoiser with its adapter as objectives see it, and what they return."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from trainers.adapters import Adapter
from trainers.data.dataset import Batch
from trainers.families.base import Conditioning, ModelFamily
from trainers.objectives.losses import Loss, l2


@dataclass(frozen=True)
class LossResult:
    """loss: scalar with gradient; metrics: detached scalars for the plots, means over the batch."""

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Denoiser:
    """Family and adapter behind one question: how wrong is the prediction?"""

    def __init__(self, family: ModelFamily, adapter: Adapter) -> None:
        self.family, self.adapter = family, adapter

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
        reference: ask the model without the adapter.
        """
        process = self.family.process
        # mixed in fp32, and cast by the family at the model's door
        noisy = process.add_noise(latents, noise, sigma)
        with self.adapter.disabled() if reference else contextlib.nullcontext():
            predicted = self.family.predict(noisy, sigma, cond)
        losses = loss(predicted.float() - process.target(latents, noise, sigma), sigma, process)
        if mask is None:
            return losses.flatten(1).mean(1)
        weight = mask.expand_as(losses)
        return (losses * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1e-6)

    def drift(self, latents: Tensor, cond: Conditioning, noise: Tensor, sigma: Tensor) -> Tensor:
        """Mean squared distance of the prediction with the adapter from the one without, [B] fp32. As in `error`."""
        noisy = self.family.process.add_noise(latents, noise, sigma)
        with torch.no_grad(), self.adapter.disabled():
            reference = self.family.predict(noisy, sigma, cond)
        predicted = self.family.predict(noisy, sigma, cond)
        return (predicted.float() - reference.float()).square().flatten(1).mean(1)


class Objective(Protocol):
    """From a batch with its noise to one number."""

    def loss(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> LossResult:
        """noise [B,C,h,w] fp32, sigma [B] fp32: drawn by the loop, so that they follow from (seed, step, sample)."""
        ...
