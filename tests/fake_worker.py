"""A worker without a model: `python -m tests.fake_worker MODE RUN_DIR [--resume]` writes what the real one writes.

Modes: ok, crash (an exception), error (a named failure), silent (exit code 3, no word), hang (hears nothing), flood
(20,000 steps at once), slow (until stopped), refused (exit code 2), empty (ends well without a file).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from trainers.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, EXIT_USAGE
from trainers.events import (
    CheckpointSaved,
    Event,
    Measured,
    PhaseChanged,
    RunFailed,
    RunFinished,
    SampleReady,
    StepDone,
    ValidationDone,
    Warned,
)
from trainers.rundir import EventLog, Heartbeat, RunDir, read_lines, write_atomic

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
FLOOD = 20_000


class FakeRun:
    """Writes the events of a small run."""

    def __init__(self, run: RunDir, total: int) -> None:
        self.run, self.total, self.since, self.offset = run, total, time.time(), 0
        self.log = EventLog(run)

    def emit(self, event: Event) -> None:
        self.log.emit(event)

    def commands(self) -> list[str]:
        lines = read_lines(self.run.control, self.offset)
        self.offset = lines.offset
        return [record["command"] for record in lines.records if record["time"] >= self.since]

    def pause(self) -> list[str]:
        """Waits for "resume" or "stop"; the commands that came meanwhile."""
        self.emit(PhaseChanged("paused"))
        heard: list[str] = []
        while not {"resume", "stop"} & set(heard):
            time.sleep(0.02)
            heard += self.commands()
        return heard

    def sample(self, step: int) -> None:
        path = self.run.samples / f"step-{step:06d}-0.png"
        write_atomic(path, PNG)
        self.emit(SampleReady(step, 0, "ein Männchen, 一只猫", 42, path.relative_to(self.run.path).as_posix()))

    def save(self, step: int) -> None:
        folder = self.run.checkpoint(step)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "state", str(step))
        self.emit(CheckpointSaved(step, folder.relative_to(self.run.path).as_posix()))

    def step(self, step: int) -> None:
        self.emit(StepDone(step, 1 / step, 1e-4, 0.5, 0.01, 0.25))

    def finish(self, step: int, *, stopped: bool = False) -> int:
        name = self.run.path.name
        write_atomic(self.run.adapter(name), b"adapter")
        summary = "" if stopped else "concept present in 2 % of samples before, 94 % after"
        if summary:
            self.emit(Measured(0, {"concept": 0.02}))
            self.emit(Measured(step, {"concept": 0.94}))
        self.emit(RunFinished(step, f"{name}.safetensors", 1.0, stopped, summary))
        return EXIT_STOPPED if stopped else EXIT_DONE


def work(mode: str, run: RunDir, resume: bool) -> int:
    fake = FakeRun(run, total=FLOOD if mode == "flood" else 20)
    checkpoint = run.latest_checkpoint() if resume else None
    first = int(checkpoint.name.removeprefix("step-")) + 1 if checkpoint else 1
    fake.emit(PhaseChanged("preparing", "checking pictures"))
    if mode == "silent":
        print("Traceback: something ünusual happened", flush=True)
        return 3
    if mode == "refused":
        print("data.resolution: 1000 is not a multiple of 16.", flush=True)
        return EXIT_USAGE
    if mode == "error":
        fake.emit(RunFailed("Out of memory.", "Lower data.resolution."))
        return EXIT_FAILED
    if first == 1:
        fake.sample(0)
    fake.emit(PhaseChanged("training", "", first - 1, fake.total))
    return train(mode, fake, first)


def train(mode: str, fake: FakeRun, first: int) -> int:
    step = first - 1
    while mode in ("slow", "hang") or step < fake.total:
        step += 1
        fake.step(step)
        if step == 10:
            fake.emit(ValidationDone(step, 0.5))
            fake.emit(Warned("test", "Achtung: 注意"))
            fake.save(step)
        if mode == "crash" and step == 12:
            raise ValueError("broken on purpose")
        if mode == "hang" and step == 12:
            time.sleep(600)
        if mode == "slow":
            time.sleep(0.02)
            commands = fake.commands()
            if "pause" in commands:
                commands += fake.pause()
                fake.emit(PhaseChanged("training", "", step, fake.total))
            if "save" in commands:
                fake.save(step)
            if "stop" in commands:
                fake.save(step)
                return fake.finish(step, stopped=True)
    if mode == "empty":
        return EXIT_DONE
    fake.sample(step)
    return fake.finish(step)


def main() -> int:
    mode, run = sys.argv[1], RunDir(Path(sys.argv[2]))
    heartbeat = Heartbeat(run)
    code = EXIT_FAILED
    try:
        code = work(mode, run, "--resume" in sys.argv)
    finally:
        heartbeat.close(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
