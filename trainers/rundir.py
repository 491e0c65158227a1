"""The folder of one run: the only truth about it. The app's database is an index of such folders.

config.toml  events.jsonl  control.jsonl  worker.json  worker.log  samples/  checkpoints/  trials/  NAME.safetensors
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from trainers.events import Event, to_line

HEARTBEAT_S = 2.0
STALE_S = 60.0  # no heartbeat for this long: the worker hangs or its machine slept

Command = Literal["stop", "save", "sample", "pause", "resume"]
COMMANDS: tuple[Command, ...] = get_args(Command)

log = logging.getLogger(__name__)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write by temp file, fsync and rename: readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp gives the owner alone access
        _replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _replace(source: str, target: Path) -> None:
    """os.replace; waits up to a second for a reader to go, as Windows replaces no file that is open."""
    for pause_s in (0.02, 0.1, 0.3, 0.6):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(pause_s)
    os.replace(source, target)


@dataclass(frozen=True)
class Lines:
    """New whole lines of a growing JSON-lines file, and the offset to ask from next time."""

    records: list[dict[str, Any]]
    offset: int


def read_lines(path: Path, offset: int = 0, limit_bytes: int = 1 << 20) -> Lines:
    """Records after byte `offset`; a half-written last line waits for the next call, a broken one is skipped."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(limit_bytes)
            while chunk and b"\n" not in chunk and (more := file.read(limit_bytes)):
                chunk += more
    except FileNotFoundError:
        return Lines([], offset)
    end = chunk.rfind(b"\n") + 1
    records = []
    for line in chunk[:end].splitlines():
        with contextlib.suppress(ValueError):  # a torn line may break off within a character, too
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return Lines(records, offset + end)


@dataclass(frozen=True)
class RunDir:
    """Paths and files of a run. Creating the object touches nothing on disk."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def control(self) -> Path:
        return self.path / "control.jsonl"

    @property
    def worker(self) -> Path:
        return self.path / "worker.json"

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def adapter(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"

    def adapter_files(self) -> list[Path]:
        """What can be used in other programs: the finished file, then those of checkpoints, newest first."""
        finished = sorted(self.path.glob("*.safetensors"))
        return finished + [file for step in reversed(self.whole_checkpoints()) for file in step.glob("*.safetensors")]

    def adapter_named(self, name: str) -> Path | None:
        """The one of `adapter_files` with this name."""
        return next((path for path in self.adapter_files() if path.name == name), None)

    def create(self, config_toml: str) -> None:
        """Make the folder. Raises FileExistsError when it already holds a run."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.config.exists():
            raise FileExistsError(self.path)
        self.samples.mkdir(exist_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        write_atomic(self.config, config_toml)

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:06d}"

    def whole_checkpoints(self) -> list[Path]:
        """Checkpoints by step, oldest first; folders that were being written have another name."""
        whole = [path for path in self.checkpoints.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
        return sorted(whole, key=lambda path: int(path.name.removeprefix("step-")))

    def latest_checkpoint(self) -> Path | None:
        """The newest whole checkpoint."""
        whole = self.whole_checkpoints()
        return whole[-1] if whole else None

    def send(self, command: Command) -> None:
        """Ask the worker for something; it reads the file between steps."""
        if command not in COMMANDS:
            raise ValueError(f"unknown command {command!r}")
        with self.control.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({"time": round(time.time(), 3), "command": command}) + "\n")


class EventLog:
    """Appends events to `events.jsonl`; sequence numbers go on where an earlier worker stopped."""

    def __init__(self, run: RunDir) -> None:
        self._lock = threading.Lock()
        self._file = run.events.open("a+b")
        self._end_torn_line()
        self._seq = max((record.get("seq", 0) for record in all_records(run.events)), default=0)

    def _end_torn_line(self) -> None:
        """A worker that was killed may have left half a line, or a whole one without its end."""
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._write(b"\n")

    def _write(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()

    def emit(self, event: Event) -> None:
        with self._lock:
            self._seq += 1
            # names of files that are not UTF-8 hold lone surrogates, which become escapes that JSON reads back
            self._write(f"{to_line(event, self._seq)}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        with self._lock:
            os.fsync(self._file.fileno())
            self._file.close()


def all_records(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of a JSON-lines file."""
    offset = 0
    while (lines := read_lines(path, offset)).offset > offset:
        offset = lines.offset
        yield from lines.records


class Heartbeat:
    """Says in `worker.json` who works on the run and that it lives, until closed.

    The start time tells the worker from another process that got its pid later.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._identity = {"pid": os.getpid(), "started": psutil.Process().create_time()}
        self._ended = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._loop, name="heartbeat", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                self._beat()
            except OSError:  # a full disk must not end the thread: the next beat may be written again
                log.warning("the heartbeat could not be written", exc_info=True)

    def _beat(self, **more: Any) -> None:
        write_atomic(self._run.worker, json.dumps({**self._identity, "heartbeat": time.time(), **more}))

    def close(self, exit_code: int) -> None:
        self._ended.set()
        self._thread.join()
        self._beat(exit_code=exit_code)


@dataclass(frozen=True)
class WorkerInfo:
    """What `worker.json` says. started, heartbeat: Unix time; alive: that very process still runs."""

    pid: int
    started: float
    heartbeat: float
    exit_code: int | None
    alive: bool

    @property
    def silent_s(self) -> float:
        """Seconds since the last heartbeat."""
        return max(0.0, time.time() - self.heartbeat)


def worker_info(run: RunDir) -> WorkerInfo | None:
    """Who worked last on the run; None when nobody has started yet."""
    try:
        record = json.loads(run.worker.read_text())
        pid, started = int(record["pid"]), float(record["started"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    exit_code = record.get("exit_code")
    alive = exit_code is None and is_process(pid, started)
    return WorkerInfo(pid, started, float(record.get("heartbeat", 0.0)), exit_code, alive)


def is_process(pid: int, started: float) -> bool:
    """The process `pid` runs and is the one that was started then (pids are used again)."""
    try:
        process = psutil.Process(pid)
        same = bool(abs(process.create_time() - started) < 2)
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # a process that we may not look at is not ours
        return False
