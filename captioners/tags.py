"""Which tags of a tagger become the caption, in which order and spelling. Light: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from captioners.config import Tags

Category = Literal["rating", "general", "character", "copyright", "artist", "meta", "quality", "model"]

# faces, which mean nothing without their underscore
KAOMOJI = frozenset(
    {"0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3", "6_9", ">_o"}
    | {"@_@", "^_^", "o_o", "u_u", "x_x", "|_|", "||_||"}
)
NAMES: tuple[Category, ...] = ("character", "copyright", "artist")  # in this order where they come first
MCUT_FLOOR = 0.15  # of names: the largest gap lies at next to nothing where a picture shows nobody known
SERIES = re.compile(r"(.+)_\(([^()]+)\)")


@dataclass(frozen=True)
class Tag:
    """name: with underscores, as in the files of the tagger."""

    name: str
    category: Category


@dataclass(frozen=True)
class _Found:
    name: str
    category: Category
    probability: float


def choose(tags: Mapping[int, Tag], probabilities: Sequence[float], options: Tags) -> dict[str, float]:
    """Tags of a picture as they are written, in the order of the caption, with their probability.

    tags: by their place in `probabilities`. Empty when no tag is likelier than its threshold, rating or not. Tags
    about quality, file and AI model are left out: they say nothing about what the picture shows.
    """
    found = [_Found(tag.name, tag.category, probabilities[place]) for place, tag in tags.items()]
    kept = _without_doubles(_split(_likely(found, options), options))
    kept.sort(key=lambda one: -one.probability)
    if options.at_most:
        kept = kept[: options.at_most]
    if options.character_first:
        kept.sort(key=lambda one: _rank(one.category))
    if kept:
        kept = _rated(kept, found, options)
    return {_spelled(one.name, options): one.probability for one in _firsts_first(kept, options)}


def mcut(probabilities: Iterable[float]) -> float | None:
    """The middle of the largest gap between probabilities; None when there are less than two.

    Maximum cut thresholding (Largeron, Moulin and Gery 2012).
    """
    falling = sorted(probabilities, reverse=True)
    gaps = [high - low for high, low in pairwise(falling)]
    if not gaps:
        return None
    place = gaps.index(max(gaps))
    return (falling[place] + falling[place + 1]) / 2


def _likely(found: list[_Found], options: Tags) -> list[_Found]:
    kept: list[_Found] = []
    for category in ("general", *NAMES):
        members = [one for one in found if one.category == category]
        least = options.general if category == "general" else options.character
        cut = mcut(one.probability for one in members) if options.mcut else None
        if cut is not None:
            least = cut if category == "general" else max(cut, MCUT_FLOOR)
        # above zero: where all are zero, the cut is too
        kept += [one for one in members if one.probability >= least and one.probability > 0]
    return kept


def _split(kept: list[_Found], options: Tags) -> list[_Found]:
    """hatsune_miku_(vocaloid) as hatsune_miku and vocaloid; of name_(costume)_(series) the costume stays."""
    parts: list[_Found] = []
    for one in kept:
        split = SERIES.fullmatch(one.name) if options.split_series and one.category == "character" else None
        names = split.groups() if split else (one.name,)
        parts += [_Found(name, one.category, one.probability) for name in names]
    return parts


def _without_doubles(kept: list[_Found]) -> list[_Found]:
    """Two characters of a series name it once, at its likeliest."""
    best: dict[str, _Found] = {}
    for one in kept:
        if one.name not in best or one.probability > best[one.name].probability:
            best[one.name] = one
    return list(best.values())


def _rated(kept: list[_Found], found: list[_Found], options: Tags) -> list[_Found]:
    ratings = [one for one in found if one.category == "rating"]
    if options.rating == "none" or not ratings:
        return kept
    rating = max(ratings, key=lambda one: one.probability)
    others = [one for one in kept if one.name != rating.name]  # some lists have a general tag of that name
    return [rating, *others] if options.rating == "first" else [*others, rating]


def _firsts_first(kept: list[_Found], options: Tags) -> list[_Found]:
    order = [_plain(name) for name in options.first]
    firsts = [one for one in kept if _plain(one.name) in order]
    firsts.sort(key=lambda one: order.index(_plain(one.name)))
    return [*firsts, *(one for one in kept if one not in firsts)]


def _rank(category: Category) -> int:
    return NAMES.index(category) if category in NAMES else len(NAMES)


def _plain(name: str) -> str:
    return name.strip().replace("_", " ").casefold()


def _spelled(name: str, options: Tags) -> str:
    if not options.underscores and name not in KAOMOJI:
        name = name.replace("_", " ")
    return name.replace("(", r"\(").replace(")", r"\)") if options.escape else name
