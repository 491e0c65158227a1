"""Everything needed to go on from a step, on disk, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trainers.adapters import Adapter
from trainers.errors import AtelierError
from trainers.rundir import RunDir

FILE = "state.pt"

Export = Callable[[Adapter, int, Path], None]  # adapter, step, file to write


@dataclass
class TrainState:
    """What changes while training. Randomness is not here: it follows from the seed and the step."""

    adapter: Adapter
    optimizer: Optimizer
    lr_scheduler: LRScheduler
    scaler: torch.amp.GradScaler
    step: int = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "adapter": self.adapter.state(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.lr_scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.adapter.load(saved["adapter"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.lr_scheduler.load_state_dict(saved["lr_scheduler"])
        self.scaler.load_state_dict(saved["scaler"])
        self.step = saved["step"]


def save(run: RunDir, state: TrainState, keep_last: int, export: Export | None = None) -> Path:
    """Write `checkpoints/step-NNNNNN` and delete the oldest beyond `keep_last` (0 keeps all).

    export: writes the adapter file beside the state, so that a checkpoint can be used as it is.
    """
    target = run.checkpoint(state.step)
    if target.exists():
        return target
    draft = run.checkpoints / f".writing-{state.step:06d}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with (draft / FILE).open("wb") as file:
        torch.save(state.state_dict(), file)
        file.flush()
        os.fsync(file.fileno())
    if export:
        export(state.adapter, state.step, draft / f"{run.path.name}-{state.step:06d}.safetensors")
    draft.rename(target)
    if keep_last:
        for old in run.whole_checkpoints()[:-keep_last]:
            shutil.rmtree(old)
    return target


def load(path: Path, state: TrainState) -> None:
    """Raises AtelierError when the checkpoint does not belong to this configuration."""
    saved = torch.load(path / FILE, map_location="cpu", weights_only=True)
    try:
        state.load_state_dict(saved)
    except (ValueError, KeyError) as error:
        raise AtelierError(
            f"{path.name} does not fit this configuration: {error}.", "Resume with the run's own config."
        ) from error
