"""A whole training set-up in small: real classes, drawn pictures, no app. Used by the tests of the loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers import resolve
from trainers.config import TrainConfig
from trainers.data import folder
from trainers.data.dataset import Dataset
from trainers.events import Event, StepDone
from trainers.families import load_family
from trainers.families.base import ModelFamily, Runtime
from trainers.loop import RunResult, train
from trainers.machine import Machine
from trainers.objectives import make_objective
from trainers.rundir import RunDir
from trainers.sandbox import scenes

CPU = Machine("cpu", "test", 16, 16, 1, bf16=False)


def draw_pictures(target: Path, count: int, *, shapes: tuple[str, ...] = scenes.BASE_SHAPES, seed: int = 0) -> Path:
    """`count` captioned scenes as PNG + txt."""
    target.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        scene = scenes.sample_scene(rng, shapes)
        scenes.draw(scene).save(target / f"{index:02d}.png")
        (target / f"{index:02d}.txt").write_text(scenes.caption(scene), encoding="utf-8")
    return target


@dataclass
class Bench:
    """One configuration, ready to train. events: what the last run told."""

    root: Path
    config: TrainConfig
    events: list[Event] = field(default_factory=list)
    runtime: Runtime = field(default_factory=lambda: Runtime(torch.device("cpu"), torch.float32))

    @property
    def run(self) -> RunDir:
        return RunDir(self.root / self.config.run.name)

    def prepare(self) -> tuple[ModelFamily, Dataset]:
        """A family and its encoded data."""
        family = load_family(self.config, self.runtime)
        dataset = Dataset(folder.scan(self.config.data), self.config, family, self.runtime.device, self.run.path)
        dataset.encode(self.config.sample.prompts, lambda *_: None)
        return family, dataset

    def train(self, *, resume: bool = False, stop_after: int | None = None) -> RunResult:
        if not resume:
            self.run.create(resolve.dump(self.config))
        family, dataset = self.prepare()
        self.events = []

        def control() -> list:
            done = max((event.step for event in self.events if isinstance(event, StepDone)), default=0)
            return ["stop"] if stop_after is not None and done >= stop_after else []

        return train(
            self.config,
            family,
            make_objective(self.config),
            dataset,
            self.run,
            self.runtime,
            self.events.append,
            control,
            resume=resume,
        )

    def steps(self) -> list[StepDone]:
        return [event for event in self.events if isinstance(event, StepDone)]


def make_bench(root: Path, base: Path, pictures: Path, name: str = "run", **sections: dict[str, Any]) -> Bench:
    """A small configuration; sections override it, as in schedule={"max_steps": 4}."""
    values: dict[str, dict[str, Any]] = {
        "run": {"name": name, "output_dir": str(root), "threads": 1},
        "model": {"base": str(base)},
        "data": {"folder": str(pictures), "resolution": 64, "cache_dir": str(root / "cache")},
        "adapter": {"rank": 4},
        "optimizer": {"learning_rate": 1e-3},
        "schedule": {"max_steps": 4, "batch_size": 2},
        "sample": {"every_steps": 0},
        "save": {"every_steps": 0},
    }
    for section, part in sections.items():
        values[section] = {**values.get(section, {}), **part}
    return Bench(root, resolve.resolve(resolve.validate(values), CPU))
