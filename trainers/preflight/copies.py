"""Findings about pictures that say the same twice, or little."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

from trainers.data.examine import is_blurry
from trainers.data.folder import Picture, Scan
from trainers.data.likeness import near_groups
from trainers.preflight.finding import Finding, named, show, tell

CAPTION_LETTERS = 80
MANY = 10  # pictures, from which on one caption for most of them is worth a word


def of_copies(scan: Scan) -> Iterator[Finding]:
    """Copies within a data set (the same picture in two of them is meant), and blurred pictures."""
    decoded = [picture for picture in scan.pictures if picture.digest]
    if groups := _same(decoded):
        copies = sum(len(group) - 1 for group in groups)
        yield tell("warning", "duplicates", "data.folder", show("duplicate"), n=copies, names=_pairs(groups))
    if near := _near(decoded):
        fix, names = show("near_duplicate"), _pairs(near)
        number = sum(map(len, near))
        yield tell("warning", "near_duplicates", "data.folder", fix, n=number, groups=len(near), names=names)
    if blurred := [picture for picture in decoded if is_blurry(picture.sharpness)]:
        names = named(picture.path.name for picture in blurred)
        yield tell("warning", "blurry", "data.folder", show("blurry"), n=len(blurred), names=names)
    yield from _same_caption(scan.pictures)


def _same(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Pictures of a data set whose files are equal."""
    alike: dict[tuple[int, str], list[Picture]] = defaultdict(list)
    for picture in pictures:
        alike[picture.source, picture.digest].append(picture)
    return [group for group in alike.values() if len(group) > 1]


def _pairs(groups: Sequence[Sequence[Picture]]) -> str:
    return named(" = ".join(picture.path.name for picture in group[:3]) for group in groups)


def _near(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Groups within a data set."""
    parts: dict[int, list[Picture]] = defaultdict(list)
    for picture in pictures:
        parts[picture.source].append(picture)
    return [
        [part[position] for position in group]
        for part in parts.values()
        for group in _groups(tuple((picture.digest, picture.dhash) for picture in part))
    ]


@lru_cache(8)  # a form asks again at every change of a setting
def _groups(looks: tuple[tuple[str, int], ...]) -> list[list[int]]:
    return near_groups(looks)


def _same_caption(pictures: Sequence[Picture]) -> Iterator[Finding]:
    different = {picture.digest or picture.name: picture.lines for picture in pictures if not picture.regularisation}
    counts = Counter(lines for lines in different.values() if lines)
    (lines, most), *_ = counts.most_common(1) or [((), 0)]
    if most >= MANY and most > len(different) / 2:
        caption = repr(lines[0][:CAPTION_LETTERS])
        yield tell("warning", "same_caption", "captions.trigger", n=most, of=len(different), caption=caption)
