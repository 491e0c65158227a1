"""Loss on pictures that training never sees, at fixed noise levels and fixed noise: a curve that means something."""

from __future__ import annotations

import torch

from trainers.config import TrainConfig
from trainers.data.dataset import Dataset
from trainers.events import Emit, PhaseChanged, ValidationDone
from trainers.objectives.base import Denoiser
from trainers.processes import sigma_grid
from trainers.randomness import generator
from trainers.sampling import evaluating


class Validator:
    """Measures every held-out picture at each level of a fixed grid, each time with the same noise."""

    def __init__(self, config: TrainConfig, denoiser: Denoiser, dataset: Dataset, emit: Emit) -> None:
        self._config, self._denoiser, self._dataset, self._emit = config, denoiser, dataset, emit

    @torch.no_grad()
    def measure(self, step: int) -> None:
        """Emits the mean error over pictures and levels; does nothing when no picture is held out."""
        if not self._dataset.held_out:
            return
        self._emit(PhaseChanged("validating", f"step {step}"))
        with evaluating(self._denoiser.family):
            errors = torch.stack([self._errors(number) for number in range(len(self._dataset.held_out))]).mean(0)
        levels = sigma_grid(self._config.validation.sigmas)
        pairs = zip(levels.tolist(), errors.tolist(), strict=True)
        by_sigma = {f"{level:.3f}": round(error, 6) for level, error in pairs}
        self._emit(ValidationDone(step, errors.mean().item(), by_sigma))

    def _errors(self, number: int) -> torch.Tensor:
        """Error of one picture at every level, [sigmas] fp32 on the CPU."""
        batch = self._dataset.held_out_batch(number)
        levels = sigma_grid(self._config.validation.sigmas).to(batch.latents.device)
        draw = generator(self._config.run.seed, "validation", batch.ids[0])
        noise = torch.randn(batch.latents.shape, generator=draw).to(batch.latents.device)
        errors = []
        for part in levels.split(self._config.schedule.batch_size):
            count = len(part)
            cond = type(batch.cond).stack([batch.cond] * count)
            errors.append(
                self._denoiser.error(
                    batch.latents.expand(count, *batch.latents.shape[1:]),
                    cond,
                    noise.expand(count, *noise.shape[1:]),
                    part,
                )
            )
        return torch.cat(errors).cpu()
