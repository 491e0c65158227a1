"""Where in a picture the detail is, so that a crop keeps the subject without searching for faces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION = 1  # part of cache keys: another way to choose is another number

SIDE = 128  # longer side in pixels of the copy that is measured
SKIN_WEIGHT = 0.5  # a pixel of skin counts as much as a gradient of so many times the mean
NEAR = 0.01  # share of the best sum that is no reason to leave the centre

Grid = NDArray[np.float64]


def detail_place(picture: Image.Image, bucket: tuple[int, int]) -> tuple[float, float]:
    """Where to cut, (x, y) in [0, 1] of the room that is left; (0.5, 0.5) is the centre, and every tie goes there.

    picture: RGB, upright; bucket: width and height, of which only the shape counts. The part is the largest of that
    shape; its detail is the sum of gradients, and of skin tones, so that a face wins over grass.
    """
    weights = _weights(picture)
    height, width = weights.shape
    # the part is narrower in one direction only; in the other one there is no choice
    if picture.width * bucket[1] > picture.height * bucket[0]:
        part = picture.height * bucket[0] / bucket[1] * width / picture.width
        return _place(weights.sum(axis=0), part), 0.5
    part = picture.width * bucket[1] / bucket[0] * height / picture.height
    return 0.5, _place(weights.sum(axis=1), part)


def _place(line: Grid, part: float) -> float:
    """Where in [0, 1] a window of so many pixels holds most of the line."""
    steps = 2 * len(line)  # finer than a pixel, and even: the centre is one of the places
    room = len(line) - part
    if room <= 0:
        return 0.5
    places = np.arange(steps + 1) / steps
    until = np.concatenate([[0.0], np.cumsum(line)])
    at = np.arange(len(line) + 1)
    sums = np.interp(places * room + part, at, until) - np.interp(places * room, at, until)
    best = places[sums >= sums.max() * (1 - NEAR)]
    return float(_middle(best))


def _middle(places: Grid) -> float:
    """Of equally good places the one nearest to the centre; the mean when both sides are as near."""
    distance = np.abs(places - 0.5)
    return float(places[distance <= distance.min() + 1e-9].mean())


def _weights(picture: Image.Image) -> Grid:
    """[h,w], how much each pixel of a small copy counts."""
    scale = SIDE / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    # not BOX: on the border between two boxes it takes the pixel of one side, so a mirrored picture would differ
    small = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)
    gradient = _gradient(small)
    return np.asarray(gradient + SKIN_WEIGHT * gradient.mean() * _is_skin(small))


def _gradient(pixels: Grid) -> Grid:
    """[h,w], the length of the gradient of brightness; half of each difference to the pixel on either side.

    Symmetric, so that a mirrored picture has its place mirrored.
    """
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    step = np.abs(np.diff(grey, axis=1)) / 2
    across[:, 1:] += step
    across[:, :-1] += step
    step = np.abs(np.diff(grey, axis=0)) / 2
    down[1:] += step
    down[:-1] += step
    return np.asarray(np.hypot(across, down))


def _is_skin(pixels: Grid) -> Grid:
    """[h,w], 1 where the colour may be skin of any person: Cb and Cr in the box of Chai and Ngan 1999."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    is_skin = (cb >= 77) & (cb <= 127) & (cr >= 133) & (cr <= 173)
    return np.asarray(is_skin, dtype=np.float64)
