"""Preference training in small: pairs of random latents in memory, through the real loop."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.training import Bench, make_bench
from trainers import resolve
from trainers.data.dataset import Batch
from trainers.events import Event, StepDone
from trainers.families import load_family
from trainers.families.base import Conditioning, ModelFamily
from trainers.loop import RunResult, train
from trainers.objectives import make_objective

PROMPTS = ("a red circle on the left", "a blue square", "zota", "")


@dataclass
class Pairs:
    """What the loop asks of a dataset. Rows of `latents` and `loser` [n,C,h,w] belong together; wanted [n] makes single
    pictures of the first."""

    family: ModelFamily
    batch_size: int
    latents: Tensor
    loser: Tensor | None
    weight: Tensor
    wanted: Tensor | None = None
    held_out: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.samples = [index for index in range(len(self.latents)) if index not in self.held_out]
        self.batches_per_epoch = -(-len(self.samples) // self.batch_size)
        self._texts = self.family.encode_prompt(list(PROMPTS)).split()

    def batch(self, number: int) -> Batch:
        at_epoch, position = divmod(number, self.batches_per_epoch)
        order = random.Random(at_epoch).sample(self.samples, len(self.samples))
        return self.rows(order[position * self.batch_size :][: self.batch_size])

    def held_out_batch(self, number: int) -> Batch:
        return self.rows([self.held_out[number]])

    def conditioning(self, texts: list[str]) -> Conditioning:
        return self.family.encode_prompt(texts)

    def rows(self, chosen: list[int]) -> Batch:
        height, width = (8 * side for side in self.latents.shape[-2:])
        framing = torch.tensor([[height, width, 0, 0, height, width]] * len(chosen)).float()
        texts = [self._texts[index % len(PROMPTS)] for index in chosen]
        return Batch(
            latents=self.latents[chosen],
            cond=self.family.framed(Conditioning.stack(texts), framing),
            preserved=None,
            ids=tuple(f"pair-{index}" for index in chosen),
            captions=tuple(PROMPTS[index % len(PROMPTS)] for index in chosen),
            weight=self.weight[chosen],
            loser=None if self.loser is None else self.loser[chosen],
            wanted=None if self.wanted is None else self.wanted[chosen],
        )


def random_pairs(family: ModelFamily, batch_size: int, count: int = 6, **changed: Any) -> Pairs:
    rng = torch.Generator().manual_seed(0)
    sides = (torch.randn(count, family.latent_channels, 8, 8, generator=rng) for _ in range(2))
    return replace(Pairs(family, batch_size, *sides, torch.ones(count)), **changed)


@dataclass
class PairBench:
    """A configuration of preference training; the attributes of its pairs that `changed` names are other ones."""

    bench: Bench
    changed: dict[str, Any]
    events: list[Event] = field(default_factory=list)

    def prepare(self) -> tuple[ModelFamily, Pairs]:
        family = load_family(self.bench.config, self.bench.runtime)
        family.load("text")
        return family, random_pairs(family, self.bench.config.schedule.batch_size, **self.changed)

    def train(self, *, resume: bool = False, stop_after: int | None = None) -> RunResult:
        """Trains as `Bench.train` does, with another dataset."""
        if not resume:
            self.bench.run.create(resolve.dump(self.bench.config))
        family, dataset = self.prepare()
        self.events = []

        def control() -> list:
            return ["stop"] if stop_after is not None and len(self.steps()) >= stop_after else []

        return train(
            self.bench.config,
            family,
            make_objective(self.bench.config),
            dataset,  # type: ignore[arg-type]  # it has what the loop uses
            self.bench.run,
            self.bench.runtime,
            self.events.append,
            control,
            resume=resume,
        )

    def steps(self) -> list[StepDone]:
        return [event for event in self.events if isinstance(event, StepDone)]


def pair_bench(
    root: Path, base: Path, name: str = "run", pairs: dict[str, Any] | None = None, **sections: dict[str, Any]
) -> PairBench:
    objective = {"kind": "dpo", "pairs": "in memory", "beta": 100.0, **sections.pop("objective", {})}
    return PairBench(make_bench(root, base, root, name, objective=objective, **sections), pairs or {})
