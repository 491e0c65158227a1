"""A tiny captioner for the drawn scenes of the sandbox: its prompt and its pictures. Light."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from trainers.sandbox import scenes

PROMPT = "Describe the picture."  # the only one that the model was trained on
HELD_OUT_EVERY = 9  # one in nine (shape, colour, place, background) is never shown
HELD_OUT_SEED = 20261122

Combination = tuple[str, str, str, str]  # shape, colour, place, background


def combinations() -> list[Combination]:
    """All 270: the five shapes, the ring that is called a wuzzle among them."""
    return [
        (shape, colour, place, background)
        for shape in scenes.SHAPES
        for colour in scenes.COLOURS
        for place in scenes.PLACES
        for background in scenes.BACKGROUNDS
    ]


def combination(scene: scenes.Scene) -> Combination:
    return scene.shape, scene.colour, scene.place, scene.background


@cache
def held_out() -> frozenset[Combination]:
    """Combinations that the model never sees: it must put their captions together from parts."""
    every = combinations()
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(every))
    return frozenset(every[index] for index in order[::HELD_OUT_EVERY])


def fresh_scenes(count: int, rng: np.random.Generator, new: bool = False) -> list[scenes.Scene]:
    """Random scenes of combinations that the training shows; new: of those that it holds out."""
    found: list[scenes.Scene] = []
    while len(found) < count:
        scene = scenes.sample_scene(rng, scenes.SHAPES)
        if (combination(scene) in held_out()) == new:
            found.append(scene)
    return found


def wear(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture as it may lie in a folder: of another size and shape, darker, brighter, blurred, a JPEG."""
    resampling = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        width, height = (int(side) for side in rng.integers(48, 257, size=2))
        picture = picture.resize((width, height), resampling[int(rng.integers(len(resampling)))])
    if rng.random() < 0.3:
        picture = ImageEnhance.Brightness(picture).enhance(float(rng.uniform(0.9, 1.1)))
    if rng.random() < 0.3:
        scale = picture.width / scenes.SIZE
        picture = picture.filter(ImageFilter.GaussianBlur(scale * float(rng.uniform(0.2, 1.0))))
    if rng.random() < 0.5:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(60, 96)))
        picture = Image.open(file).convert("RGB")
    return picture
