"""One process, one job on a preference set: `python -m trainers.preferences.worker RUN_DIR`. It goes on where an
earlier one stopped: what the set has, it has.

The process ends with the job, and with it goes all of the model's memory.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
from collections.abc import Callable

from trainers.boundary import FileControl, began, carry_out, is_out_of_memory, log_common, opened_run
from trainers.errors import EXIT_DONE, EXIT_STOPPED, StoppedEarly
from trainers.events import (
    Emit,
    Event,
    PhaseChanged,
    PicturesMade,
    PicturesScored,
    RunFinished,
)
from trainers.preferences import resolve
from trainers.preferences.config import JobKind
from trainers.preferences.halving import Outcome, StopAsked
from trainers.rundir import RunDir
from trainers.weights.hub import Progress

log = logging.getLogger(__name__)

RESUME_HINT = "Continue goes on with what is left."
# each with work(run, config, emit, stop_asked, download) -> Outcome
STORIES: dict[JobKind, str] = {
    "generate": "trainers.preferences.generate",
    "score": "trainers.preferences.scoring",
    "compare": "trainers.preferences.compare",
}


def work(run: RunDir, *, since: float | None = None, watch: Callable[[Event], None] | None = None) -> int:
    """Do the job and return its exit code; see `boundary.carry_out`."""

    def do(emit: Emit, control: FileControl) -> int:
        return _run(run, emit, _stop_asked(control))

    return carry_out(run, do, explain, resume_hint=RESUME_HINT, since=since, watch=watch)


def _stop_asked(control: FileControl) -> StopAsked:
    """Whether a person wants the job to end; True from then on."""
    heard: list[bool] = []

    def asked() -> bool:
        if "stop" in control():
            heard.append(True)
        return bool(heard)

    return asked


def explain(error: Exception) -> tuple[str, str]:
    """What happened and what to do, for errors that users meet."""
    if is_out_of_memory(error):
        return "Out of memory.", "Close other programs that use the card, or choose a smaller model. Then continue."
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full.", "Free some space, then continue."
    return f"{type(error).__name__}: {error}", "The log has the details."


def _run(run: RunDir, emit: Emit, stop_asked: StopAsked) -> int:
    begun = time.monotonic()
    config = resolve.load(run.config.read_text(encoding="utf-8"))
    emit(PhaseChanged("preparing", "what there is to do"))
    story = importlib.import_module(STORIES[config.kind])
    came: Outcome = story.work(run, config, emit, stop_asked, _download_progress(emit, stop_asked))
    emit(RunFinished(came.done, "", round(time.monotonic() - begun, 1), came.stopped, came.summary))
    return EXIT_STOPPED if came.stopped else EXIT_DONE


def _download_progress(emit: Emit, stop_asked: StopAsked) -> Progress:
    def tell(file: str, done: int, total: int) -> None:
        emit(PhaseChanged("downloading", file, done, total))
        if stop_asked():
            raise StoppedEarly("Stopped during the download.", "Continue goes on where it stopped.")

    return tell


def log_event(event: Event) -> None:
    """The job's log for people."""
    match event:
        case PicturesMade(done=done, total=total, seconds=seconds):
            log.info("%d of %d pictures, %.2f s", done, total, seconds)
        case PicturesScored(done=done, total=total, scorer=scorer, seconds=seconds):
            log.info("%s: %d of %d, %.2f s", scorer, done, total, seconds)
        case _:
            log_common(log, event)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainers.preferences.worker", description=__doc__)
    run, _ = opened_run(parser, argv)
    return work(run, since=began(), watch=log_event)


if __name__ == "__main__":
    sys.exit(main())
