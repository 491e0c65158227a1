"""What captioning jobs tell, kept by job and up to date with their files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from app.services.gallery.item import pid_of
from trainers.rundir import RunDir, read_lines

Record = dict[str, Any]
KEPT = 8  # jobs in memory
STATUSES = ("written", "skipped", "failed")


@dataclass
class Feed:
    """The pictures of one job, as they were dealt with. said: the model's words by name; seconds: of a picture."""

    offset: int = 0
    items: list[list[Any]] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("done", "total", *STATUSES), 0))
    phase: str = ""
    detail: str = ""
    failed: list[list[str]] = field(default_factory=list)
    outcome: Record | None = None

    def take(self, record: Record) -> None:
        kind = record.get("kind")
        if kind == "phase_changed":
            self._begin(record)
        elif kind == "batch_captioned":
            self.counts = {name: int(record[name]) for name in self.counts}
            pictures = record["pictures"]
            for picture in pictures:
                self._picture(picture, float(record["seconds"]) / max(1, len(pictures)))
        elif kind in ("run_finished", "run_failed"):
            self.outcome, self.phase = record, ""

    def _begin(self, record: Record) -> None:
        self.phase, self.outcome = str(record.get("phase")), None
        self.detail = str(record.get("detail") or "")
        done, total = record.get("done"), record.get("total")
        if self.phase == "captioning":
            # pictures that failed before are tried again by a worker that goes on
            self.failed = []
            self.counts |= {"done": int(done or 0), "total": int(total or 0), "skipped": 0, "failed": 0}
        elif self.phase == "downloading" and total:
            self.detail += f" {(done or 0) / 1e9:.1f} of {total / 1e9:.1f} GB"

    def _picture(self, picture: Record, seconds: float) -> None:
        name, status = picture["name"], picture["status"]
        self.items.append([pid_of(name), name, status, picture["before"], picture["after"], picture["reason"]])
        self.said[name], self.seconds[name] = picture["said"], seconds
        if status == "failed":
            self.failed.append([name, picture["reason"]])


class Feeds:
    """Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._feeds: OrderedDict[str, Feed] = OrderedDict()

    def load(self, run: RunDir) -> Feed:
        """The feed of a job, up to date."""
        key = str(run.path)
        with self._lock:
            feed = self._feeds.setdefault(key, Feed())
            self._feeds.move_to_end(key)
            while len(self._feeds) > KEPT:
                self._feeds.popitem(last=False)
            while (lines := read_lines(run.events, feed.offset)).offset > feed.offset:
                feed.offset = lines.offset
                for record in lines.records:
                    feed.take(record)
            return feed

    def drop(self, run: RunDir) -> None:
        with self._lock:
            self._feeds.pop(str(run.path), None)
