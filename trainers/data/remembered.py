"""What earlier scans of a folder found, in a file that is read and written from front to back."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
import zlib
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from trainers.data.storage import mark_wanted
from trainers.data.walk import Order, order_of

HEADER = json.dumps(["atelier index", 2]) + "\n"  # another number when the meaning of a line changes
LONGEST_SCAN_S = 24 * 3600

log = logging.getLogger(__name__)


class Recalled(NamedTuple):
    """A line of the store: its text, and what it says behind the picture's name."""

    line: str
    facts: list[Any]


class Store:
    """Records of pictures, in the order of the walk, so that only one is held at a time.

    Each begins with the picture's name. A file that is damaged, or of another version, is as good as none; one that
    cannot be written is not written. The old file stays until the new one is complete. path: None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._old = _lines(path)
        self._next: Recalled | None = None
        self._order: Order = ()
        self._changed = not (path and path.exists())
        self._new = self._begun()
        self._advance()

    def recall(self, name: str) -> Recalled | None:
        """The record of that name; names must come in the order of the walk."""
        order = order_of(name)
        while self._next and self._order < order:
            self._changed = True  # a file that is gone
            self._advance()
        if not self._next or self._order != order:
            return None
        found = self._next
        self._advance()
        return found

    def keep(self, line: str, recalled: Recalled | None) -> None:
        """Write the next line, which was made from that one."""
        self._changed = self._changed or recalled is None or recalled.line != line
        if self._new:
            try:
                self._new.write(_sealed(line))
            except OSError as error:
                self._give_up(error)

    def commit(self) -> None:
        """Take the place of the old file, if anything is new."""
        self._changed = self._changed or self._next is not None
        self._end_old()
        if not (self._new and self._path):
            return
        try:
            self._new.close()
            if self._changed:
                os.replace(self._new.name, self._path)
                self._new = None
            else:
                mark_wanted(self._path, self._path.stat().st_mtime)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Leave nothing behind but what was committed."""
        self._end_old()
        if self._new:
            with suppress(OSError):  # a full disk says so once more
                self._new.close()
            with suppress(OSError):
                os.unlink(self._new.name)
            self._new = None

    def _begun(self) -> IO[str] | None:
        if not self._path:
            return None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(self._path)
            handle, name = tempfile.mkstemp(".part", self._path.stem, self._path.parent)
        except OSError as error:
            log.warning("Scans are not remembered: %s", error)
            return None
        os.close(handle)
        # names that are no UTF-8 come as lone surrogates
        new = open(name, "w", encoding="utf-8", errors="surrogatepass", newline="\n")  # noqa: SIM115
        new.write(HEADER)
        return new

    def _give_up(self, error: OSError) -> None:
        log.warning("This scan is not remembered: %s", error)
        self.close()

    def _advance(self) -> None:
        self._next = None
        line = next(self._old, "")
        if not line:
            return
        try:
            record = _opened(line)
        except ValueError:
            self._end_old()  # what comes after the damage is as good as none
        else:
            name, *facts = json.loads(record)
            self._next, self._order = Recalled(record, facts), order_of(name)

    def _end_old(self) -> None:
        """Windows replaces no file that is open."""
        self._old.close()
        self._next = None


def _lines(path: Path | None) -> Generator[str, None, None]:
    """Lines of a store of this version; none of any other file."""
    if path is None:
        return
    try:
        with path.open(encoding="utf-8", errors="surrogatepass") as file:
            if file.readline() == HEADER:
                yield from file
    except (OSError, UnicodeDecodeError) as error:
        if not isinstance(error, FileNotFoundError):
            log.warning("What was remembered of a folder cannot be read: %s", error)


def _sweep(path: Path) -> None:
    """Remove what scans left that were killed; younger files may be those of another scan."""
    for part in path.parent.glob(f"{path.stem}*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > LONGEST_SCAN_S:
                part.unlink()


def _sealed(record: str) -> str:
    return f"{zlib.crc32(record.encode('utf-8', 'surrogatepass')):08x} {record}"


def _opened(line: str) -> str:
    """The record of a sealed line. Raises ValueError when it is damaged."""
    record = line[9:]
    if line != _sealed(record):
        raise ValueError("a damaged line")
    return record
