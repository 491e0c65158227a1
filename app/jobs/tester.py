"""The process that draws trials: one on this machine, none while a run trains, and found again by a new app."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from app.jobs.process import Adopted, Spawned, detach
from trainers.errors import EXIT_DONE, AtelierError
from trainers.rundir import RunDir, is_process, worker_info
from trainers.trials import TrialFolder

TESTER_COMMAND = (sys.executable, "-m", "trainers.tester")
STOP_WAIT_S = 3.0  # then it is ended: nothing is lost but the picture that it draws
LOOK_S = 0.05

TesterState = Literal["off", "on", "gone"]  # gone: it ended, and not of its own accord


class Testers:
    """Starts and ends the process. All that is known of it is in the run folders, so it may outlive the app.

    runs: every run folder; busy: whether a run trains, which needs the memory for itself.
    """

    def __init__(
        self,
        data_dir: Path,
        runs: Callable[[], Iterable[RunDir]],
        busy: Callable[[], bool],
        command: tuple[str, ...] = TESTER_COMMAND,
    ) -> None:
        self._data_dir, self._runs, self.busy, self._command = data_dir, runs, busy, command
        # held over "does a run train?" and the start: a run that starts meanwhile waits, and then finds the process
        self._lock = threading.Lock()
        self._spawned: Spawned | None = None

    def ask(self, run: RunDir, trial_id: str) -> None:
        """Have a trial drawn, by the process that has the model in memory or by a new one.

        Raises AtelierError while a run trains, and when the process cannot be started.
        """
        trials = TrialFolder(run)
        with self._lock:
            if self.busy():
                raise AtelierError(
                    "A run is training, and needs the memory for itself.",
                    "Wait for its end. Sample now, in its header, draws its previews meanwhile.",
                )
            for other in self._runs():
                if other.path != run.path:
                    _end(other)
            skip = trials.asked_bytes()
            trials.send("draw", trial_id)
            if self.state(run) != "on":
                command = [*self._command, str(run.path), "--skip", str(skip)]
                try:
                    self._spawned = detach(trials.desk, command, self._data_dir)
                except OSError as error:
                    message = f"The process that draws could not be started: {error.strerror or error}."
                    raise AtelierError(message, "Check the disk and the installation.") from error

    def state(self, run: RunDir) -> TesterState:
        spawned = self._spawned
        if spawned and spawned.poll():  # takes leave of a process that is gone, and notes how it ended
            self._spawned = None
        info = worker_info(TrialFolder(run).desk)
        if info is None or info.exit_code == EXIT_DONE:
            return "off"
        return "on" if info.alive else "gone"

    def end(self, run: RunDir) -> None:
        """Return the memory that the process of a run holds."""
        with self._lock:
            _end(run)

    def end_all(self) -> None:
        """The same for every run: before one is trained."""
        with self._lock:
            for run in self._runs():
                _end(run)


def _end(run: RunDir) -> None:
    trials = TrialFolder(run)
    info = worker_info(trials.desk)
    if info is None or not is_process(info.pid, info.started):
        return
    trials.send("stop")
    give_up = time.monotonic() + STOP_WAIT_S
    while is_process(info.pid, info.started):
        if time.monotonic() > give_up:
            Adopted(trials.desk).kill()
        time.sleep(LOOK_S)
