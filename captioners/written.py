"""Who wrote which caption, in FOLDER/.atelier/captions.jsonl: beside the data, and never inside the captions. Light.

One JSON line for each caption that a job wrote, appended; a line {"undone": job} takes the job's ones back, and
{"redone": job} brings them again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainers.rundir import all_records

FILE = Path(".atelier") / "captions.jsonl"


@dataclass(frozen=True)
class Written:
    """name: of the picture, below the folder; text: hash of the caption file's text; settings: how words were chosen;
    time: seconds since 1970; job: name of its run folder; act: its id in the journal."""

    name: str
    text: str
    captioner: str
    source: str
    prompt: str
    seed: int
    settings: str
    time: float
    job: str
    act: str


def hash_of(text: str) -> str:
    """16 hex letters of a caption's text, whatever its line ends."""
    return hashlib.blake2b(text.rstrip("\n").encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def note(folder: Path, records: Iterable[Written]) -> None:
    """Append what was written. Raises OSError."""
    _append(folder, [asdict(record) for record in records])


def note_turn(folder: Path, act: str, *, undone: bool) -> None:
    """A job was taken back, or done again. Raises OSError."""
    _append(folder, [{"undone" if undone else "redone": act}])


def _append(folder: Path, records: list[dict[str, Any]]) -> None:
    file = folder / FILE
    file.parent.mkdir(exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)  # ASCII: names may hold bytes of no encoding
    with file.open("a+b") as out:
        if out.seek(0, os.SEEK_END):
            out.seek(-1, os.SEEK_END)
            if out.read(1) != b"\n":  # a line that broke off with its process
                out.write(b"\n")
        out.write(lines.encode())


class Provenance:
    """What is noted of a folder, kept up to date with its file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._stamp: tuple[int, int] | None = None
        self._by_name: dict[str, list[dict[str, Any]]] = {}
        self._undone: set[str] = set()

    def of(self, name: str, text: str | None) -> tuple[Written, bool] | None:
        """Who wrote the caption of a picture, and whether it was changed since; None where no captioner did.

        text: the caption as it is now.
        """
        self._catch_up()
        records = [record for record in self._by_name.get(name, ()) if record["act"] not in self._undone]
        if not records or text is None:
            return None
        now = hash_of(text)
        same = [record for record in records if record["text"] == now]
        return Written(**(same or records)[-1]), not same

    def _catch_up(self) -> None:
        try:
            facts = self._file.stat()
        except FileNotFoundError:
            return
        stamp = (facts.st_size, facts.st_mtime_ns)
        if stamp == self._stamp:
            return
        self._by_name, self._undone = {}, set()
        for record in all_records(self._file):
            if "undone" in record:
                self._undone.add(record["undone"])
            elif "redone" in record:
                self._undone.discard(record["redone"])
            elif record.keys() == Written.__dataclass_fields__.keys():
                self._by_name.setdefault(record["name"], []).append(record)
        self._stamp = stamp
