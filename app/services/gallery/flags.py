"""What may be wrong with pictures and captions: the filters of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.services.gallery.context import Context
from app.services.gallery.item import Item
from trainers.data.examine import is_blurry
from trainers.data.likeness import near_groups

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


@dataclass(frozen=True, eq=False)
class Likeness:
    """What only comparing pictures tells; complete when every picture was decoded.

    group: number of the group of near-duplicates, by pid, without copies; same: pids of pictures whose very bytes are
    there twice.
    """

    group: dict[str, int] = field(default_factory=dict)
    same: frozenset[str] = frozenset()


def likeness(items: Iterable[Item]) -> Likeness:
    good = [item for item in items if not item.entry.error and item.entry.digest]
    groups = near_groups([(item.entry.digest, item.entry.dhash) for item in good])
    by_digest: dict[str, list[str]] = {}
    for item in good:
        by_digest.setdefault(item.entry.digest, []).append(item.pid)
    return Likeness(
        {good[place].pid: number for number, places in enumerate(groups) for place in places},
        frozenset(pid for pids in by_digest.values() if len(pids) > 1 for pid in pids),
    )


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
        "blurry": is_blurry(entry.sharpness),
        "no_trigger": bool(trigger) and bool(text.strip()) and trigger not in text,
        "too_long": too_long,
        "lines": len(item.lines) > 1,
    }
    return tuple(name for name, is_so in found.items() if is_so)
