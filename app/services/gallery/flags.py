"""What may be wrong with pictures and captions: the filters of the page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.services.gallery.context import Context
from app.services.gallery.item import Item
from trainers.data.examine import near_duplicates

FILTERS = (
    "no_caption",
    "too_small",
    "near_duplicate",
    "duplicate",
    "blurry",
    "no_trigger",
    "too_long",
    "lines",
    "bad",
)
TOO_SMALL = 0.5  # of the pixels that it will be enlarged to

# Sharpness (see `examine`) of photographs is 200 and more; blurred by 0.4 % of their width it is 15 to 120. Drawings of
# few lines have little too, so a picture must also be far below the others of its set.
BLURRY, NEVER_BLURRY = 60.0, 200.0
BLURRY_SHARE = 1 / 8  # of the set's median


@dataclass(frozen=True, eq=False)
class Likeness:
    """What only comparing pictures tells; complete when every picture was decoded.

    group: number of the group of near-duplicates, by pid; same: pids of pictures whose very bytes are there twice.
    """

    group: dict[str, int] = field(default_factory=dict)
    same: frozenset[str] = frozenset()
    blurry_below: float = 0.0


def likeness(items: Iterable[Item]) -> Likeness:
    good = [item for item in items if not item.entry.error and item.entry.digest]
    groups = near_duplicates([item.entry.dhash for item in good])
    by_digest: dict[str, list[str]] = {}
    for item in good:
        by_digest.setdefault(item.entry.digest, []).append(item.pid)
    return Likeness(
        {good[place].pid: number for number, places in enumerate(groups) for place in places},
        frozenset(pid for pids in by_digest.values() if len(pids) > 1 for pid in pids),
        _blurry_below([item.entry.sharpness for item in good]),
    )


def _blurry_below(sharpness: Sequence[float]) -> float:
    if not sharpness:
        return 0.0
    return min(NEVER_BLURRY, max(BLURRY, statistics.median(sharpness) * BLURRY_SHARE))


def flags_of(item: Item, context: Context, alike: Likeness, too_long: bool) -> tuple[str, ...]:
    """The filters that an item is in."""
    if item.reason:
        return ("bad",)
    entry, text = item.entry, (item.text or "").casefold()
    trigger = context.captions.trigger.strip().casefold()
    small = entry.width * entry.height < TOO_SMALL * max(context.resolutions) ** 2
    found: Mapping[str, bool] = {
        "no_caption": not text.strip(),
        "too_small": small,
        "near_duplicate": item.pid in alike.group,
        "duplicate": item.pid in alike.same,
        "blurry": bool(entry.digest) and entry.sharpness < alike.blurry_below,
        "no_trigger": bool(trigger) and bool(text.strip()) and trigger not in text,
        "too_long": too_long,
        "lines": len(item.lines) > 1,
    }
    return tuple(name for name, is_so in found.items() if is_so)
