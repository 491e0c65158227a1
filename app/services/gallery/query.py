"""Which pictures of a set are shown, and in which order."""

from __future__ import annotations

SORTS = ("name", "size", "tokens", "shape", "new")
