"""Scans of the data sets and pairs of a run that are remembered as long as nothing in them changes."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainers import paths, preflight
from trainers.config import Data
from trainers.data import folder, pair_scan
from trainers.data.index import Progress
from trainers.data.lookup import folders
from trainers.data.pair_scan import PairScan
from trainers.data.sources import Source, sources
from trainers.errors import AtelierError

REMEMBERED = 16
QUICK_S = 0.25  # a look for changes that takes longer is not made at every question
REST = 10  # and then the answer holds for so many times as long

Key = tuple[Any, ...]


class StillScanning(AtelierError):
    """The data sets are large and are still being read. total: 0 while the pictures are being counted."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"Reading the pictures: {done:,} of {total:,}." if total else "Looking for pictures.")
        self.done, self.total = done, total


@dataclass
class _Scanning:
    """A scan, or a look whether the last one still holds. holds_until: monotonic seconds."""

    scan: Future[Any] = field(default_factory=Future)
    fingerprint: bytes = b""
    holds_until: float = 0.0
    done: int = 0
    total: int = 0

    def good(self) -> Any:
        """The scan, if it is there."""
        return self.scan.result() if self.scan.done() and not self.scan.exception() else None

    @property
    def holds(self) -> bool:
        return not self.scan.done() or time.monotonic() < self.holds_until


class Scans:
    """Reads data sets in a thread and answers from memory until a name, time or size in them changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Key, _Scanning] = OrderedDict()

    def scanner(self, patience_s: float) -> Callable[[Data, Progress | None], folder.Scan]:
        """A function like `preflight.glance` that raises StillScanning when the answer takes longer than that."""

        def scan(data: Data, progress: Progress | None = None) -> folder.Scan:
            scanning = self._scanning(
                _key(data), lambda: _fingerprint(sources(data)), lambda progress: preflight.glance(data, progress)
            )
            found: folder.Scan = _result(scanning, patience_s)
            wanted = sources(data)  # what is done with the pictures may have changed since
            if [source.folder for source in wanted] != [source.folder for source in found.sources]:
                scanning.holds_until = 0.0  # a SimpleTuner file that changed while the answer held
                raise StillScanning(0, 0)
            return dataclasses.replace(found, sources=wanted)

        return scan

    def pair_scanner(self, patience_s: float) -> preflight.PairScanner:
        """The same for `preflight.glance_pairs`."""

        def scan(path: Path, index_dir: Path, progress: Progress | None = None) -> PairScan:
            scanning = self._scanning(
                ("pairs", path, index_dir),
                lambda: _fingerprint_of_pairs(path),
                lambda progress: preflight.glance_pairs(path, index_dir, progress),
            )
            found: PairScan = _result(scanning, patience_s)
            return found

        return scan

    def _scanning(self, key: Key, fingerprint: Callable[[], bytes], read: Callable[[Progress], Any]) -> _Scanning:
        with self._lock:
            known = self._known.get(key)
            if known and known.holds:
                self._known.move_to_end(key)
                return known
            fresh = self._known[key] = _Scanning()
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        arguments = (fresh, known, fingerprint, read)
        threading.Thread(target=_look, args=arguments, name="scan", daemon=True).start()
        return fresh


def _result(scanning: _Scanning, patience_s: float) -> Any:
    try:
        return scanning.scan.result(timeout=patience_s)
    except FutureTimeout:
        raise StillScanning(scanning.done, scanning.total) from None


def _look(
    scanning: _Scanning, last: _Scanning | None, fingerprint: Callable[[], bytes], read: Callable[[Progress], Any]
) -> None:
    """Take over the last scan if nothing has changed since, else make a new one. Unpacks zips, too.

    A quick failure is looked at anew at the next question: the drive may be back. A slow one, as of a large broken zip,
    holds for a while, or nobody would ever be there to hear of it.
    """

    def progress(done: int, total: int | None) -> None:
        scanning.done, scanning.total = done, total or 0

    def hold(took: float) -> None:
        if took > QUICK_S:
            scanning.holds_until = time.monotonic() + REST * took

    begun = time.monotonic()
    try:
        scanning.fingerprint = fingerprint()
        took = time.monotonic() - begun
        known = last.good() if last and last.fingerprint == scanning.fingerprint else None
        found = known or read(progress)
        hold(took)
        scanning.scan.set_result(found)
    except Exception as error:  # handed to whoever waits for the scan
        hold(time.monotonic() - begun)
        scanning.scan.set_exception(error)


def _key(data: Data) -> Key:
    """All that decides which files are read, and what their captions are.

    A zip that has changed is another one: `sources` would unpack it for whoever asks, and not in a thread.
    """
    named = [data.folder, *(one.folder for one in data.sets)]
    files = [str(path) for path in map(paths.locate, filter(None, named)) if os.path.isfile(path)]
    stamps = tuple(_trace(file, file) for file in files)
    return data.folder, data.sets, data.caption_extension, data.cache_dir, data.mask, stamps


def _fingerprint(wanted: tuple[Source, ...]) -> bytes:
    """Of the name, time and size of every file that a scan may look at, and of what each data set does to captions."""
    state = hashlib.blake2b(digest_size=16)
    for source in wanted:
        prompts = source.prompt, source.only_prompt, source.prepend_prompt, source.filename_captions
        state.update(repr((source.folder, source.regularisation, *prompts)).encode())
        for base, names in folders(source.folder):
            for name in sorted(names):
                state.update(_trace(os.path.join(source.folder, base, name), base + name))
    return state.digest()


def _fingerprint_of_pairs(path: Path) -> bytes:
    """Of what is said of every pair, and of the time and size of its pictures."""
    state = hashlib.blake2b(digest_size=16)
    for row in pair_scan.rows_of(path):
        state.update(repr(row).encode("utf-8", "surrogateescape"))
        for side in pair_scan.sides(row):
            state.update(_trace(side, side))
    return state.digest()


def _trace(path: str, name: str) -> bytes:
    try:
        status = os.stat(path)
    except OSError:  # went away meanwhile, or leads nowhere
        return b""
    return f"{name}\n{status.st_mtime_ns}\n{status.st_size}\n".encode("utf-8", "surrogateescape")
