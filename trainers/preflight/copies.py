"""Findings about pictures that say the same twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

from trainers.data.examine import near_duplicates
from trainers.data.folder import Picture, Scan
from trainers.preflight.finding import Finding, named, show, tell

MOST_COMPARED = 100_000
CAPTION_LETTERS = 80
TELLING_BITS = range(16, 49)  # set bits of a hash; a mostly flat picture has fewer or more, and is like any other
MANY = 10  # pictures, from which on one caption for most of them is worth a word


def of_copies(scan: Scan) -> Iterator[Finding]:
    """Copies within a data set; the same picture in two of them is meant."""
    alike: dict[tuple[int, str], list[Picture]] = defaultdict(list)
    for picture in scan.pictures:
        if picture.digest:
            alike[picture.source, picture.digest].append(picture)
    groups = [group for group in alike.values() if len(group) > 1]
    if groups:
        copies = sum(len(group) - 1 for group in groups)
        yield tell("warning", "duplicates", "data.folder", show("duplicate"), n=copies, names=_pairs(groups))
    firsts = [group[0] for group in alike.values()]
    if near := _near(firsts):
        fix, names = show("near_duplicate"), _pairs(near)
        number = sum(map(len, near))
        yield tell("warning", "near_duplicates", "data.folder", fix, n=number, groups=len(near), names=names)
    yield from _same_caption(scan.pictures)


def _pairs(groups: Sequence[Sequence[Picture]]) -> str:
    return named(" = ".join(picture.path.name for picture in group[:3]) for group in groups)


def _near(pictures: list[Picture]) -> list[list[Picture]]:
    """Groups within a data set."""
    by_source: dict[int, list[Picture]] = defaultdict(list)
    for picture in pictures:
        if picture.dhash.bit_count() in TELLING_BITS:
            by_source[picture.source].append(picture)
    return [
        [part[position] for position in group]
        for part in by_source.values()
        if len(part) <= MOST_COMPARED
        for group in _groups(tuple(picture.dhash for picture in part))
    ]


@lru_cache(8)  # a form asks again at every change of a setting
def _groups(hashes: tuple[int, ...]) -> list[list[int]]:
    return near_duplicates(hashes)


def _same_caption(pictures: Sequence[Picture]) -> Iterator[Finding]:
    different = {picture.digest or picture.name: picture.lines for picture in pictures if not picture.regularisation}
    counts = Counter(lines for lines in different.values() if lines)
    (lines, most), *_ = counts.most_common(1) or [((), 0)]
    if most >= MANY and most > len(different) / 2:
        caption = repr(lines[0][:CAPTION_LETTERS])
        yield tell("warning", "same_caption", "captions.trigger", n=most, of=len(different), caption=caption)
