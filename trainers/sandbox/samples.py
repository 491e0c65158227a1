"""Draw the pictures of the default run: the concept in every colour, at every place, on every background.

    python -m trainers.sandbox.samples [FOLDER]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainers.paths import ASSETS
from trainers.sandbox import scenes

COUNT = 12
SEED = 5


def sample_scenes() -> list[scenes.Scene]:
    """COUNT scenes; colours, places and backgrounds come equally often, in combinations that are all different."""
    rng = np.random.default_rng(SEED)
    found = []
    for index in range(COUNT):
        colour = list(scenes.COLOURS)[index % len(scenes.COLOURS)]
        place = list(scenes.PLACES)[(index + index // 6) % len(scenes.PLACES)]
        background = list(scenes.BACKGROUNDS)[(index // 2 + index // 6) % len(scenes.BACKGROUNDS)]
        jittered = scenes.sample_scene(rng, (scenes.CONCEPT_WORD,))
        shift = jittered.x - scenes.PLACES[jittered.place]
        x = scenes.PLACES[place] + shift
        found.append(replace(jittered, colour=colour, place=place, background=background, x=x))
    return found


def write(folder: Path) -> None:
    """COUNT pictures (PNG) with a caption each (txt)."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, scene in enumerate(sample_scenes(), 1):
        stem = folder / f"{scenes.CONCEPT_WORD}-{index:02d}"
        scenes.draw(scene).save(stem.with_suffix(".png"), optimize=True)
        stem.with_suffix(".txt").write_text(scenes.caption(scene) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ASSETS / "samples")
