"""The series of each run, kept in memory and rebuilt from its `events.jsonl` when needed."""

from __future__ import annotations

import logging
import math
import statistics
import threading
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.events import SampleReady
from trainers.rundir import RunDir, read_lines

log = logging.getLogger(__name__)

MAX_POINTS = 4000
MAX_MARKS = 400
RECENT_STEPS = 50
MARK_LETTERS = 40
POINT_FIELDS = ("loss", "learning_rate", "grad_norm", "seconds", "memory_gib")
# of preference training; its other metrics are in the file
PAIR_FIELDS = (
    "accuracy",
    "margin",
    "winner_error",
    "loser_error",
    "winner_change",
    "loser_change",
    "drift",
    "gradient_factor",
)
OF_PICTURES = ("generating", "scoring", "comparing")  # phases that each count their own pictures
ALARM = "dpo_"  # what the codes of alarms of preference training begin with

Record = dict[str, Any]
Point = tuple[Any, ...]  # step, then POINT_FIELDS, then PAIR_FIELDS where the run has them


@dataclass(frozen=True)
class Fresh:
    """What a page lacks. first: index of the first point sent; count: points there are; more: ask again at once."""

    first: int
    count: int
    points: list[Point]
    validation: list[tuple[Any, ...]]
    marks: list[tuple[Any, ...]]
    more: bool


def short(value: float | None) -> float | None:
    """A number with five significant digits, which is what a plot can show."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


def first_words(text: str, letters: int = MARK_LETTERS) -> str:
    """The beginning of a message, cut between words if it has any."""
    if len(text) <= letters:
        return text
    cut = text[: letters - 2]
    return f"{cut.rsplit(' ', 1)[0].rstrip(' .,;:')} ..."


def _of_pairs(record: Record) -> tuple[float | None, ...]:
    """PAIR_FIELDS of a step or a validation; nothing for a run that has no pairs."""
    metrics = record.get("metrics")
    if not isinstance(metrics, dict) or "accuracy" not in metrics:
        return ()
    return tuple(short(metrics.get(name)) for name in PAIR_FIELDS)


class Series:
    """Everything that the events of one run said so far. Safe to read and feed from several threads.

    At most MAX_POINTS points are held: beyond that every second one is dropped, `stride` doubles, and only steps
    1, 1 + stride, 1 + 2 stride ... are kept. `revision` counts such thinnings and every return to an earlier step.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.offset = 0  # bytes of events.jsonl that are in
        self.points: list[Point] = []
        self.stride = 1
        self.revision = 0
        self.step = 0
        self.total = 0  # as the worker counts; 0 until it says so
        self.loss: float | None = None
        self.phase = ""
        self.detail = ""
        self.validation: list[tuple[Any, ...]] = []  # step, loss, then PAIR_FIELDS where the run has them
        self.marks: deque[tuple[Any, ...]] = deque(maxlen=MAX_MARKS)
        self.samples: dict[tuple[int, int], SampleReady] = {}
        self.measured: dict[str, dict[int, int]] = {}  # name -> step -> percent
        self.alarms: dict[str, tuple[int, str, str]] = {}  # code -> step, message, hint
        self.outcome: Record | None = None  # run_finished or run_failed, if it is the worker's last word
        self.first_time: float | None = None
        self.last_time: float | None = None
        self.worked_s = 0.0
        self.session_time: float | None = None  # when the worker that goes on, or the last one, was first heard
        self.pauses: list[tuple[float, float]] = []  # of this session
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._goes_on = False  # a new worker has started on a run that has points

    def add(self, records: Iterable[Record], start: int, end: int) -> bool:
        """Take in records that lie at bytes `start` to `end` of the file. False when others are missing before them.

        Records that are already in are passed over, so that a series can be fed from a queue and from the file.
        """
        with self.lock:
            if end <= self.offset:
                return True
            if start != self.offset:
                return False
            for record in records:
                try:
                    self._add(record)
                except (KeyError, TypeError, ValueError):  # of another version: one record must not hide the others
                    log.warning("an event cannot be read: %.200s", record)
            self.offset = end
            return True

    def catch_up(self, events: Path) -> None:
        """Read what the file has beyond `offset`."""
        with self.lock:
            while (lines := read_lines(events, self.offset)).offset > self.offset:
                self.add(lines.records, self.offset, lines.offset)

    def begin_session(self) -> None:
        """A new worker starts: the last word of the one before no longer counts."""
        with self.lock:
            self.outcome = None
            self.phase, self.detail = "", ""
            self.last_time = self.session_time = None
            self.pauses.clear()
            self._recent.clear()
            self._goes_on = bool(self.points)

    def _add(self, record: Record) -> None:
        kind = record.get("kind")
        if kind == "phase_changed" and record.get("phase") == "preparing":
            self.begin_session()
        self._clock(record.get("time"))
        handler = getattr(self, f"_on_{kind}", None)
        if handler:
            handler(record)

    def _clock(self, time: Any) -> None:
        if not isinstance(time, int | float):
            return
        if self.first_time is None:
            self.first_time = time
        if self.session_time is None:
            self.session_time = time
        if self.last_time is not None and self.phase == "paused":
            self.pauses.append((self.last_time, time))
        elif self.last_time is not None:
            self.worked_s += max(0.0, time - self.last_time)
        self.last_time = time

    def _on_phase_changed(self, record: Record) -> None:
        self.outcome = None
        self.phase = str(record.get("phase", ""))
        self.detail = str(record.get("detail") or "")
        done, total = record.get("done"), record.get("total")
        if self.phase in OF_PICTURES:
            self._begin_pictures(int(done or 0), int(total or 0))
        elif self.phase in ("training", "captioning"):
            self.total = int(total or self.total)
        elif done is not None and total:
            counted = f"{done} of {total}"
            if self.phase == "downloading":
                counted = f"{done / 1e9:.1f} of {total / 1e9:.1f} GB"
            self.detail = f"{self.detail} {counted}".strip()

    def _begin_pictures(self, done: int, total: int) -> None:
        """A job can draw first and score then: each has its own number of pictures and its own pace."""
        if total:
            self.step, self.total = done, total
            self._recent.clear()

    def _on_step(self, record: Record) -> None:
        step = int(record.get("step", 0))
        if step <= self.step:
            self._go_back(step)
        if self._goes_on:
            self._goes_on = False
            self._mark(step, "resumed")
        self.step, self.phase, self.detail, self.outcome = step, "training", "", None
        self.loss = record.get("loss")
        if isinstance(seconds := record.get("seconds"), int | float):
            self._recent.append(seconds)
        if (step - 1) % self.stride == 0:
            self.points.append((step, *(short(record.get(name)) for name in POINT_FIELDS), *_of_pairs(record)))
            if len(self.points) > MAX_POINTS:
                self._thin()

    def _on_batch_captioned(self, record: Record) -> None:
        self._move_on(record)
        self.phase, self.detail = "captioning", ""

    def _on_pictures_made(self, record: Record) -> None:
        self._move_on(record)
        if self.phase not in ("generating", "comparing"):
            self.phase, self.detail = "generating", ""

    def _on_pictures_scored(self, record: Record) -> None:
        self._move_on(record)
        self.phase, self.detail = "scoring", str(record.get("scorer") or "")

    def _move_on(self, record: Record) -> None:
        """Pictures take the place of steps; there is nothing to plot."""
        done = int(record["done"])
        if (new := done - self.step) > 0 and isinstance(seconds := record.get("seconds"), int | float):
            self._recent.append(seconds / new)
        self.step, self.total, self.outcome = done, int(record["total"]), None

    def _thin(self) -> None:
        self.stride *= 2
        self.revision += 1
        self.points = [point for point in self.points if (point[0] - 1) % self.stride == 0]

    def _go_back(self, step: int) -> None:
        """Forget step `step` and all after it: a run that goes on from a checkpoint trains them again."""
        self.revision += 1
        self.points = self.points[: self._index(step)]
        self.validation = [entry for entry in self.validation if entry[0] < step]
        self.marks = deque((mark for mark in self.marks if mark[0] < step), maxlen=MAX_MARKS)
        self.samples = {key: sample for key, sample in self.samples.items() if key[0] < step}
        self.alarms = {code: alarm for code, alarm in self.alarms.items() if alarm[0] < step}

    def _index(self, step: int) -> int:
        return bisect_left(self.points, step, key=lambda point: point[0])

    def _mark(self, step: int, kind: str, text: str = "") -> None:
        self.marks.append((step, kind, text) if text else (step, kind))

    def _on_validation_done(self, record: Record) -> None:
        self.validation.append((int(record["step"]), short(record.get("loss")), *_of_pairs(record)))
        if len(self.validation) > MAX_POINTS:
            self.validation = self.validation[::2]

    def _on_checkpoint_saved(self, record: Record) -> None:
        self._mark(int(record["step"]), "checkpoint")

    def _on_sample_ready(self, record: Record) -> None:
        sample = SampleReady(*(record[name] for name in ("step", "index", "prompt", "seed", "path")))
        self.samples[sample.step, sample.index] = sample

    def _on_warned(self, record: Record) -> None:
        message, code = str(record.get("message") or record.get("code", "")), str(record.get("code") or "")
        self._mark(self.step, "warned", first_words(message))
        if code.startswith(ALARM):
            self.alarms[code] = (self.step, message, str(record.get("hint") or ""))

    def _on_measured(self, record: Record) -> None:
        for name, share in dict(record["values"]).items():
            if share is not None:
                self.measured.setdefault(str(name), {})[int(record["step"])] = round(100 * share)

    def _on_run_finished(self, record: Record) -> None:
        self.outcome = record

    def _on_run_failed(self, record: Record) -> None:
        self.outcome = record

    def seconds_per_step(self) -> float | None:
        """Median of the last steps; None before the first."""
        with self.lock:
            return statistics.median(self._recent) if self._recent else None

    def since(self, cursor: int, limit: int) -> Fresh:
        """Points from index `cursor` on, `limit` at most; from 0 when the cursor is not one of this series.

        Validation and marks are those from the step of the page's last point on, so the newest may come twice.
        """
        with self.lock:
            count = len(self.points)
            first = cursor if 0 <= cursor <= count else 0
            points = self.points[first : first + limit]
            more = first + len(points) < count
            low = self.points[first - 1][0] if first else 0
            high = points[-1][0] if more else math.inf
            validation = [entry for entry in self.validation if low <= entry[0] <= high]
            marks = [mark for mark in self.marks if low <= mark[0] <= high]
            return Fresh(first, count, points, validation, marks, more)


class Metrics:
    """The series of the runs that somebody looks at or that go on; the least used ones are dropped."""

    def __init__(self, capacity: int = 32) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._series: OrderedDict[str, Series] = OrderedDict()

    def load(self, run_id: str, run: RunDir, *, live: bool = False) -> Series:
        """The series of a run, up to date with its file. live: a supervisor feeds it, so the file is not read again."""
        with self._lock:
            known = run_id in self._series
            series = self._series.setdefault(run_id, Series())
            self._series.move_to_end(run_id)
            while len(self._series) > self._capacity:
                self._series.popitem(last=False)
        if not (live and known):
            series.catch_up(run.events)
        return series

    def drop(self, run_id: str) -> None:
        with self._lock:
            self._series.pop(run_id, None)
