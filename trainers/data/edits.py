"""Changes of caption files and pictures that can be taken back: a journal on disk, written before the files.

A file is changed only while it holds the text that the change was made from, so nobody's words are overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainers.data.text import TextError, read_text
from trainers.errors import DataError

WRITERS = 8  # at a time: most of a write is waiting for the disk
TRASH = ".trash"
JOURNALS = "journals"
NEW_FILE_MODE = 0o644


def write_caption(path: Path, text: str) -> bool:
    """Write UTF-8 by temp file, fsync and rename; whether anything had to be written. Raises OSError.

    Readers see the old text or the new one, never a part. The file keeps its mode, and a link stays a link.
    """
    content = text.encode()
    target = Path(os.path.realpath(path))
    try:
        if target.read_bytes() == content:
            return False
        mode = target.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = NEW_FILE_MODE
    # hidden, so that nobody takes a rest of a killed process for a caption
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=".caption-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, mode)
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return True


def cleaned(text: str) -> str:
    """The text as it will be read again: LF between lines, no byte order mark, no signs that a file cannot hold."""
    whole = text.encode("utf-8", "ignore").decode()  # a half of a surrogate pair goes
    return whole.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").lstrip("\ufeff")


def caption_text(path: Path) -> str | None:
    """The text of a caption file, None when there is no file. Raises TextError, OSError."""
    try:
        return read_text(path)
    except FileNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Change:
    """New text for a caption file. None: there is no file."""

    path: Path
    before: str | None
    after: str | None

    @property
    def reversed(self) -> Change:
        return Change(self.path, self.after, self.before)

    def carry_out(self) -> str:
        """Why it cannot be done; empty when it is done, or was done before. Raises TextError, OSError."""
        now = caption_text(self.path)
        if now == self.after:
            return ""
        if now != self.before:
            return "its text was changed meanwhile"
        if self.after is None:
            self.path.unlink()
        else:
            write_caption(self.path, self.after)
        return ""


@dataclass(frozen=True, slots=True)
class Move:
    """Another place on the same disk for a file."""

    path: Path
    target: Path

    @property
    def reversed(self) -> Move:
        return Move(self.target, self.path)

    def carry_out(self) -> str:
        """As `Change.carry_out`."""
        if not os.path.lexists(self.path):
            return "" if os.path.lexists(self.target) else "it is gone"
        if os.path.lexists(self.target):
            return "another file of this name is there"
        self.target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.path, self.target)
        return ""


Step = Change | Move


@dataclass(frozen=True, slots=True)
class Skipped:
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an act. done: steps as they were carried out, of an undone act the reversed ones."""

    act: str
    label: str
    done: tuple[Step, ...]
    skipped: tuple[Skipped, ...]


@dataclass
class _Act:
    label: str
    offsets: list[int]  # of its lines in the journal
    steps: int
    skipped: set[int] = field(default_factory=set)  # steps that were never done


def journal_folder(data_dir: Path, folder: Path) -> Path:
    """Where the journal of a data set lies. It is what Undo needs, so it is no cache."""
    return data_dir / JOURNALS / set_id_of(folder)


def set_id_of(folder: Path) -> str:
    """The id of a data set: 12 hex letters of its path."""
    return hashlib.blake2b(str(folder).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


class Journal:
    """The acts on one data set, in DIR/journal.jsonl. Safe from any thread; other processes may append too."""

    def __init__(self, root: Path) -> None:
        self._root, self._file = root, root / "journal.jsonl"
        self._lock = threading.Lock()
        self._offset = 0
        self._acts: dict[str, _Act] = {}
        self._done: list[str] = []
        self._undone: list[str] = []

    @property
    def labels(self) -> tuple[str, str]:
        """What undo and redo would take; empty for nothing."""
        with self._lock:
            self._catch_up()
            undo, redo = (self._acts[acts[-1]].label if acts else "" for acts in (self._done, self._undone))
            return undo, redo

    def apply(self, label: str, changes: Sequence[Change]) -> Outcome:
        """Write every file that still holds the text the change was made from. Raises OSError for the journal only."""
        return self._act(label, lambda _: _cleaned(changes))

    def extend(self, act: str, label: str, changes: Sequence[Change]) -> Outcome:
        """As `apply`, as a part of an act that goes on for longer and is undone as one. act: an id of its own."""
        with self._lock:
            self._catch_up()
            known = self._acts.get(act)
        record = {"act": act, "label": label, "time": time.time()} if known is None else {"more": act}
        return self._act(label, lambda _: _cleaned(changes), act, record, known.steps if known else 0)

    def changes(self, act: str) -> list[Change]:
        """What an act changes in captions, in order; empty for one that is not known."""
        with self._lock:
            self._catch_up()
            steps = self._steps(act) if act in self._acts else []
        return [step for step in steps if isinstance(step, Change)]

    def is_undone(self, act: str) -> bool | None:
        """None for an act that is not known, or came to nothing."""
        with self._lock:
            self._catch_up()
            return False if act in self._done else True if act in self._undone else None

    def trash(self, label: str, folder: Path, files: Iterable[Path]) -> Outcome:
        """Move files of a data set into its own trash, at the places that they have in the folder."""

        def moves(act: str) -> list[Move]:
            heap = folder / TRASH / f"{time.strftime('%Y%m%d-%H%M%S')}-{act[:4]}"
            return [Move(file, heap / file.relative_to(folder)) for file in files]

        return self._act(label, moves)

    def undo(self, act: str = "") -> Outcome:
        """Take the last act back, or a certain one. Raises DataError when there is none."""
        return self._turn("undo", self._done, act)

    def redo(self, act: str = "") -> Outcome:
        """Do the act again that was undone last, or a certain one. Raises DataError when there is none."""
        return self._turn("redo", self._undone, act)

    def _act(
        self,
        label: str,
        make: Callable[[str], Sequence[Step]],
        act: str = "",
        record: dict[str, Any] | None = None,
        first: int = 0,
    ) -> Outcome:
        """record: begins the line in the journal; first: number of the first step within the act."""
        act = act or uuid.uuid4().hex[:12]
        steps = make(act)
        with self._lock:
            # before the files: whatever happens from here on, both texts are on the disk
            head = record or {"act": act, "label": label, "time": time.time()}
            self._append({**head, "steps": [*map(_record, steps)]})
            reasons = _carry_out(steps)
            skipped = [number for number, reason in enumerate(reasons, first) if reason]
            if skipped:
                self._append({"skipped": act, "steps": skipped})
            if len(skipped) == len(steps) and "act" in head:
                self._append({"void": act})
            self._catch_up()
        return _outcome(act, label, steps, reasons)

    def _turn(self, way: str, acts: list[str], act: str) -> Outcome:
        with self._lock:
            self._catch_up()
            if not acts or (act and act not in acts):
                raise DataError(f"There is nothing to {way}.")
            act = act or acts[-1]
            steps = self._steps(act)
            if way == "undo":
                steps = [step.reversed for step in reversed(steps)]
            reasons = _carry_out(steps)
            # after the files: an act that was half undone when the process died can be undone once more
            self._append({way: act})
            self._catch_up()
        return _outcome(act, self._acts[act].label, steps, reasons)

    def _append(self, record: dict[str, Any]) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # a line that broke off with its process
                    file.write(b"\n")
            file.write(json.dumps(record).encode() + b"\n")  # ASCII: names of files may hold bytes of no encoding
            file.flush()
            os.fsync(file.fileno())

    def _catch_up(self) -> None:
        for offset, line in self._lines():
            self._offset = offset + len(line)
            try:
                record = json.loads(line)
            except ValueError:  # broke off with its process, before any file was touched
                continue
            self._take(record, offset)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Whole lines that are new, and where they begin."""
        offset = self._offset
        try:
            with self._file.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    yield offset, line
                    offset += len(line)
        except FileNotFoundError:
            return

    def _take(self, record: dict[str, Any], offset: int) -> None:
        if "act" in record:
            self._acts[record["act"]] = _Act(record["label"], [offset], len(record["steps"]))
            self._done.append(record["act"])
            self._undone.clear()
        elif "more" in record:
            self._take_more(record["more"], offset, len(record["steps"]))
        elif "void" in record:  # nothing was done, so there is nothing to undo
            self._done.remove(record["void"])
        elif "skipped" in record:
            self._acts[record["skipped"]].skipped.update(record["steps"])
        else:
            here, there = (self._done, self._undone) if "undo" in record else (self._undone, self._done)
            act = next(iter(record.values()))
            if act in here:  # two processes may have undone it at once
                here.remove(act)
                there.append(act)

    def _take_more(self, act: str, offset: int, steps: int) -> None:
        known = self._acts[act]
        known.offsets.append(offset)
        known.steps += steps
        for acts in (self._done, self._undone):
            if act in acts:
                acts.remove(act)
        self._done.append(act)  # what was done last is undone first
        self._undone.clear()

    def _steps(self, act: str) -> list[Step]:
        known = self._acts[act]
        records: list[dict[str, Any]] = []
        with self._file.open("rb") as file:
            for offset in known.offsets:
                file.seek(offset)
                records += json.loads(file.readline())["steps"]
        return [_step(record) for number, record in enumerate(records) if number not in known.skipped]


def _cleaned(changes: Iterable[Change]) -> list[Change]:
    return [Change(one.path, one.before, None if one.after is None else cleaned(one.after)) for one in changes]


def _record(step: Step) -> dict[str, Any]:
    if isinstance(step, Move):
        return {"path": str(step.path), "target": str(step.target)}
    return {"path": str(step.path), "before": step.before, "after": step.after}


def _step(record: dict[str, Any]) -> Step:
    path = Path(record["path"])
    if "target" in record:
        return Move(path, Path(record["target"]))
    return Change(path, record["before"], record["after"])


def _carry_out(steps: Sequence[Step]) -> list[str]:
    with ThreadPoolExecutor(WRITERS, "captions") as writers:
        return list(writers.map(_reason, steps))


def _reason(step: Step) -> str:
    """Why a step was left out; empty when it is done."""
    try:
        return step.carry_out()
    except TextError as error:
        return error.reason
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _outcome(act: str, label: str, steps: Sequence[Step], reasons: list[str]) -> Outcome:
    done = tuple(step for step, reason in zip(steps, reasons, strict=True) if not reason)
    skipped = tuple(Skipped(step.path, reason) for step, reason in zip(steps, reasons, strict=True) if reason)
    return Outcome(act, label, done, skipped)
