"""One process, one captioning job: `python -m captioners.worker RUN_DIR`. It goes on where an earlier one stopped.

The process ends with the job, and with it goes all of the model's memory.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time
from collections.abc import Callable

from captioners import plan, resolve
from captioners.base import Captioner
from captioners.catalog import MODULES, CaptionerSpec
from captioners.config import CaptionConfig
from captioners.download import fetch
from captioners.job import Job
from captioners.plan import Target
from captioners.policy import wants
from captioners.scribe import Scribe
from captioners.weights import place_of
from trainers.boundary import FileControl, began, carry_out, is_out_of_memory, log_common, opened_run
from trainers.data.text import TextError
from trainers.errors import EXIT_DONE, EXIT_STOPPED, StoppedEarly
from trainers.events import BatchCaptioned, Emit, Event, PhaseChanged, RunFinished
from trainers.rundir import RunDir

log = logging.getLogger(__name__)

HEARD_EVERY_S = 0.1  # the file of commands is looked at so often at most
RESUME_HINT = "Continue goes on with the pictures that are left."


class StopAsked:
    """Whether a person wants the job to end; may be asked for every word that a model writes."""

    def __init__(self, control: FileControl) -> None:
        self._control, self._due, self._stop = control, 0.0, False

    def __call__(self) -> bool:
        if not self._stop and (now := time.monotonic()) >= self._due:
            self._due = now + HEARD_EVERY_S
            self._stop = "stop" in self._control()
        return self._stop


def work(run: RunDir, *, since: float | None = None, watch: Callable[[Event], None] | None = None) -> int:
    """Do the job and return its exit code; see `boundary.carry_out`."""

    def caption(emit: Emit, control: FileControl) -> int:
        return _run(run, emit, StopAsked(control))

    return carry_out(run, caption, explain, resume_hint=RESUME_HINT, since=since, watch=watch)


def explain(error: Exception) -> tuple[str, str]:
    """What happened and what to do, for errors that users meet."""
    if is_out_of_memory(error):
        hint = "Set captioner.quantize = nf4, choose a smaller captioner, or close other programs that use the card."
        return "Out of memory while the model was loaded.", f"{hint} Then continue."
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full.", "Free some space, then continue."
    return f"{type(error).__name__}: {error}", "The log has the details."


def _run(run: RunDir, emit: Emit, stop_asked: StopAsked) -> int:
    begun = time.monotonic()
    emit(PhaseChanged("preparing", "looking at the pictures"))
    config = resolve.load(run.config.read_text(encoding="utf-8"))
    spec = resolve.spec_of(config)
    found = plan.targets(config)
    scribe = Scribe(run, config, config.captioner.source or spec.source, found)
    job = Job(config, spec, emit, stop_asked)
    captioner = _load(config, spec, emit, stop_asked) if _has_work(config, found, scribe) else _Nobody()
    totals, stopped = job.run(captioner, found, scribe)
    summary = totals.sentence(dry=config.pictures.dry_run)
    emit(RunFinished(totals.done, "", round(time.monotonic() - begun, 1), stopped, summary))
    return EXIT_STOPPED if stopped else EXIT_DONE


class _Nobody:
    """Stands in for a model that no picture needs."""

    def caption(self, requests: object) -> list:
        raise AssertionError("no picture was to be captioned")


def _has_work(config: CaptionConfig, found: list[Target], scribe: Scribe) -> bool:
    """Whether any picture needs the model: loading one takes minutes."""
    for target in found:
        if target.name in scribe.done or target.shares:
            continue
        try:
            if wants(config.policy.existing, target.shown(target.text())):
                return True
        except (TextError, OSError):
            continue
    return False


def _load(config: CaptionConfig, spec: CaptionerSpec, emit: Emit, stop_asked: StopAsked) -> Captioner:
    source = place_of(config, spec)
    if source is None:
        source = fetch(config, spec, _download_progress(emit, stop_asked))
    emit(PhaseChanged("loading", spec.title))
    from captioners.loading import make_runtime

    module = importlib.import_module(MODULES[spec.kind])
    captioner: Captioner = module.load(source, config, make_runtime(config, stop_asked))
    return captioner


def _download_progress(emit: Emit, stop_asked: StopAsked) -> Callable[[str, int, int], None]:
    def tell(file: str, done: int, total: int) -> None:
        emit(PhaseChanged("downloading", file, done, total))
        if stop_asked():
            raise StoppedEarly("Stopped during the download.", "Continue goes on where it stopped.")

    return tell


def log_event(event: Event) -> None:
    """The job's log for people."""
    match event:
        case BatchCaptioned():
            for picture in event.pictures:
                if picture.status == "failed":
                    log.warning("%s: %s", picture.name, picture.reason)
            log.info("%d of %d pictures, %.2f s", event.done, event.total, event.seconds)
        case _:
            log_common(log, event)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m captioners.worker", description=__doc__)
    run, _ = opened_run(parser, argv)
    return work(run, since=began(), watch=log_event)


if __name__ == "__main__":
    sys.exit(main())
