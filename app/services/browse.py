"""Folders of this machine, for a person who looks for pictures. Names and counts only, no file is opened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from trainers import paths
from trainers.data.decode import PICTURE_ENDINGS
from trainers.errors import DataError

COUNTED = 1000  # pictures of a folder; more are not counted
SHOWN = 2000  # folders in a folder
LOOKED_AT = 5000  # names of a folder that are read to count its pictures

# what an operating system keeps for itself, with all that is below
SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr/bin", "/usr/lib")
SYSTEM_WINDOWS = ("windows", "program files", "program files (x86)", "programdata")


def browse(path: str, places: list[tuple[str, Path]]) -> dict[str, Any]:
    """{path, parent: "" at the top, places: [{name, path}], folders: [{name, path, pictures}]}; "" is the home.

    places: own ones, shown before home and drives. pictures: directly in the folder, at most COUNTED.
    Raises DataError for what is no folder or may not be read.
    """
    folder = paths.absolute(path or "~")
    if is_system(folder):
        raise DataError(f"{folder} belongs to the system.", "Choose another folder.")
    try:
        with os.scandir(folder) as found:
            shown = [entry for entry in found if not entry.name.startswith(".") and _is_folder(entry)]
    except OSError as error:
        raise DataError(f"{folder} cannot be opened: {error.strerror}.", "Choose another folder.") from error
    shown = [entry for entry in shown if not is_system(Path(entry.path))]
    shown.sort(key=lambda entry: entry.name.casefold())
    return {
        "path": str(folder),
        "parent": "" if folder.parent == folder else str(folder.parent),
        "places": [{"name": name, "path": str(place)} for name, place in [*places, *_places()]],
        "folders": [
            {"name": entry.name, "path": entry.path, "pictures": count_pictures(entry.path)} for entry in shown[:SHOWN]
        ],
    }


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):  # a drive that does not answer
        return entry.is_dir()
    return False


def _places() -> Iterator[tuple[str, Path]]:
    home = Path.home()
    yield home.name or str(home), home
    for name in ("Pictures", "Downloads", "Desktop"):
        if (home / name).is_dir():
            yield name, home / name
    mounts = sorted({part.mountpoint for part in psutil.disk_partitions() if not is_system(Path(part.mountpoint))})
    yield from ((mount, Path(mount)) for mount in mounts if os.path.isdir(mount))


def count_pictures(folder: str | Path) -> int:
    """Pictures directly in a folder, at most COUNTED of the first names; 0 when it cannot be read."""
    try:
        with os.scandir(folder) as found:
            names = (entry.name for entry in islice(found, LOOKED_AT) if not entry.name.startswith("."))
            pictures = (name for name in names if os.path.splitext(name)[1].lower() in PICTURE_ENDINGS)
            return sum(1 for _ in islice(pictures, COUNTED))
    except OSError:
        return 0


def is_system(folder: Path) -> bool:
    """Whether the folder is one of the operating system's, or below one."""
    if os.name == "nt":
        return len(folder.parts) > 1 and folder.parts[1].lower() in SYSTEM_WINDOWS
    return any(folder == Path(root) or Path(root) in folder.parents for root in SYSTEM)


def is_root(folder: Path) -> bool:
    """Whether the folder is the top of a drive."""
    return folder.parent == folder
