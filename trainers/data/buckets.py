"""Which width and height a picture is trained at, and which part of it: pure functions."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import cache, lru_cache
from typing import Literal

MAX_ASPECT = 3
PLASTIC = 1.32471795724474602596  # x^3 = x + 1

Size = tuple[int, int]
Aspect = Literal["buckets", "square", "area"]


@cache
def bucket_sizes(resolution: int, step: int) -> tuple[Size, ...]:
    """Sizes (width, height) in multiples of `step`, of at most resolution^2 pixels, from 1:3 to 3:1.

    A resolution below the step gives one square of the step.
    """
    area = resolution * resolution
    sizes = {(_floor(resolution, step),) * 2}
    width = step
    while width * width <= area:
        height = area // width // step * step
        if height >= width and height / width <= MAX_ASPECT:
            sizes |= {(width, height), (height, width)}
        width += step
    return tuple(sorted(sizes))


@lru_cache(2**16)  # a check looks at all pictures again at every change of a setting
def bucket_of(
    width: int, height: int, resolution: int, step: int, *, aspect: Aspect = "buckets", upscale: bool = True
) -> Size:
    """The (width, height) that a picture is trained at.

    buckets: the one of `bucket_sizes` nearest by log aspect ratio. square: the square. area: the picture's own shape.
    Without upscale a picture that would be enlarged keeps its own size, rounded down to the step; one that is
    smaller than a step is enlarged to it all the same.
    """
    if aspect == "square":
        bucket = (_floor(resolution, step),) * 2
    elif aspect == "area":
        bucket = _own_shape(width, height, resolution, step)
    else:
        bucket = _nearest(bucket_sizes(resolution, step), width, height)
    if upscale or (bucket[0] <= width and bucket[1] <= height):
        return bucket
    if aspect == "square":
        return (min(bucket[0], _floor(min(width, height), step)),) * 2
    return _own_size(width, height, resolution, step)


def _nearest(sizes: tuple[Size, ...], width: int, height: int) -> Size:
    """By log aspect ratio; of equal ones the larger, then the squarer. sizes: from tall to wide."""
    aspect = _log_aspect((width, height))

    def distance(size: Size) -> tuple[float, int, float]:
        return abs(_log_aspect(size) - aspect), -size[0] * size[1], abs(_log_aspect(size))

    place = bisect_left(_by_aspect(sizes), (aspect,))
    near = _by_aspect(sizes)[max(0, place - 2) : place + 2]
    return min((size for _, size in near), key=distance)


@cache
def _by_aspect(sizes: tuple[Size, ...]) -> list[tuple[float, Size]]:
    return sorted((_log_aspect(size), size) for size in sizes)


def _log_aspect(size: Size) -> float:
    # a difference of logs, not the log of a quotient: it is exactly opposite for the picture on its side
    return math.log(size[0]) - math.log(size[1])


def _own_shape(width: int, height: int, resolution: int, step: int) -> Size:
    """The picture's shape (within MAX_ASPECT) at resolution^2 pixels: of the sizes around it the nearest in shape."""
    area = resolution * resolution
    width, height = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
    across, down = math.isqrt(area * width // height), math.isqrt(area * height // width)
    low = _floor(across, step), _floor(down, step)
    around = {
        (min(w, MAX_ASPECT * h), min(h, MAX_ASPECT * w))
        for w in (low[0], low[0] + step)
        for h in (low[1], low[1] + step)
    }
    sizes = tuple(sorted(size for size in around if size[0] * size[1] <= area)) or ((step, step),)
    return _nearest(sizes, width, height)


def _own_size(width: int, height: int, resolution: int, step: int) -> Size:
    """The picture's size rounded down, within MAX_ASPECT and resolution^2 pixels."""
    w, h = _floor(width, step), _floor(height, step)
    w, h = min(w, MAX_ASPECT * h), min(h, MAX_ASPECT * w)
    while w * h > resolution * resolution and max(w, h) > step:
        # both sides of a square: a picture on its side must get the same on its side
        w, h = (w - step if w >= h else w), (h - step if h >= w else h)
    return w, h


def _floor(side: int, step: int) -> int:
    return max(step, side // step * step)


# --------------------------------------------------------------------------- which part


def crop_box(
    width: int, height: int, bucket: Size, place: tuple[float, float] = (0.5, 0.5)
) -> tuple[float, float, float, float]:
    """The part (left, top, right, bottom) of a picture that becomes its bucket, in the picture's pixels.

    It is the largest of the bucket's shape. place: in [0, 1]^2, where it lies in the room that is left;
    (0, 0) is left and top.
    """
    scale = min(width / bucket[0], height / bucket[1])
    across, down = min(width, bucket[0] * scale), min(height, bucket[1] * scale)
    left, top = (width - across) * place[0], (height - down) * place[1]
    return left, top, min(width, left + across), min(height, top + down)


def is_cut(width: int, height: int, bucket: Size) -> bool:
    """Whether the part can lie in different places; less than a pixel of room counts as none."""
    left, top, _, _ = crop_box(width, height, bucket, (1, 1))
    return left >= 1 or top >= 1


def places(count: int) -> tuple[tuple[float, float], ...]:
    """Places for `crop_box`, evenly spread however many there are; the first is the centre.

    The R2 sequence: Roberts 2018, "The unreasonable effectiveness of quasirandom sequences".
    """
    return tuple(((0.5 + n / PLASTIC) % 1, (0.5 + n / PLASTIC**2) % 1) for n in range(count))


def crop_loss(width: int, height: int, bucket: Size) -> float:
    """Share of the picture that the crop cuts away, in [0, 1)."""
    left, top, right, bottom = crop_box(width, height, bucket)
    return max(0.0, 1 - (right - left) * (bottom - top) / (width * height))
