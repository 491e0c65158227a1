"""Preference pairs of drawn scenes, as files that training reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.preferences.prefset import Picture, Prefset, image_id_of, make_pair
from trainers.preferences.training_pairs import TrainingPair, write_training_pairs
from trainers.preferences.votes import Vote
from trainers.sandbox import scenes

UP, DOWN = 20.0, 44.0  # heights of the object in preferred pictures and in others


def draw_pairs(root: Path, count: int, *, seed: int = 0, held_out: int = 0) -> list[TrainingPair]:
    """One pair for each of `count` prompts, in root/images; the last `held_out` are so."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    found: dict[str, TrainingPair] = {}
    while len(found) < count:
        scene = dataclasses.replace(scenes.sample_scene(rng), radius=10.0)
        prompt, number = scenes.caption(scene), len(found)
        split = "held_out" if number >= count - held_out else "train"
        files = [root / f"images/{number}-{side}.png" for side in ("up", "down")]
        for file, y in zip(files, (UP, DOWN), strict=True):
            scenes.draw(dataclasses.replace(scene, y=y)).save(file)
        found.setdefault(prompt, TrainingPair(prompt, *map(str, files), split=split))  # type: ignore[arg-type]
    return list(found.values())


def write(root: Path, rows: Iterable[TrainingPair]) -> Path:
    """The file of these pairs, where a set has it."""
    path = root / "export/pairs.train.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_training_pairs(path, rows)
    return path


def recoloured(file: str, name: str, size: tuple[int, int], colour: str) -> str:
    """A picture of one colour beside the given one."""
    path = Path(file).with_name(name)
    Image.new("RGB", size, colour).save(path)
    return str(path)


def labelled_set(folder: Path, count: int, *, decided: bool = True) -> Prefset:
    """A preference set of the same pictures, in which somebody prefers what stands higher."""
    prefset = Prefset.create(folder)
    for number, row in enumerate(draw_pairs(folder, count)):
        (prompt,) = prefset.add_prompts([(row.prompt, "")])
        files = [Path(row.chosen), Path(row.rejected)]
        up, down = (image_id_of(file.read_bytes()) for file in files)
        prefset.add_pictures(
            Picture(id, prompt.prompt_id, f"images/{file.name}", 64, 64)
            for id, file in zip((up, down), files, strict=True)
        )
        pair = make_pair(up, down, prompt.prompt_id, "queue")
        prefset.add_pairs([pair])
        if decided:
            prefset.votes.add(Vote(f"vote {number}", pair.pair_id, "ann", "a" if pair.a == up else "b", "a"))
    return prefset
