"""The room that cached files take: counted and freed in the background, however many they are."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from trainers.data import storage
from trainers.data.storage import DAY_S, Freed, Usage
from trainers.errors import AtelierError

log = logging.getLogger(__name__)

CHOICES = (30, 7, 0)  # days without use after which files may go; 0 is everything
REMEMBERED_S = 60.0  # at most
REST = 100  # a count holds for so many times as long as it took
PATIENCE_S = 0.5  # a small cache is done by then

Record = dict[str, Any]


class InUse(AtelierError):
    """A run reads the files that should go."""

    def __init__(self) -> None:
        super().__init__(
            "A run is going on and needs its cached files.", "Stop it first, or free what was not wanted for a week."
        )


class Storage:
    """working_since: when the oldest run that goes on was started, in seconds since 1970; None while none does."""

    def __init__(self, cache: Path, working_since: Callable[[], float | None]) -> None:
        self._cache, self._working_since = cache, working_since
        self._lock = threading.Lock()
        self._task: Literal["", "counting", "freeing"] = ""
        self._thread: threading.Thread | None = None
        self._known: list[Usage] | None = None
        self._holds_until = 0.0  # monotonic seconds
        self._freed: Freed | None = None
        self._fault = ""

    def look(self) -> Record:
        """What cached files take, as it was at most a minute ago; ask again while `busy` is not "".

        {busy: "", "counting" or "freeing", known: they were counted, working: a run goes on, files, bytes, kinds:
        [{kind, files, bytes, idle_days}], choices: [{days, files, bytes: that go when it is chosen}], freed: {files,
        bytes} by the last act or None, error: sentence or ""}.
        """
        if time.monotonic() > self._holds_until:
            self._begin("counting", self._count)
        return self._record()

    def free(self, days: int) -> Record:
        """Remove what was not wanted for so many days, one of CHOICES; answers as `look`. Raises InUse."""
        if not days and self._working_since() is not None:
            raise InUse
        if self._thread:  # that counts
            self._thread.join()
        self._begin("freeing", lambda: self._prune(days))
        return self._record()

    def _begin(self, task: Literal["counting", "freeing"], act: Callable[[], None]) -> None:
        with self._lock:
            if self._task:
                return
            self._task, self._fault = task, ""
        self._thread = threading.Thread(target=self._work, args=(act,), name="storage", daemon=True)
        self._thread.start()
        self._thread.join(PATIENCE_S)

    def _work(self, act: Callable[[], None]) -> None:
        begun = time.monotonic()
        try:
            act()
        except OSError as error:
            log.warning("cached files cannot be looked at: %s", error)
            self._fault = f"The cache cannot be read: {error.strerror or error}."
        finally:
            now = time.monotonic()
            self._holds_until = now + min(REMEMBERED_S, REST * (now - begun))
            self._task = ""

    def _count(self) -> None:
        self._known = storage.usage(self._cache, [self._limit(days) for days in CHOICES])

    def _prune(self, days: int) -> None:
        self._freed = None
        self._freed = storage.prune(self._cache, self._limit(days))
        self._count()

    def _limit(self, days: int) -> float:
        """What a run that goes on has asked for stays: it was marked as wanted since the start, or the day before."""
        since = self._working_since()
        return days if since is None else max(days, (time.time() - since) / DAY_S + 1)

    def _record(self) -> Record:
        known = self._known or []
        sums = [sum((one.freed[position] for one in known), Freed()) for position in range(len(CHOICES))]
        freed = self._freed
        return {
            "busy": self._task,
            "known": self._known is not None,
            "working": self._working_since() is not None,
            "files": sum(one.files for one in known),
            "bytes": sum(one.bytes for one in known),
            "kinds": [
                {"kind": one.kind, "files": one.files, "bytes": one.bytes, "idle_days": one.idle_days} for one in known
            ],
            "choices": [
                {"days": days, "files": one.files, "bytes": one.bytes} for days, one in zip(CHOICES, sums, strict=True)
            ],
            "freed": {"files": freed.files, "bytes": freed.bytes} if freed else None,
            "error": self._fault,
        }
