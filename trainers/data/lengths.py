"""Captions that a text encoder does not read to their end."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from trainers.config import Captions
from trainers.data import captions
from trainers.data.tokens import Encoder

MOST_COUNTED = 20_000

Lines = Sequence[str] | None


def too_long(found: Sequence[Lines], config: Captions, encoder: Encoder) -> list[int]:
    """Positions of the captions of which the encoder misses the end, as training sees them.

    That is with trigger word, prefix and suffix, all tags and the first of each choice; of several lines the longest
    counts. Of more than 20,000 captions that may be too long only the longest are counted.
    """
    plain = config.model_copy(update={"variants": 1})
    around = len(f"{config.trigger}{config.separator}{config.prefix}{config.suffix}".encode()) + 3
    sizes = {position: _bytes(lines, config) + around for position, lines in enumerate(found) if lines}
    maybe = [position for position, size in sizes.items() if size > encoder.limit]
    maybe = sorted(heapq.nlargest(MOST_COUNTED, maybe, key=sizes.__getitem__))
    texts = {position: captions.variants(found[position], plain, "") for position in maybe}
    flat = {text for seen in texts.values() for text in seen}
    lengths = dict(zip(flat, encoder.lengths(flat), strict=True))
    return [position for position, seen in texts.items() if max(lengths[text] for text in seen) > encoder.limit]


def _bytes(lines: Sequence[str], config: Captions) -> int:
    """At least as many as the caption has tokens: each takes a byte or more, so that most captions need no counting."""
    # a blank may come behind every separator
    counts = [len(line.encode("utf-8", "surrogatepass")) + line.count(config.separator) + 1 for line in lines]
    return sum(counts) if config.lines == "join" else max(counts)
