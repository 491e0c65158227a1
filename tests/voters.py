"""Preference sets without picture files, and people who vote on them by rule."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trainers.preferences import lines
from trainers.preferences.prefset import Pair, Picture, Prefset, Score, image_id_of, make_pair
from trainers.preferences.votes import Choice, Vote, left_of


def image(name: str) -> str:
    """The id of the picture of this name."""
    return image_id_of(name.encode())


def make_set(folder: Path, pictures: Mapping[str, Sequence[str]]) -> Prefset:
    """A set of prompts, each with pictures of these names."""
    prefset = Prefset.create(folder)
    for prompt, names in pictures.items():
        (written,) = prefset.add_prompts([(prompt, "")])
        prefset.add_pictures(Picture(image(name), written.prompt_id, f"images/{name}.png", 64, 64) for name in names)
    return prefset


def grid(folder: Path, prompts: int, per_prompt: int) -> Prefset:
    """Prompts `prompt 0`, ... with pictures `0-0`, `0-1`, ..."""
    names = {f"prompt {p}": [f"{p}-{n}" for n in range(per_prompt)] for p in range(prompts)}
    return make_set(folder, names)


def score(prefset: Prefset, scorer: str, values: Mapping[str, float | None], version: str = "1") -> None:
    """What a scorer says of the pictures of these names, for every prompt that has them."""
    of_id = {image(name): v for name, v in values.items()}
    prefset.add_scores(
        Score(picture.image_id, prompt_id, scorer, version, of_id[picture.image_id])
        for prompt_id in prefset.prompts
        for picture in prefset.pictures_of(prompt_id)
        if picture.image_id in of_id
    )


def every_pair(prefset: Prefset) -> list[Pair]:
    """All pairs of all prompts; those that are new are written to the set."""
    pairs = [
        make_pair(one.image_id, other.image_id, prompt_id, "queue")
        for prompt_id in prefset.prompts
        for one, other in itertools.combinations(prefset.pictures_of(prompt_id), 2)
    ]
    prefset.add_pairs(pair for pair in pairs if pair.pair_id not in prefset.pairs)
    return pairs


def vote(pair_id: str, annotator: str, choice: Choice, *, repeat: bool = False, ms: int = 900, ts: float = 0.0) -> Vote:
    vote_id = f"{annotator}:{pair_id}:{repeat}:{ts}"
    return Vote(vote_id, pair_id, annotator, choice, left_of(pair_id, annotator, repeat=repeat), ms, ts, repeat)


def put(prefset: Prefset, votes: Iterable[Vote]) -> None:
    """Many votes with one write."""
    lines.append(prefset.folder / "votes.jsonl", map(dataclasses.asdict, votes))


class Person:
    """Knows the better picture of every pair, and says the other with probability `slips`."""

    def __init__(self, name: str, slips: float, seed: int = 0) -> None:
        self.name, self._slips = name, slips
        self._random = random.Random(f"{name} {seed}")

    def says(self, pair: Pair, better: str, *, repeat: bool = False, ts: float = 0.0) -> Vote:
        right: Choice = "a" if pair.a == better else "b"
        wrong: Choice = "b" if right == "a" else "a"
        choice = wrong if self._random.random() < self._slips else right
        return vote(pair.pair_id, self.name, choice, repeat=repeat, ts=ts)
