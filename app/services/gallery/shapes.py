"""How pictures are cut for training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from app.services.gallery.context import Context
from app.services.gallery.item import Item
from trainers.data import buckets

ENLARGED_FROM = 1.01  # rounding to whole pixels is no enlargement

Place = Callable[[tuple[int, int]], tuple[float, float]]  # of a bucket's window in a picture


def bucket_of(item: Item, resolution: int, context: Context) -> tuple[int, int]:
    width, height = item.entry.width, item.entry.height
    return buckets.bucket_of(width, height, resolution, context.step, aspect=context.aspect, upscale=context.upscale)


def cuts(item: Item, context: Context, place: Place) -> list[dict[str, Any]]:
    """As `Gallery.detail` gives them."""
    width, height = item.entry.width, item.entry.height
    found = []
    for resolution in context.resolutions:
        bucket = bucket_of(item, resolution, context)
        left, top, right, bottom = buckets.crop_box(width, height, bucket, place(bucket))
        enlarged = bucket[0] / (right - left)
        found.append(
            {
                "resolution": resolution,
                "bucket": list(bucket),
                "box": [left / width, top / height, right / width, bottom / height],
                "loss": buckets.crop_loss(width, height, bucket),
                "enlarged": enlarged if enlarged > ENLARGED_FROM else 0,
            }
        )
    return found


def histogram(items: Iterable[Item], context: Context) -> list[dict[str, Any]]:
    """As `Gallery.histogram` gives it."""
    shown = list(items)
    return [{"resolution": side, "buckets": _counted(shown, side, context)} for side in context.resolutions]


def _counted(items: list[Item], resolution: int, context: Context) -> list[dict[str, Any]]:
    losses: dict[tuple[int, int], list[float]] = defaultdict(list)
    for item in items:
        bucket = bucket_of(item, resolution, context)
        losses[bucket].append(buckets.crop_loss(item.entry.width, item.entry.height, bucket))
    return [
        {"size": list(size), "n": len(lost), "loss": sum(lost) / len(lost)}
        for size, lost in sorted(losses.items(), key=lambda found: found[0][0] / found[0][1])
    ]
