"""What the cache folder takes on disk, and how to get the room back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DAY_S = 86_400
KINDS = ("latents", "text", "thumbs", "index", "zips")  # folders that can be made again from the pictures


@dataclass(frozen=True)
class Usage:
    """One kind of cached files. idle_days: since any of them was last wanted."""

    kind: str
    files: int
    bytes: int
    idle_days: float


@dataclass(frozen=True)
class Freed:
    """What pruning removed."""

    files: int
    bytes: int


def usage(cache: Path) -> list[Usage]:
    """What each kind takes; kinds that take nothing are left out."""
    now, found = time.time(), []
    for kind in KINDS:
        status = [one for _, one in _files(cache / kind)]
        if status:
            newest = max(one.st_mtime for one in status)
            size = sum(one.st_size for one in status)
            found.append(Usage(kind, len(status), size, max(0.0, now - newest) / DAY_S))
    return found


def prune(cache: Path, idle_days: float) -> Freed:
    """Remove what was not wanted for so many days, 0 for everything. Pictures and runs are not touched.

    A run that needs an entry again makes it again; one that goes on must not lose it: keep at least a day then.
    """
    limit, files, size = time.time() - idle_days * DAY_S, 0, 0
    for kind in KINDS:
        for path, status in list(_files(cache / kind)):
            if status.st_mtime <= limit:
                path.unlink(missing_ok=True)
                files, size = files + 1, size + status.st_size
        _drop_empty(cache / kind)
    return Freed(files, size)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            try:
                yield path, path.stat(follow_symlinks=False)
            except FileNotFoundError:  # another program was faster
                continue


def _drop_empty(folder: Path) -> None:
    for root, folders, files in os.walk(folder, topdown=False):
        if not files and not any(os.path.exists(os.path.join(root, name)) for name in folders):
            os.rmdir(root)
