"""What may be wrong with pictures and captions: the filters of the page."""

from __future__ import annotations

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
