"""What the cache folder takes on disk, and how to get the room back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DAY_S = 86_400
KINDS = ("latents", "text", "thumbs", "index", "zips")  # folders that can be made again from the pictures
WHOLE = "zips"  # of this kind a folder goes as a whole: a zip of which half is there would be trained without the rest
GROWING_DAYS = 1.0  # what is being written stays; what a killed program left behind goes then


@dataclass(frozen=True)
class Freed:
    """What pruning removes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Freed) -> Freed:
        return Freed(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True)
class Usage:
    """One kind of cached files. idle_days: since any of them was last wanted; freed: by pruning, for each of `days`."""

    kind: str
    files: int
    bytes: int
    idle_days: float
    freed: tuple[Freed, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unit:
    """What goes or stays together. wanted: seconds since 1970."""

    path: str
    files: int
    bytes: int
    wanted: float

    def idle_days(self, now: float) -> float:
        return max(0.0, now - self.wanted) / DAY_S

    def goes(self, now: float, days: float) -> bool:
        name = os.path.basename(self.path)
        is_growing = name.startswith(".") or name.endswith(".part")
        return self.idle_days(now) >= (max(days, GROWING_DAYS) if is_growing else days)


def mark_wanted(path: str | Path, changed: float) -> None:
    """Note, at most once a day, that something cached is still of use. changed: its time now; pruning goes by it."""
    if time.time() - changed > DAY_S:
        with suppress(PermissionError, FileNotFoundError):  # the folder of somebody else; pruned this moment
            os.utime(path)


def usage(cache: Path, days: Sequence[float] = ()) -> list[Usage]:
    """What each kind takes; kinds that take nothing are left out."""
    found = [_usage(cache, kind, days) for kind in KINDS]
    return [one for one in found if one.files]


def _usage(cache: Path, kind: str, days: Sequence[float]) -> Usage:
    now, files, size, newest = time.time(), 0, 0, 0.0
    freed = [Freed() for _ in days]
    for unit in _units(cache, kind):
        files, size, newest = files + unit.files, size + unit.bytes, max(newest, unit.wanted)
        for position, limit in enumerate(days):
            if unit.goes(now, limit):
                freed[position] += Freed(unit.files, unit.bytes)
    return Usage(kind, files, size, max(0.0, now - newest) / DAY_S, tuple(freed))


def prune(cache: Path, idle_days: float) -> Freed:
    """Remove what was not wanted for so many days, 0 for everything. Pictures and runs are not touched.

    A run that needs an entry again makes it again; one that goes on must not lose it: keep at least a day more than it
    goes on then. Files that cannot be removed, as another program has them open, stay and are not counted.
    """
    now, freed = time.time(), Freed()
    for kind in KINDS:
        for unit in _units(cache, kind):
            if unit.goes(now, idle_days) and _remove(unit):
                freed += Freed(unit.files, unit.bytes)
        _drop_empty(cache / kind)
    return freed


def _remove(unit: _Unit) -> bool:
    try:
        if not os.path.isdir(unit.path):
            os.unlink(unit.path)
            return True
        folder, name = os.path.split(unit.path)
        gone = os.path.join(folder, f".{name}.gone")  # not to be taken for a whole one meanwhile
        os.rename(unit.path, gone)
    except OSError:
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _units(cache: Path, kind: str) -> Iterator[_Unit]:
    folder = str(cache / kind)
    if kind != WHOLE:
        for path, status in _files(folder):
            yield _Unit(path, 1, status.st_size, status.st_mtime)
    elif os.path.isdir(folder):
        for entry in os.scandir(folder):
            sizes = [status.st_size for _, status in _files(entry.path)] if entry.is_dir() else [entry.stat().st_size]
            yield _Unit(entry.path, len(sizes), sum(sizes), entry.stat().st_mtime)


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """One folder's names are in memory at a time."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            try:
                yield path, os.stat(path, follow_symlinks=False)
            except FileNotFoundError:  # another program was faster
                continue


def _drop_empty(folder: Path) -> None:
    for root, folders, files in os.walk(folder, topdown=False):
        if not files and not any(os.path.exists(os.path.join(root, name)) for name in folders):
            with suppress(OSError):  # something was written into it this moment
                os.rmdir(root)
