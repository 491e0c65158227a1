"""Where things are: the program's own folder, and the data folder of the person who uses it."""

from __future__ import annotations

import os
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent
ASSETS = PROGRAM / "assets"
PRESETS = PROGRAM / "presets"


def data_dir() -> Path:
    """ATELIER_DATA_DIR, or ~/Atelier. Holds runs, datasets, models, presets and cache."""
    return Path(os.environ.get("ATELIER_DATA_DIR") or Path.home() / "Atelier").expanduser().resolve()


def locate(path: str) -> Path:
    """A path as a person gives it: from the working folder, else from the program's folder (built-in data)."""
    given = Path(path).expanduser()
    if not given.is_absolute() and not given.exists() and (PROGRAM / given).exists():
        return PROGRAM / given
    return given.resolve()
