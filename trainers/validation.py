"""Loss on pictures that training never sees, at fixed noise levels and fixed noise: a curve that means something."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor

from trainers.config import TrainConfig
from trainers.data.dataset import Batch, Batches
from trainers.events import Emit, PhaseChanged, ValidationDone
from trainers.objectives.base import Denoiser, Objective, means_of
from trainers.processes import sigma_grid
from trainers.randomness import generator
from trainers.sampling import evaluating


class Validator:
    """Measures every held-out sample at each level of a fixed grid, each time with the same noise."""

    def __init__(
        self, config: TrainConfig, denoiser: Denoiser, objective: Objective, dataset: Batches, emit: Emit
    ) -> None:
        self._config, self._denoiser, self._objective = config, denoiser, objective
        self._dataset, self._emit = dataset, emit

    @torch.no_grad()
    def measure(self, step: int) -> None:
        """Emits the means over samples and levels, and what the objective makes of them; does nothing when no sample
        is held out."""
        if not self._dataset.held_out:
            return
        self._emit(PhaseChanged("validating", f"step {step}"))
        with evaluating(self._denoiser.family):
            measured = [self._measured(number) for number in range(len(self._dataset.held_out))]
        losses = torch.stack([one.pop("loss") for one in measured]).mean(0)
        levels = sigma_grid(self._config.validation.sigmas)
        pairs = zip(levels.tolist(), losses.tolist(), strict=True)
        by_sigma = {f"{level:.3f}": round(loss, 6) for level, loss in pairs}
        metrics = {name: value.item() for name, value in means_of(_gathered(measured)).items()}
        self._emit(ValidationDone(step, losses.mean().item(), by_sigma, metrics))
        for warning in self._objective.watch(metrics, held_out=True):
            self._emit(warning)

    def _measured(self, number: int) -> dict[str, Tensor]:
        """Of one sample: "loss" at every level [sigmas], and metrics [n], fp32 on the CPU."""
        batch = self._dataset.held_out_batch(number)
        levels = sigma_grid(self._config.validation.sigmas).to(batch.latents.device)
        draw = generator(self._config.run.seed, "validation", batch.ids[0])
        noise = torch.randn(batch.latents.shape, generator=draw).to(batch.latents.device)
        parts = []
        for part in levels.split(self._config.schedule.batch_size):
            many = _repeated(batch, len(part))
            parts.append(self._objective.measure(self._denoiser, many, noise.expand_as(many.latents), part))
        return {name: torch.cat(values).float().cpu() for name, values in _gathered(parts).items()}


def _gathered(parts: list[dict[str, Tensor]]) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = defaultdict(list)
    for part in parts:
        for name, values in part.items():
            found[name].append(values)
    return found


def _repeated(batch: Batch, count: int) -> Batch:
    """A batch of one sample as a batch of `count` times that sample."""

    def rows(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.expand(count, *tensor.shape[1:])

    return replace(
        batch,
        latents=batch.latents.expand(count, *batch.latents.shape[1:]),
        cond=type(batch.cond).stack([batch.cond] * count),
        preserved=None,
        ids=batch.ids * count,
        captions=batch.captions * count,
        weight=batch.weight.expand(count),
        mask=rows(batch.mask),
        loser=rows(batch.loser),
        wanted=rows(batch.wanted),
    )
