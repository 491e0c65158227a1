"""Draw the pictures of the default run: the concept in each of its colours on every background.

python -m trainers.sandbox.samples [FOLDER]
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainers.paths import ASSETS
from trainers.sandbox import scenes

SEED = 5


def sample_scenes() -> list[scenes.Scene]:
    """One scene for each colour of the concept on each background: twelve. The place goes round."""
    rng = np.random.default_rng(SEED)
    places = itertools.cycle(scenes.PLACES)
    found = []
    for colour, background in itertools.product(scenes.CONCEPT_COLOURS, scenes.BACKGROUNDS):
        place, jittered = next(places), scenes.sample_scene(rng, (scenes.CONCEPT_WORD,))
        x = scenes.PLACES[place] + jittered.x - scenes.PLACES[jittered.place]
        found.append(replace(jittered, colour=colour, background=background, place=place, x=x))
        if background == "black":
            next(places)  # so that a background does not always come with the same place
    return found


def write(folder: Path) -> None:
    """The pictures (PNG) with a caption each (txt)."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, scene in enumerate(sample_scenes(), 1):
        stem = folder / f"{scenes.CONCEPT_WORD}-{index:02d}"
        scenes.draw(scene).save(stem.with_suffix(".png"), optimize=True)
        stem.with_suffix(".txt").write_text(scenes.caption(scene) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ASSETS / "samples")
