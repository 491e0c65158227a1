"""The queue of jobs: one runs, the others wait. One background thread per running job follows its worker.

follower thread:  worker process -> events.jsonl -> queue.Queue        (one per running job)
consumer thread:  queue.Queue -> metrics (memory) and store (database)  (one)
"""

from __future__ import annotations

import dataclasses
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.jobs.causes import RESUME_HINT, Verdict, judge, last_line
from app.jobs.folder import NEVER_STARTED, new_row, progress_of, read_config
from app.jobs.process import CAPTION_COMMAND, PREFERENCE_COMMAND, WORKER_COMMAND, Adopted, Worker, spawn
from app.jobs.row import RunRow
from app.jobs.states import MOVES, RESUMABLE, Kind, State
from app.jobs.store import Store
from app.monitoring.metrics import Metrics
from trainers.rundir import STALE_S, Command, RunDir, read_lines, worker_info

log = logging.getLogger(__name__)

POLL_S = 0.2
WRITE_EVERY_S = 0.5
DISCOVER_EVERY_S = 5.0
KILL_AFTER_S = 10.0
STOPPING: dict[Kind, str] = {
    "train": "Stopping after this step; everything is saved first.",
    "caption": "Stopping after this batch; what is written stays.",
    "generate": "Stopping after this batch; the pictures that are drawn stay.",
    "score": "Stopping after this batch; the scores that are there stay.",
    "compare": "Stopping after this batch; what is drawn and scored stays.",
}
ONLY_STOP: dict[Kind, str] = {
    "caption": "A captioning job can be stopped and continued.",
    **dict.fromkeys(("generate", "score", "compare"), "This job can be stopped and continued."),
}
BACKLOG = 256  # batches that may wait for the consumer; beyond that the followers wait


@dataclass
class Job:
    """A run that a worker works on. stop_asked: monotonic time of the first Stop."""

    id: str
    kind: Kind
    run: RunDir
    worker: Worker | None
    state: State
    stop_asked: float | None = None
    killed: bool = False
    written: float = 0.0


@dataclass(frozen=True)
class News:
    """New events of a run, at bytes `start` to `end` of its file."""

    run_id: str
    records: list[dict[str, Any]]
    start: int
    end: int


@dataclass(frozen=True)
class Ended:
    """A worker is gone."""

    run_id: str
    exit_code: int | None


class Supervisor:
    """Starts, follows and ends workers. The only writer of the store."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        data_dir: Path,
        worker_command: tuple[str, ...] = WORKER_COMMAND,
        *,
        poll_s: float = POLL_S,
        kill_after_s: float = KILL_AFTER_S,
        backlog: int = BACKLOG,
        caption_command: tuple[str, ...] = CAPTION_COMMAND,
        preference_command: tuple[str, ...] = PREFERENCE_COMMAND,
        make_room: Callable[[], None] = lambda: None,
        heard: Callable[[RunDir, Sequence[dict[str, Any]]], None] = lambda run, records: None,
    ) -> None:
        """make_room: called before a worker starts, ends what else holds memory; heard: is told of captioning jobs."""
        self._make_room, self._heard = make_room, heard
        self._store, self._metrics, self._data_dir = store, metrics, data_dir
        self._commands: dict[Kind, tuple[str, ...]] = {
            "train": worker_command,
            "caption": caption_command,
            **dict.fromkeys(("generate", "score", "compare"), preference_command),
        }
        self._poll_s, self._kill_after_s = poll_s, kill_after_s
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._messages: queue.Queue[News | Ended] = queue.Queue(backlog)
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._discovered = 0.0

    @property
    def runs_dir(self) -> Path:
        return self._data_dir / "runs"

    def start(self) -> None:
        """Read the run folders, adopt the workers that live, start the threads and the next of the queue."""
        self.discover()
        self._thread("consumer", self._consume)
        self._start_next()

    def close(self) -> None:
        """End the threads. Workers live on."""
        self._closing.set()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout=10)

    def active(self) -> list[str]:
        """Ids of the runs that workers work on."""
        with self._lock:
            return list(self._jobs)

    def state(self, row: RunRow) -> State:
        with self._lock:
            job = self._jobs.get(row.id)
            return job.state if job else row.state

    def silent_s(self, run_id: str) -> float | None:
        """Seconds since the worker's last sign of life, if that is alarmingly long."""
        with self._lock:
            job = self._jobs.get(run_id)
        info = worker_info(job.run) if job else None
        return info.silent_s if info and info.silent_s > STALE_S else None

    # what people ask for

    def enqueue(self, run: RunDir, after: str | None = None) -> RunRow:
        """Put a new run folder at the end of the queue; it starts at once when nothing runs.

        after: the run that has to end well before.
        """
        values = read_config(run)
        with self._lock:
            position = self._store.next_position()
            row = dataclasses.replace(new_row(run, values), state="queued", reason="", position=position, after=after)
            self._store.put(row)
        self._start_next()
        return row

    def requeue(self, run_id: str) -> bool:
        """Queue a run that ended early; False when it is not one of those."""
        with self._lock:
            row = self._store.get(run_id)
            if row is None or run_id in self._jobs or row.state not in RESUMABLE:
                return False
            position = self._store.next_position()
            self._store.update(run_id, state="queued", position=position, reason="", hint="", ended=None)
        self._start_next()
        return True

    def cancel(self, run_id: str) -> bool:
        """Take a run out of the queue; False when it does not wait there."""
        with self._lock:
            row = self._store.get(run_id)
            if row is None or run_id in self._jobs or row.state != "queued":
                return False
            reason = "Taken out of the queue." if row.step else NEVER_STARTED
            self._store.update(run_id, state="stopped", position=None, reason=reason, hint="")
            return True

    def remove(self, run_id: str, target: Path) -> bool:
        """Move the run's folder to `target`; False while a worker works on it or it waits."""
        with self._lock:
            row = self._store.get(run_id)
            if row is None or run_id in self._jobs or row.state == "queued":
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(row.path, target)
            self._metrics.drop(run_id)
            self._store.delete(run_id)
            return True

    def send(self, run_id: str, command: Command) -> str:
        """Pass a command to the worker; what happens now, as a sentence."""
        with self._lock:
            job = self._jobs.get(run_id)
            if job is None:
                return "This run is not running."
            if job.kind in ONLY_STOP and command != "stop":
                return ONLY_STOP[job.kind]
            if command != "stop":
                job.run.send(command)
                return {
                    "save": "A checkpoint is saved after this step.",
                    "sample": "Previews are drawn after this step.",
                    "pause": "Pausing after this step.",
                    "resume": "Going on.",
                }[command]
            return self._stop(job)

    def _stop(self, job: Job) -> str:
        if job.stop_asked is None:
            job.stop_asked = time.monotonic()
            job.run.send("stop")
            self._move(job, "stopping")
            return STOPPING[job.kind]
        if time.monotonic() - job.stop_asked < self._kill_after_s or job.worker is None:
            return "Already stopping. If it does not answer, press Stop again in a while to end it at once."
        job.killed = True
        job.worker.kill()
        return "The worker did not answer and was ended."

    # jobs and their threads

    def _start_next(self) -> None:
        with self._lock:
            if self._jobs or self._closing.is_set():
                return
            for row in self._store.queued():
                if not self._may_start(row):
                    continue
                self._store.update(row.id, state="starting", position=None, after=None)
                self._follow(Job(row.id, row.kind, RunDir(Path(row.path)), None, "starting"))
                return

    def _may_start(self, row: RunRow) -> bool:
        """Not after a run that did not end well: its person must decide."""
        before = self._store.get(row.after) if row.after else None
        if row.after is None or (before and before.state == "done"):
            return True
        reason = f"{before.name if before else 'The run before it'} did not end well."
        hint = "Continue that one first, or resume this one to start it all the same."
        self._store.update(row.id, state="interrupted", position=None, after=None, reason=reason, hint=hint)
        return False

    def discover(self) -> None:
        """Take in run folders that others made, and follow workers that others started."""
        self._discovered = time.monotonic()
        with self._lock:
            fresh = self._store.reindex(self.runs_dir, skip=self._jobs.keys())
            for run_id in fresh.alive:
                row = self._store.get(run_id)
                if row:
                    run = RunDir(Path(row.path))
                    self._follow(Job(run_id, row.kind, run, Adopted(run), "running"))

    def _follow(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._thread(f"run {job.id}", lambda: self._tail(job))

    def _thread(self, name: str, target: Any) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        thread.start()

    def _tail(self, job: Job) -> None:
        """The follower. If its files cannot be read, the job ends here; a worker that lives is adopted again later."""
        try:
            self._pass_on(job)
        except OSError:
            log.exception("%s cannot be followed", job.run.path)
            self._put(Ended(job.id, None))

    def _pass_on(self, job: Job) -> None:
        """Start the worker if there is none, pass its events on until it is gone."""
        series = self._metrics.load(job.id, job.run)
        offset = series.offset
        if job.worker is None:
            series.begin_session()
            self._make_room()
            try:
                job.worker = spawn(job.run, self._commands[job.kind], self._data_dir)
            except OSError as error:
                log.exception("the worker of %s could not be started", job.run.path)
                with job.run.log.open("a", encoding="utf-8") as file:
                    file.write(f"The worker could not be started: {error}\n")
                self._put(Ended(job.id, 1))
                return
        while not self._closing.is_set():
            gone = job.worker.poll()  # before the last read: what it wrote before it went is then there
            while (lines := read_lines(job.run.events, offset)).offset > offset:
                self._put(News(job.id, lines.records, offset, lines.offset))
                offset = lines.offset
            if gone:
                self._put(Ended(job.id, gone.code))
                return
            self._closing.wait(self._poll_s)

    def _put(self, message: News | Ended) -> None:
        while not self._closing.is_set():
            try:
                self._messages.put(message, timeout=self._poll_s)
                return
            except queue.Full:
                continue

    # the consumer

    def _consume(self) -> None:
        while not self._closing.is_set():
            try:
                self._take(self._messages.get(timeout=self._poll_s))
            except queue.Empty:
                pass
            except Exception:  # the boundary: a full disk, say, must not end the view of what goes on
                log.exception("news of a run could not be taken in")
            if time.monotonic() - self._discovered > DISCOVER_EVERY_S:
                self._look_around()

    def _look_around(self) -> None:
        try:
            self.discover()
            self._start_next()
        except (SQLAlchemyError, OSError):
            log.exception("the run folders could not be read")

    def _take(self, message: News | Ended) -> None:
        with self._lock:
            job = self._jobs[message.run_id]
        series = self._metrics.load(job.id, job.run, live=True)
        if isinstance(message, News):
            if not series.add(message.records, message.start, message.end):
                series.catch_up(job.run.events)
            if job.kind == "caption":
                self._heard(job.run, message.records)
            with self._lock:
                if job.state == "starting":
                    self._move(job, "running")
                elif job.state == "stopping" and not job.written and job.stop_asked:
                    job.run.send("stop")  # a worker hears only what was said after it had started
            if time.monotonic() - job.written > WRITE_EVERY_S:
                job.written = time.monotonic()
                self._store.update(job.id, **progress_of(series))
            return
        self._end(job, message.exit_code)

    def _end(self, job: Job, exit_code: int | None) -> None:
        series = self._metrics.load(job.id, job.run, live=True)
        verdict = judge(exit_code, series.outcome, job.run.log)
        if job.killed and verdict.state not in ("done", "stopped"):
            verdict = Verdict("interrupted", "It did not answer to Stop and was ended by you.", RESUME_HINT)
        with self._lock:
            assert verdict.state in MOVES[job.state]
            del self._jobs[job.id]
            columns = {**progress_of(series), "state": verdict.state, "reason": verdict.reason, "hint": verdict.hint}
            self._store.update(job.id, **columns, ended=series.last_time or time.time(), position=None)
        log.info("%s: %s. %s %s", job.run.path.name, verdict.state, verdict.reason, last_line(job.run.log))
        self._start_next()

    def _move(self, job: Job, state: State) -> None:
        if state in MOVES[job.state]:
            job.state = state
            self._store.update(job.id, state=state, reason="", hint="")
