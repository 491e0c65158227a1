"""What only the pixels say: that a picture is whole, what it resembles and how sharp it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.data.colours import to_rgb
from trainers.data.decode import load

ENOUGH = 256  # shorter side in pixels that hash and sharpness need
SHARPNESS_SIDE = 256
NEARLY_ALL = 99.9  # percent of the pixels; a few may be dust
LEAST_RANGE = 8.0  # levels, of which noise and rounding make up half
BLURRY = 0.22
BITS = 64
PAIRS_AT_ONCE = 2**17  # what fits into the cache of a processor
BUNDLE = 64  # blocks whose pairs are joined together: joining looks at all places

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Content:
    """digest: blake2b of the file's bytes, 32 hex letters; dhash: 64 bits, alike for pictures that look alike.

    sharpness: see `sharpness`; below BLURRY the picture is blurred, 0 where there is nothing to judge by.
    """

    digest: str
    dhash: int
    sharpness: float


def examine(path: Path) -> Content:
    """Read and decode all of a picture. Raises one of DECODE_ERRORS, also for damage in the middle.

    Damage that a decoder conceals is not found: a JPEG shows plain grey where bytes are missing before its end mark.
    """
    content = path.read_bytes()
    # a JPEG at an eighth is still read to its end, so damage shows
    grey = to_rgb(load(BytesIO(content), ENOUGH), "white").convert("L")
    return Content(hashlib.blake2b(content, digest_size=16).hexdigest(), dhash(grey), sharpness(grey))


def dhash(grey: Image.Image) -> int:
    """64 bits: whether each of 9 x 8 pixels is darker than its right neighbour, from the top left."""
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def sharpness(grey: Image.Image) -> float:
    """How hard the hardest edges are: the largest |Laplacian| over the range of the levels, at 256 pixels.

    So the contrast does not count. About 1 for drawings, 0.4 and more for photographs that are sharp anywhere; blurred
    by 0.4 % of their width they have 0.1 to 0.26. 0 for pictures without contrast. Small ones are not enlarged.
    """
    scale = min(SHARPNESS_SIDE / max(grey.size), 1)
    size = (max(round(grey.width * scale), 1), max(round(grey.height * scale), 1))
    levels = np.asarray(grey.resize(size, Image.Resampling.BOX), dtype=np.float32)
    if min(levels.shape) < 3:
        return 0.0
    darkest, brightest = np.percentile(levels, (100 - NEARLY_ALL, NEARLY_ALL), method="nearest")
    if brightest - darkest < LEAST_RANGE:
        return 0.0
    middle = levels[1:-1, 1:-1]
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:] - 4 * middle
    hardest = np.percentile(np.abs(laplacian), NEARLY_ALL, method="nearest")
    return float(hardest / (brightest - darkest))


def is_blurry(sharpness: float) -> bool:
    return 0 < sharpness < BLURRY


def near_duplicates(hashes: Sequence[int], distance: int = 5) -> list[list[int]]:
    """Groups of positions whose hashes differ in at most so many of 64 bits, directly or through others.

    distance: 0 to 63. Groups and their members are in the order of the positions.
    """
    # equal ones are put together first: thousands of blank pictures would be millions of pairs
    values, group_of = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    groups: dict[int, list[int]] = {}
    for position, group in enumerate(_linked(values, distance)[group_of].tolist()):
        groups.setdefault(group, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _linked(values: Hashes, distance: int) -> Places:
    """For each of the different values the number of its group."""
    groups = np.arange(len(values))
    for mask in _masks(distance + 1):
        order = np.argsort(values & mask, kind="stable")
        _, first, inverse = np.unique(groups[order], return_index=True, return_inverse=True)
        roots = first[inverse]
        _link(roots, values[order], mask, distance)
        groups[order] = roots
    return groups


def _masks(count: int) -> list[np.uint64]:
    """The 64 bits dealt out: two values that differ in fewer bits than there are masks agree under one of them."""
    return [np.uint64(sum(1 << bit for bit in range(start, BITS, count))) for start in range(count)]


def _link(roots: Places, values: Hashes, mask: np.uint64, distance: int) -> None:
    """Join the groups of near values that agree under the mask; the values are sorted by what is under it."""
    waiting: list[Places] = []
    for first, end in _runs(values & mask):
        rows = max(PAIRS_AT_ONCE // (end - first), 1)
        for start in range(first, end - 1, rows):
            rest, known = values[start:end], roots[start:end]
            near = np.bitwise_count(rest[:rows, None] ^ rest) <= distance
            near &= known[:rows, None] != known
            # flat: numpy finds the places in two dimensions ten times slower
            if not len(places := np.flatnonzero(near)):
                continue
            waiting.append(start + np.stack(np.divmod(places, end - start), axis=1))
            if sum(map(len, waiting)) > PAIRS_AT_ONCE or len(waiting) >= BUNDLE:
                _join(roots, np.concatenate(waiting))
                waiting.clear()
    if waiting:
        _join(roots, np.concatenate(waiting))


def _runs(keys: Hashes) -> list[tuple[int, int]]:
    """First place and end of each row of two or more equal keys."""
    if not len(keys):
        return []
    bounds = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    return [(first, end) for first, end in pairwise(bounds) if end - first > 1]


def _join(roots: Places, pairs: Places) -> None:
    """Put the groups of each pair of places into one. roots: for each place the first one of its group; is changed."""
    while len(pairs := roots[pairs]) and len(pairs := pairs[pairs[:, 0] != pairs[:, 1]]):
        roots[pairs.max(axis=1)] = pairs.min(axis=1)
        while (roots != roots[roots]).any():
            roots[:] = roots[roots]
