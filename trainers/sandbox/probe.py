"""Did the adapter learn the sandbox's new concept, and did it leave the rest alone? Counted by the scene reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.config import TrainConfig
from trainers.paths import ASSETS
from trainers.sandbox import scenes

COUNT = 60  # pictures of each kind
SEED = 11

Draw = Callable[[list[str], list[int]], list[Image.Image]]  # prompts, seeds -> pictures


@dataclass(frozen=True)
class Shares:
    """Shares in [0, 1] of pictures that show the right object in the right colour: the concept, and other shapes."""

    concept: float
    others: float


def applies(config: TrainConfig) -> bool:
    """The question makes sense only for runs that teach the concept, from the pictures that show it."""
    return config.captions.trigger == scenes.CONCEPT_WORD and Path(config.data.folder) == ASSETS / "samples"


def wanted() -> tuple[list[scenes.Scene], list[scenes.Scene]]:
    """COUNT scenes with the concept in its colours and COUNT without it, always the same."""
    rng = np.random.default_rng(SEED)
    concept = [scenes.sample_scene(rng, (scenes.CONCEPT_WORD,), scenes.CONCEPT_COLOURS) for _ in range(COUNT)]
    return concept, [scenes.sample_scene(rng) for _ in range(COUNT)]


def prompts() -> list[str]:
    """Every prompt that `measure` draws."""
    return [scenes.caption(scene) for group in wanted() for scene in group]


def measure(draw: Draw) -> Shares:
    """Draw all prompts and read the pictures."""
    shares = []
    for group in wanted():
        seeds = list(range(SEED, SEED + len(group)))
        pictures = draw([scenes.caption(scene) for scene in group], seeds)
        shares.append(sum(scenes.read(p).agrees(s) for p, s in zip(pictures, group, strict=True)) / len(group))
    return Shares(*shares)


def line(before: Shares, after: Shares) -> str:
    """The result in one sentence."""
    return (
        f"concept present in {before.concept:.0%} of samples before, {after.concept:.0%} after; "
        f"other prompts right {before.others:.0%} before, {after.others:.0%} after"
    )
