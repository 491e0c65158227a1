"""Does the sandbox captioner see what it describes? Counted on fresh pictures, against the scenes that were drawn.

python -m captioners.sandbox.quality
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captioners.base import Captioner, Request, Runtime
from captioners.config import CaptionConfig, Generate
from captioners.sandbox import PROMPT, fresh_scenes, wear
from captioners.sandbox.captioner import load
from trainers.paths import ASSETS
from trainers.sandbox import scenes

FOLDER = ASSETS / "sandbox" / "captioner"
SEED = 7
BATCH = 16


def open_captioner(folder: Path = FOLDER) -> Captioner:
    """The likeliest words, fp32, on the processor."""
    drawing = Generate(temperature=0.0, top_p=1.0, top_k=0, beams=1, max_tokens=32)
    return load(folder, CaptionConfig(generate=drawing), Runtime(torch.device("cpu"), torch.float32))


def captions(captioner: Captioner, pictures: Sequence[Image.Image], batch: int = BATCH) -> list[str]:
    requests = [Request(picture, PROMPT) for picture in pictures]
    parts = [requests[first : first + batch] for first in range(0, len(requests), batch)]
    return [result.text for part in parts for result in captioner.caption(part)]


def measure(captioner: Captioner, count: int) -> dict[str, float]:
    """Percent of exact captions of `count` pictures of each kind, of the control, and of each part; pictures a second.

    worn: the same scenes in other sizes, blurred, as JPEG; new: combinations that the training held out.
    """
    rng = np.random.default_rng(SEED)
    shown = fresh_scenes(count, rng)
    pictures = [scenes.draw(scene) for scene in shown]
    begun = time.monotonic()
    said = captions(captioner, pictures)
    seconds = time.monotonic() - begun
    worn = captions(captioner, [wear(picture, rng) for picture in pictures])
    new = fresh_scenes(count, rng, new=True)
    said_of_new = captions(captioner, [scenes.draw(scene) for scene in new])
    wanted = [scenes.caption(scene) for scene in shown]
    return {
        "pictures": count,
        "exact": share(said, wanted),
        "exact_worn": share(worn, wanted),
        "exact_new_combinations": share(said_of_new, [scenes.caption(scene) for scene in new]),
        "exact_against_another_picture": share(said, wanted[1:] + wanted[:1]),
        "chance_of_that": chance(wanted),
        "exact_of_blank_pictures": share(captions(captioner, [blank()] * count), wanted),
        **{f"right_{part}": right for part, right in parts(said, shown).items()},
        "pictures_a_second": round(count / seconds, 1),
    }


def share(said: Sequence[str], wanted: Sequence[str]) -> float:
    """Percent that is the same, letter by letter."""
    return round(100 * sum(one == other for one, other in zip(said, wanted, strict=True)) / len(wanted), 2)


def chance(wanted: Sequence[str]) -> float:
    """Percent of pairs of two of these pictures that have the same caption: what fits another picture by luck."""
    same = sum(count * (count - 1) for count in Counter(wanted).values())
    return round(100 * same / (len(wanted) * (len(wanted) - 1)), 2)


def blank() -> Image.Image:
    """A picture that tells nothing: whatever is right about its captions comes from the words alone."""
    return Image.new("RGB", (scenes.SIZE, scenes.SIZE), (128, 128, 128))


def parts(said: Sequence[str], shown: Sequence[scenes.Scene]) -> dict[str, float]:
    """Percent of captions whose shape, colour, place and background are right, each by itself."""
    pairs = list(zip(said, shown, strict=True))

    def right(words: list[str]) -> float:
        return share([word if word in text else "" for word, (text, _) in zip(words, pairs, strict=True)], words)

    return {
        "shape": right([f" {scene.shape} " for scene in shown]),
        "colour": right([f"a {scene.colour} " for scene in shown]),
        "place": right([f" the {scene.place}," for scene in shown]),
        "background": right([f", {scene.background} background" for scene in shown]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    print(json.dumps(measure(open_captioner(args.folder), args.count), indent=1))


if __name__ == "__main__":
    main()
