"""A job on a preference set as a terminal shows it. Light."""

from __future__ import annotations

import sys
from typing import Any

from trainers.events import Event, PhaseChanged, PicturesMade, PicturesScored, RunFailed, RunFinished, Warned
from trainers.rundir import RunDir

COUNTED = {"generating": "picture", "comparing": "picture", "scoring": "score"}


class Progress:
    """Shows a job's events as a bar; warnings as lines."""

    def __init__(self) -> None:
        self._failed: RunFailed | None = None
        self._finished: RunFinished | None = None
        self._bar: Any = None  # a tqdm, while pictures are counted

    def __call__(self, event: Event) -> None:
        match event:
            case PhaseChanged(phase=phase, done=done, total=int(total)) if phase in COUNTED:
                self._open(COUNTED[phase], done or 0, total)
            case PhaseChanged(phase="downloading", detail=file, done=int(done), total=int(total)):
                print(f"\r{file}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB", end="", file=sys.stderr, flush=True)
            case PhaseChanged(phase=phase, detail=detail):
                self._say(f"{phase}: {detail}" if detail else phase)
            case PicturesMade(done=done) | PicturesScored(done=done):
                self._bar.update(done - self._bar.n)
            case Warned(message=message, hint=hint):
                self._say(f"warning: {message} {hint}".rstrip())
            case RunFailed():
                self._failed = event
            case RunFinished():
                self._finished = event

    def _open(self, unit: str, done: int, total: int) -> None:
        from tqdm import tqdm

        self.close()
        self._bar = tqdm(total=total, initial=done, unit=unit, dynamic_ncols=True)

    def _say(self, text: str) -> None:
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def tell(self, run: RunDir) -> None:
        """The last lines: how it ended, and how it goes on."""
        if self._failed:
            print(f"{self._failed.message} {self._failed.hint}".strip(), file=sys.stderr)
        elif self._finished:
            if self._finished.stopped:
                print(f"Stopped. Go on with: python launch.py resume {run.path}", file=sys.stderr)
            print(self._finished.summary)
