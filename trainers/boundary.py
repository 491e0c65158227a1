"""What every worker process has around its work: commands from the run folder, events, heartbeat, and the boundary at
which whatever went wrong is told."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import psutil

from trainers.errors import EXIT_FAILED, EXIT_STOPPED, AtelierError
from trainers.events import Emit, Event, PhaseChanged, RunFailed, RunFinished, Warned
from trainers.rundir import Command, EventLog, Heartbeat, RunDir, read_lines

ASKED_FOR = "ATELIER_ASKED_FOR"  # environment variable that the app sets for a worker

log = logging.getLogger(__name__)


def opened_run(parser: argparse.ArgumentParser, argv: list[str] | None) -> tuple[RunDir, argparse.Namespace]:
    """The run folder that a worker's command line names, with its other arguments; the process logs from now on.

    Ends the process with the exit code of wrong usage when the folder holds no run.
    """
    parser.add_argument("run_dir", type=Path)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run = RunDir(args.run_dir.resolve())
    if not run.config.is_file():
        parser.error(f"{run.path} holds no config.toml.")
    return run, args


def began() -> float:
    """When this process was asked for, in seconds since 1970: a "stop" that was sent since is meant for it.

    The system's own start time may be a second early, and an older "stop" would be obeyed again.
    """
    return float(os.environ.get(ASKED_FOR) or psutil.Process().create_time())


def log_common(to: logging.Logger, event: Event) -> None:
    """A worker's log for people: what every kind of work tells."""
    match event:
        case PhaseChanged(phase=phase, detail=detail, done=done) if not done:
            to.info("%s %s", phase, detail)
        case Warned(message=message, hint=hint):
            to.warning("%s %s", message, hint)
        case RunFailed(message=message, hint=hint):
            to.error("%s %s", message, hint)
        case RunFinished(path=path, seconds=seconds, summary=summary):
            to.info("%s after %.0f s. %s", f"wrote {path}" if path else "done", seconds, summary)


class FileControl:
    """Commands sent since the time `since`; those of an earlier worker are over. A signal counts as "stop"."""

    def __init__(self, run: RunDir, since: float) -> None:
        self._run, self._offset, self._since = run, 0, since
        self._stop = False

    def __call__(self) -> list[Command]:
        lines = read_lines(self._run.control, self._offset)
        self._offset = lines.offset
        commands = [record["command"] for record in lines.records if record.get("time", 0) >= self._since]
        if self._stop:
            self._stop = False
            commands.append("stop")
        return commands

    def stop_on_signals(self) -> None:
        """The first Ctrl-C or SIGTERM saves and stops; the second ends at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            self._stop = True
            signal.signal(number, signal.default_int_handler)

        signal.signal(signal.SIGINT, ask)
        signal.signal(signal.SIGTERM, ask)


def is_out_of_memory(error: BaseException) -> bool:
    """The device, or the processor's allocator, could not give what was asked for."""
    # torch's error by its name, so that this module needs no torch
    if isinstance(error, MemoryError) or "OutOfMemoryError" in {kind.__name__ for kind in type(error).__mro__}:
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


Work = Callable[[Emit, FileControl], int]  # returns the exit code
Explain = Callable[[Exception], tuple[str, str]]  # what happened, and what to do


def carry_out(
    run: RunDir,
    work: Work,
    explain: Explain,
    *,
    resume_hint: str,
    since: float | None = None,
    watch: Callable[[Event], None] | None = None,
) -> int:
    """Do the work of a run folder and return its exit code.

    since: time from which on commands are obeyed, default now; watch: sees every event beside the file.
    """
    control = FileControl(run, time.time() if since is None else since)
    control.stop_on_signals()
    heartbeat, event_log = Heartbeat(run), EventLog(run)

    def emit(event: Event) -> None:
        event_log.emit(event)
        if watch:
            watch(event)

    code = EXIT_FAILED
    try:
        code = work(emit, control)
    except AtelierError as error:
        emit(RunFailed(error.message, error.hint))
        code = error.exit_code
    except KeyboardInterrupt:
        emit(RunFailed("Ended by a second interrupt.", resume_hint))
        code = EXIT_STOPPED
    except Exception as error:  # the boundary: whatever went wrong is shown, never lost
        log.exception("the run failed")
        message, hint = explain(error)
        emit(RunFailed(message, hint, traceback.format_exc()))
    finally:
        event_log.close()
        heartbeat.close(code)
    return code
