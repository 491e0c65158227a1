"""Where things are: the program's own folder, and the data folder of the person who uses it."""

from __future__ import annotations

import os
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent
ASSETS = PROGRAM / "assets"
PRESETS = PROGRAM / "presets"


def data_dir() -> Path:
    """ATELIER_DATA_DIR, or ~/Atelier. Holds runs, datasets, models, presets and cache."""
    return absolute(os.environ.get("ATELIER_DATA_DIR") or "~/Atelier")


def absolute(path: str) -> Path:
    """The path from the root, without `~`, links or dots. Nothing needs to exist there."""
    # os.path and not pathlib: a typed path may be too long, or name no user after `~`, and pathlib raises then
    return Path(os.path.realpath(os.path.expanduser(path)))


def locate(path: str) -> Path:
    """A path as a person gives it: from the working folder, else from the program's folder (built-in data)."""
    given = os.path.expanduser(path)
    if not os.path.isabs(given) and not os.path.exists(given) and os.path.exists(PROGRAM / given):
        return PROGRAM / given
    return absolute(given)
