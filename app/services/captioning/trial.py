"""A captioner at work on three pictures, to see what it says: a process of its own that writes no caption."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.jobs.causes import judge
from app.jobs.process import Spawned, detach
from app.services.captioning.feed import Feeds
from captioners.config import CaptionConfig
from trainers import settings
from trainers.errors import AtelierError
from trainers.rundir import RunDir, worker_info

MOST = 3  # pictures
STOP_WAIT_S = 3.0  # then it is ended: nothing is lost
LOOK_S = 0.05

Record = dict[str, Any]


class Trial:
    """At most one at a time; the newest is remembered. busy: whether a run needs the memory for itself."""

    def __init__(self, data_dir: Path, feeds: Feeds, busy: Callable[[], bool], command: tuple[str, ...]) -> None:
        self._data_dir, self._feeds, self._busy, self._command = data_dir, feeds, busy, command
        self._heap = data_dir / "caption-trials"
        self._lock = threading.Lock()
        self._spawned: Spawned | None = None
        self._desk: RunDir | None = None
        self.set_id = ""
        self.captioner = ""

    def start(self, config: CaptionConfig, set_id: str) -> None:
        """config: resolved, a dry run. Raises AtelierError while a run is at work."""
        with self._lock:
            if self._busy():
                hint = "Wait for its end, or stop it."
                raise AtelierError("A run is at work, and needs the memory for itself.", hint)
            self._end()
            shutil.rmtree(self._heap, ignore_errors=True)
            desk = RunDir(self._heap / f"{time.time_ns():x}")
            desk.create(settings.dump(config))
            try:
                self._spawned = detach(desk, [*self._command, str(desk.path)], self._data_dir)
            except OSError as error:
                message = f"The captioner could not be started: {error.strerror or error}."
                raise AtelierError(message, "Check the disk and the installation.") from error
            self._desk, self.set_id, self.captioner = desk, set_id, config.captioner.name

    def stop(self) -> None:
        """Ask it to end; `end` does not wait for long."""
        with self._lock:
            self._end()

    def state(self) -> tuple[str, str]:
        """("", starting, running, done, failed or stopped; what there is to say)."""
        desk, spawned = self._desk, self._spawned
        if desk is None or spawned is None:
            return "", ""
        ended = spawned.poll()
        feed = self._feeds.load(desk)
        if ended is None:
            return ("running" if feed.phase else "starting"), ""
        verdict = judge(ended.code, feed.outcome, desk.log)
        state = "failed" if verdict.state == "interrupted" else verdict.state
        return state, f"{verdict.reason} {verdict.hint}".strip()

    @property
    def desk(self) -> RunDir | None:
        return self._desk

    def _end(self) -> None:
        if self._desk is None or self._spawned is None or self._spawned.poll():
            return
        self._desk.send("stop")
        due = time.monotonic() + STOP_WAIT_S
        while self._spawned.poll() is None and time.monotonic() < due:
            time.sleep(LOOK_S)
        if self._spawned.poll() is None:
            self._spawned.kill()
            info = worker_info(self._desk)
            while info and info.alive and time.monotonic() < due + STOP_WAIT_S:
                time.sleep(LOOK_S)
                info = worker_info(self._desk)
