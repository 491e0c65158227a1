"""Captioning from a terminal: `python launch.py caption CAPTIONER FOLDER [key=value ...]` ends up here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from captioners import overview, preflight, resolve
from captioners.config import CaptionConfig
from captioners.scribe import act_of
from captioners.written import note_turn
from trainers import paths, settings
from trainers.cli import dispatch
from trainers.data.edits import Journal, journal_folder
from trainers.errors import EXIT_DONE, ConfigError
from trainers.events import BatchCaptioned, Captioned, Event, PhaseChanged, RunFailed, RunFinished, Warned
from trainers.machine import detect
from trainers.rundir import RunDir, worker_info

ALL_KEPT = "Captions that are there were kept. See existing=fill, replace, append, prepend or line."
NAMED = 20  # failures whose names the last line gives


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code follows `trainers.errors`."""
    return dispatch(_parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.py")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    help = "write captions for the pictures of a folder; `captioners` lists who can"
    caption = commands.add_parser("caption", help=help, description=help)
    caption.add_argument("captioner", metavar="CAPTIONER")
    caption.add_argument("folder", metavar="FOLDER")
    caption.add_argument(
        "wishes",
        nargs="*",
        metavar="key=value",
        help="as in existing=append prefix='photo of' dry_run=true; all keys are in docs/captioning_settings.md",
    )
    caption.set_defaults(run=_caption)
    help = "take back all that a captioning job wrote; captions that were edited since stay"
    undo = commands.add_parser("undo", help=help, description=help)
    undo.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    undo.set_defaults(run=_undo)
    table = commands.add_parser("captioners", help="table of captioners")
    table.set_defaults(run=_captioners)
    return parser


def _caption(args: argparse.Namespace) -> int:
    named = {"captioner": {"name": args.captioner}, "pictures": {"folder": args.folder}}
    config = resolve.resolve(resolve.validate(resolve.override(named, args.wishes)), detect())
    preflight.check(config)
    run = RunDir(resolve.run_folder(config))
    run.create(settings.dump(config))
    return work_on(run)


def work_on(run: RunDir) -> int:
    """Do a job in this process, or go on with it, with a progress bar."""
    from captioners.worker import work

    progress = Progress()
    try:
        code = work(run, watch=progress)
    finally:
        progress.close()
    progress.tell(run)
    return code


class Progress:
    """Shows a job's events as a bar; failures and dry runs as lines."""

    def __init__(self) -> None:
        self.failed: RunFailed | None = None
        self.finished: RunFinished | None = None
        self._failures: list[Captioned] = []
        self._counts: BatchCaptioned | None = None
        self._bar: Any = None  # a tqdm, once pictures are captioned

    def __call__(self, event: Event) -> None:
        from tqdm import tqdm

        match event:
            case PhaseChanged(phase="captioning", done=done, total=int(total)):
                self._bar = tqdm(total=total, initial=done or 0, unit="picture", dynamic_ncols=True)
            case PhaseChanged(phase="downloading", detail=file, done=int(done), total=int(total)):
                print(f"\r{file}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", end="", file=sys.stderr, flush=True)
            case PhaseChanged(phase=phase, detail=detail):
                print(f"{phase}: {detail}" if detail else phase, file=sys.stderr)
            case BatchCaptioned():
                self._batch(event)
            case Warned():
                self._say(f"warning: {event.message} {event.hint}")
            case RunFailed():
                self.failed = event
            case RunFinished():
                self.finished = event

    def _batch(self, event: BatchCaptioned) -> None:
        self._counts = event
        self._bar.update(event.done - self._bar.n)
        for picture in event.pictures:
            if picture.status == "failed":
                self._failures.append(picture)
                self._say(f"failed: {picture.name}: {picture.reason}")
            elif picture.status == "shown":
                before = [f"  - {line}" for line in (picture.before or "").splitlines()]
                after = [f"  + {line}" for line in (picture.after or "").splitlines()]
                self._bar.write("\n".join([picture.name, *before, *after]), file=sys.stdout)

    def _say(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, run: RunDir) -> None:
        """The last lines: how it ended, and how it goes on."""
        if self.failed:
            print(f"{self.failed.message} {self.failed.hint}".strip(), file=sys.stderr)
        elif self.finished:
            names = [picture.name for picture in self._failures]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            listed = f" ({', '.join(names[:NAMED])}{more})" if names else ""
            if self.finished.stopped:
                print(f"Stopped. Go on with: python launch.py resume {run.path}", file=sys.stderr)
            print(f"{self.finished.summary}{listed}")
            if self._counts and not self._counts.written and self._counts.skipped and not self.finished.stopped:
                print(ALL_KEPT, file=sys.stderr)
            if act_of(run):
                print(f"Undo with: python launch.py undo {run.path}", file=sys.stderr)


def _undo(args: argparse.Namespace) -> int:
    run = RunDir(args.run_dir.expanduser().absolute())
    act = act_of(run)
    if not act:
        raise ConfigError("RUN_DIR", f"{run.path} holds no captioning job that wrote anything.", "Give its folder.")
    info = worker_info(run)
    if info and info.alive:
        raise ConfigError("RUN_DIR", f"the job is going on in process {info.pid}.", "Stop it first.")
    config: CaptionConfig = resolve.load(run.config.read_text(encoding="utf-8"))
    folder = Path(config.pictures.folder)
    outcome = Journal(journal_folder(paths.data_dir(), folder)).undo(act)
    note_turn(folder, act, undone=True)
    for skipped in outcome.skipped:
        print(f"kept: {skipped.path.relative_to(folder)}: {skipped.reason}", file=sys.stderr)
    print(f"taken back {len(outcome.done)}, kept {len(outcome.skipped)}")
    return EXIT_DONE


def _captioners(args: argparse.Namespace) -> int:
    for line in overview.table(detect()):
        print(line)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
