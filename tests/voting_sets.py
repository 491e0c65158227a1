"""Preference sets with pictures to vote on, and a person who answers as the voting page does."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.services.preferences.voting import Voting
from tests.voters import every_pair
from trainers.preferences.prefset import Picture, Prefset, image_id_of
from trainers.sandbox import scenes

Record = dict[str, Any]
HAND = 10  # pairs that the page keeps


def draw_set(folder: Path, prompts: int, per_prompt: int) -> Prefset:
    """Scenes of 64 pixels in pairs, each with a seed and a base."""
    rng = np.random.default_rng(5)
    pictures = [_png(scenes.draw(scenes.sample_scene(rng))) for _ in range(prompts * per_prompt)]
    return _fill(folder, pictures, per_prompt)


def photo_set(folder: Path, prompts: int, per_prompt: int, side: int = 1024) -> Prefset:
    """Pictures of `side` pixels as a camera makes them, smooth with a grain: about 1.4 MB each at 1024."""
    rng = np.random.default_rng(5)
    pictures = [_png(Image.fromarray(_photo(rng, side))) for _ in range(prompts * per_prompt)]
    return _fill(folder, pictures, per_prompt)


def _photo(rng: np.random.Generator, side: int) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(0, 255, (side // 64, side // 64, 3), np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-3, 4, (side, side, 1), np.int16)
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _fill(folder: Path, pictures: Sequence[bytes], per_prompt: int) -> Prefset:
    prefset = Prefset.create(folder)
    names = [f"a drawing of scene {number}" for number in range(len(pictures) // per_prompt)]
    written = prefset.add_prompts((name, "") for name in names)
    for number, data in enumerate(pictures):
        prompt_id = written[number // per_prompt].prompt_id
        image_id, path = image_id_of(data), f"images/{number:05}.png"
        (folder / path).write_bytes(data)
        side = Image.open(io.BytesIO(data)).width
        gen = {"base": "/models/secret-base", "seed": 1000 + number, "steps": 20, "cfg": 3.5}
        gen["adapters"] = [{"path": "/runs/policy/policy.safetensors", "scale": 1.0}] if number % 2 else []
        prefset.add_pictures([Picture(image_id, prompt_id, path, side, side, "generated", gen)])
    every_pair(prefset)
    return prefset


def ballot(item: Record, choice: str, number: int = 0, **more: object) -> Record:
    """What the page sends of an answer to a pair."""
    return {
        "vote_id": f"vote{number:08}",
        "key": item["key"],
        "left": item["left"],
        "choice": choice,
        "ms": 900,
        **more,
    }


class Page:
    """One browser: it keeps what is at hand, as the page does."""

    def __init__(self, voting: Voting, name: str, person: str = "ann", order: str = "unseen") -> None:
        self.voting, self.name, self.person, self.order = voting, name, person, order
        self.sent = 0
        self.found = self.voting.next(name, person, order, [])
        self.items: list[Record] = list(self.found["items"])

    def answer(self, choice: str = "left", **more: object) -> Record:
        """Answer the pair that is shown; what the server says to it."""
        item = self.items.pop(0)
        self.sent += 1
        told = ballot(item, choice, self.sent, **more)
        have = [one["key"] for one in self.items] + [item["key"]]
        answered = self.voting.vote(self.name, self.person, told, self.order, have)
        self.items += answered["items"][: max(0, HAND - len(self.items))]
        return answered
