"""JSON lines that only ever grow: what was appended is on the disk before the call returns."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainers.rundir import read_lines

_writing = threading.Lock()


def append(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add records as lines, in one write, and wait until the disk has them. Raises OSError.

    A line that a killed process left half-written is ended first, so that it takes no other with it.
    """
    text = "".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    if not text:
        return
    data = text.encode(errors="backslashreplace")
    with _writing, path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = b"\n" + data
        rest = memoryview(data)
        while rest:  # a disk that gets full takes a part and says no only the next time
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


class Tail:
    """The records of a growing file: `fresh` gives those that were added since the last call. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def fresh(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while (lines := read_lines(self._path, self._offset)).offset > self._offset:
            self._offset = lines.offset
            found += lines.records
        return found
