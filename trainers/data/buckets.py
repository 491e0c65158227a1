"""Which width and height a picture is trained at: pure functions."""

from __future__ import annotations

import math
from functools import cache

MAX_ASPECT = 3.0


@cache
def bucket_sizes(resolution: int, step: int) -> tuple[tuple[int, int], ...]:
    """Sizes (width, height) in multiples of `step`, of at most resolution^2 pixels, from 1:3 to 3:1."""
    area = resolution * resolution
    sizes = {(resolution // step * step,) * 2}
    width = step
    while width * width <= area:
        height = area // width // step * step
        if height >= width and height / width <= MAX_ASPECT:
            sizes |= {(width, height), (height, width)}
        width += step
    return tuple(sorted(sizes))


def bucket_of(width: int, height: int, resolution: int, step: int) -> tuple[int, int]:
    """The bucket whose shape is nearest by log aspect ratio; of equal ones the larger, then the squarer."""
    aspect = _log_aspect((width, height))

    def distance(size: tuple[int, int]) -> tuple[float, int, float]:
        return abs(_log_aspect(size) - aspect), -size[0] * size[1], abs(_log_aspect(size))

    return min(bucket_sizes(resolution, step), key=distance)


def _log_aspect(size: tuple[int, int]) -> float:
    # a difference of logs, not the log of a quotient: it is exactly opposite for the picture on its side
    return math.log(size[0]) - math.log(size[1])


def cover(width: int, height: int, bucket: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """How a picture fills its bucket: (size to resize to, centred crop box left, top, right, bottom)."""
    scale = max(bucket[0] / width, bucket[1] / height)
    size = max(bucket[0], round(width * scale)), max(bucket[1], round(height * scale))
    left, top = (size[0] - bucket[0]) // 2, (size[1] - bucket[1]) // 2
    return size, (left, top, left + bucket[0], top + bucket[1])


def crop_loss(width: int, height: int, bucket: tuple[int, int]) -> float:
    """Share of the picture that the crop cuts away, in [0, 1)."""
    size, _ = cover(width, height, bucket)
    return 1 - bucket[0] * bucket[1] / (size[0] * size[1])
