"""Scans of picture folders that are remembered as long as the folder does not change."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path

from trainers.data import folder
from trainers.errors import AtelierError

REMEMBERED = 16

Fingerprint = tuple[tuple[str, int, int], ...]


class StillScanning(AtelierError):
    """The folder is large and is still being read."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"Reading the pictures: {done:,} of {total:,}.")
        self.done, self.total = done, total


@dataclass
class _Scanning:
    fingerprint: Fingerprint
    scan: Future[folder.Scan] = field(default_factory=Future)
    done: int = 0
    total: int = 0

    @property
    def failed(self) -> bool:
        """A drive may be back by now."""
        return self.scan.done() and self.scan.exception() is not None


class Scans:
    """Reads a folder in a thread and answers from memory until a name, time or size in it changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Path, str], _Scanning] = OrderedDict()

    def scanner(self, patience_s: float) -> Callable[..., folder.Scan]:
        """A function like `folder.scan` that raises StillScanning when the answer takes longer than that."""

        def scan(path: Path, extensions: str, progress: Callable[[int, int], None] | None = None) -> folder.Scan:
            scanning = self._scanning(path, extensions)
            try:
                return scanning.scan.result(timeout=patience_s)
            except FutureTimeout:
                raise StillScanning(scanning.done, scanning.total) from None

        return scan

    def _scanning(self, path: Path, extensions: str) -> _Scanning:
        fingerprint = _fingerprint(path)
        key = path, extensions
        with self._lock:
            known = self._known.get(key)
            if known and known.fingerprint == fingerprint and not known.failed:
                self._known.move_to_end(key)
                return known
            fresh = self._known[key] = _Scanning(fingerprint)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        threading.Thread(target=_read, args=(fresh, path, extensions), name="scan", daemon=True).start()
        return fresh


def _read(scanning: _Scanning, path: Path, extensions: str) -> None:
    def progress(done: int, total: int) -> None:
        scanning.done, scanning.total = done, total

    try:
        scanning.scan.set_result(folder.scan(path, extensions, progress))
    except Exception as error:  # handed to whoever waits for the scan
        scanning.scan.set_exception(error)


def _fingerprint(path: Path) -> Fingerprint:
    """Name, time and size of every file that a scan may look at."""
    found = []
    for root, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                try:
                    status = os.stat(os.path.join(root, name))
                except FileNotFoundError:  # went away meanwhile
                    continue
                found.append((os.path.join(root, name), status.st_mtime_ns, status.st_size))
    return tuple(sorted(found))
