"""Worker processes: started detached from the app, or found alive after the app was restarted."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from trainers.boundary import ASKED_FOR
from trainers.paths import PROGRAM
from trainers.rundir import RunDir, worker_info, write_atomic

WORKER_COMMAND = (sys.executable, "-m", "trainers.worker")
CAPTION_COMMAND = (sys.executable, "-m", "captioners.worker")
PREFERENCE_COMMAND = (sys.executable, "-m", "trainers.preferences.worker")


@dataclass(frozen=True)
class Exit:
    """A process is gone. code: negative for a signal; None when nobody saw how it ended."""

    code: int | None


class Worker(Protocol):
    """A process that works on a run."""

    def poll(self) -> Exit | None:
        """None while it lives."""
        ...

    def kill(self) -> None:
        """End it and its children at once; nothing is saved."""
        ...


class Spawned:
    """A worker that this app started."""

    def __init__(self, run: RunDir, process: subprocess.Popen[bytes]) -> None:
        self._run, self._process = run, process

    def poll(self) -> Exit | None:
        code = self._process.poll()
        if code is None:
            return None
        _note_exit_code(self._run, code)
        return Exit(code)

    def kill(self) -> None:
        _kill_tree(self._process.pid)


class Adopted:
    """A worker that an earlier app or the command line started; `worker.json` says who it is."""

    def __init__(self, run: RunDir) -> None:
        self._run = run

    def poll(self) -> Exit | None:
        info = worker_info(self._run)
        if info and info.alive:
            return None
        return Exit(info.exit_code if info else None)

    def kill(self) -> None:
        info = worker_info(self._run)
        if info and info.alive:
            _kill_tree(info.pid)


def spawn(run: RunDir, command: tuple[str, ...], data_dir: Path) -> Spawned:
    """Start a worker that outlives the app; it goes on from the newest checkpoint if there is one.

    Raises OSError when it cannot be started.
    """
    resume = ["--resume"] if run.latest_checkpoint() else []
    return detach(run, [*command, str(run.path), *resume], data_dir)


def detach(desk: RunDir, command: list[str], data_dir: Path) -> Spawned:
    """Start a process that outlives the app. desk: the folder with its heartbeat and log.

    Its output goes to a file: a pipe would die with the app. Raises OSError when it cannot be started.
    """
    desk.worker.unlink(missing_ok=True)  # it speaks of the process before
    environment = {
        **os.environ,
        "ATELIER_DATA_DIR": str(data_dir),
        ASKED_FOR: repr(time.time()),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    with desk.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=PROGRAM,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
            creationflags=_detached_flags(),
        )
    _introduce(desk, process.pid)
    return Spawned(desk, process)


def _detached_flags() -> int:
    if sys.platform == "win32":
        return subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0


def _introduce(run: RunDir, pid: int) -> None:
    """Say who works on the run until the worker does so itself, or an app that restarts now would not find it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        identity = {"pid": pid, "started": psutil.Process(pid).create_time(), "heartbeat": time.time()}
        if not run.worker.exists():
            write_atomic(run.worker, json.dumps(identity))


def _note_exit_code(run: RunDir, code: int) -> None:
    """Keep how a worker ended that could not write it down, so that the folder alone tells the story."""
    info = worker_info(run)
    if info and info.exit_code is None:
        record = {"pid": info.pid, "started": info.started, "heartbeat": info.heartbeat, "exit_code": code}
        write_atomic(run.worker, json.dumps(record))


def _kill_tree(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
