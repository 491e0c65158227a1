"""Which pictures of a data set look nearly the same."""

from __future__ import annotations

from collections.abc import Sequence

from trainers.data.examine import near_duplicates

MOST_COMPARED = 100_000
TELLING_BITS = range(16, 49)  # set bits of a hash; a mostly flat picture has fewer or more, and is like any other


def near_groups(looks: Sequence[tuple[str, int]]) -> list[list[int]]:
    """Groups of positions of pictures that look nearly the same. looks: digest and dhash (see `examine`).

    Of copies of the same file only the first is in a group. More than 100,000 pictures are not compared.
    """
    firsts: dict[str, int] = {}
    for position, (digest, dhash) in enumerate(looks):
        if dhash.bit_count() in TELLING_BITS:
            firsts.setdefault(digest, position)
    if len(firsts) > MOST_COMPARED:
        return []
    positions = list(firsts.values())
    groups = near_duplicates([looks[position][1] for position in positions])
    return [[positions[place] for place in group] for group in groups]
