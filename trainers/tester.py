"""One process, one adapter in memory: `python -m trainers.tester RUN_DIR [--skip BYTES] [--idle-s SECONDS]`.

Draws the trials that are asked for in the run's folder, and leaves when nobody has asked for a while, so that the
memory is free again.
"""

from __future__ import annotations

import argparse
import io
import logging
import signal
import sys
import time
import traceback
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from trainers import resolve
from trainers.boundary import is_out_of_memory
from trainers.data.decode import open_picture
from trainers.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, AtelierError, ConfigError
from trainers.rundir import EventLog, Heartbeat, RunDir, read_lines, write_atomic
from trainers.trials import TesterStarted, Trial, TrialFolder, TrialMoved

if TYPE_CHECKING:
    from PIL import Image

    from trainers.draw import Drawer, DrawRequest

IDLE_S = 120.0
POLL_S = 0.1

log = logging.getLogger(__name__)


class Tester:
    """Serves requests one after the other. skip: bytes of the requests that others have dealt with."""

    def __init__(self, run: RunDir, skip: int, idle_s: float) -> None:
        self._run, self._trials = run, TrialFolder(run)
        self._offset, self._idle_s = skip, idle_s
        self._waiting: deque[str] = deque()
        self._stopped = False
        self._drawer: Drawer | None = None
        self._file: Path | None = None  # that the drawer has
        self._events = EventLog(self._trials.desk)
        self._events.emit(TesterStarted(skip))

    def serve(self) -> None:
        """Until "stop", or until nobody has asked for `idle_s` seconds."""
        due = time.monotonic() + self._idle_s
        while time.monotonic() < due:
            self._hear()
            if self._stopped:
                break
            if self._waiting:
                self._attempt(self._waiting.popleft())
                due = time.monotonic() + self._idle_s
            else:
                time.sleep(POLL_S)
        self._events.close()

    def stop(self) -> None:
        """After the picture that is being drawn."""
        self._stopped = True

    def _hear(self) -> None:
        lines = read_lines(self._trials.requests, self._offset)
        self._offset = lines.offset
        for record in lines.records:
            if record.get("do") == "stop":
                self._stopped = True
            elif record.get("do") == "draw":
                self._waiting.append(str(record.get("trial")))

    def _attempt(self, trial_id: str) -> None:
        """Draw a trial; what goes wrong is told, and the next one starts with a fresh model."""
        try:
            self._draw(trial_id)
        except AtelierError as error:
            self._fail(trial_id, error.message, error.hint)
        except Exception as error:  # the boundary: whatever went wrong is shown, never lost
            log.exception("trial %s failed", trial_id)
            self._fail(trial_id, *_explain(error), traceback.format_exc())

    def _fail(self, trial_id: str, message: str, hint: str, detail: str = "") -> None:
        self._drawer = None
        self._events.emit(TrialMoved(trial_id, "failed", detail, message=message, hint=hint))

    def _draw(self, trial_id: str) -> None:
        trial = self._trials.read(trial_id)
        if trial is None:
            return
        drawer = self._open(trial_id, trial.file)
        total = len(trial.strengths)
        drawn: list[Image.Image] = []
        for index, strength in enumerate(trial.strengths):
            self._hear()
            if self._stopped or self._trials.read(trial_id) is None:  # deleted meanwhile
                return
            self._events.emit(TrialMoved(trial_id, "drawing", done=index, total=total))
            path = self._trials.picture(trial_id, index)
            if not path.exists():  # a trial that broke off goes on where it was
                _save(drawer.draw(_request(trial, strength)), path)
            drawn.append(open_picture(path))
        if total > 1:
            self._save_sheet(trial_id, trial, drawn)
        self._events.emit(TrialMoved(trial_id, "done", done=total, total=total))

    def _save_sheet(self, trial_id: str, trial: Trial, drawn: list[Image.Image]) -> None:
        from trainers.sheets import sheet, strength_label

        row = [(strength_label(strength), picture) for strength, picture in zip(trial.strengths, drawn, strict=True)]
        _save(sheet([row]), self._trials.sheet(trial_id))

    def _open(self, trial_id: str, name: str) -> Drawer:
        """name: of the adapter file, empty for the finished one."""

        def say(part: str) -> None:
            self._events.emit(TrialMoved(trial_id, "loading", part))

        config = resolve.validate(resolve.parse_toml(self._run.config.read_text(encoding="utf-8")))
        file = self._run.adapter_named(name or self._run.adapter(config.run.name).name)
        if file is None:
            raise ConfigError("RUN_DIR", f"{self._run.path} has no such adapter file.", "Choose one of its files.")
        if self._drawer is None:
            say("libraries")
            from trainers.draw import Drawer

            self._drawer = Drawer(config, file)
        elif file != self._file:
            self._drawer.change(file)
        self._file = file
        self._drawer.say = say
        return self._drawer


def _request(trial: Trial, strength: float) -> DrawRequest:
    from trainers.draw import DrawRequest

    settings = trial.model_dump(exclude={"strengths", "file", "asked"})
    return DrawRequest(**settings, strength=strength)


def _save(picture: Image.Image, path: Path) -> None:
    file = io.BytesIO()
    picture.save(file, "png")
    write_atomic(path, file.getvalue())


def _explain(error: Exception) -> tuple[str, str]:
    """What happened and what to do."""
    from trainers.worker import explain

    if is_out_of_memory(error):
        return "Out of memory.", "Draw smaller pictures, or close other programs that use the card."
    return explain(error)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainers.tester", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--skip", type=int, help="bytes of requests.jsonl that are over; default: all that is there")
    parser.add_argument("--idle-s", type=float, default=IDLE_S, help="leave when nobody has asked for so long")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run = RunDir(args.run_dir.resolve())
    if not run.config.is_file():
        print(f"{run.path} holds no config.toml.", file=sys.stderr)
        return EXIT_USAGE
    return work(run, args.skip, args.idle_s)


def work(run: RunDir, skip: int | None, idle_s: float) -> int:
    """Serve, with a heartbeat that says who does."""
    trials = TrialFolder(run)
    trials.desk.path.mkdir(exist_ok=True)
    heartbeat, code = Heartbeat(trials.desk), EXIT_FAILED
    try:
        tester = Tester(run, trials.asked_bytes() if skip is None else skip, idle_s)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: tester.stop())
        tester.serve()
        code = EXIT_DONE
    finally:
        heartbeat.close(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
