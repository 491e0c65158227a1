"""The supervisor against a fake worker: every way in which a run can begin, go on and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.jobs.causes import judge
from app.jobs.folder import run_id_of
from app.jobs.states import ENDED
from app.jobs.store import Store, database_url
from app.jobs.supervisor import Supervisor
from app.monitoring.metrics import MAX_POINTS, Metrics, Series
from trainers.config import TrainConfig
from trainers.resolve import dump
from trainers.rundir import RunDir, worker_info

PROGRAM = Path(__file__).resolve().parent.parent
FAKE = (sys.executable, "-m", "tests.fake_worker")
TIMEOUT_S = 20.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds."""
    give_up = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up, f"waited in vain for {what}"
        time.sleep(0.02)


class Rig:
    """A supervisor on a data folder of its own, which starts its workers by the given command."""

    def __init__(self, data_dir: Path, *command: str, backlog: int = 256) -> None:
        self.data_dir = data_dir
        (data_dir / "runs").mkdir(exist_ok=True)
        self.store, self.metrics = Store(database_url(data_dir)), Metrics()
        self.supervisor = Supervisor(
            self.store, self.metrics, data_dir, command, poll_s=0.02, kill_after_s=0.2, backlog=backlog
        )
        self.supervisor.start()

    def enqueue(self, name: str) -> str:
        run = RunDir(self.data_dir / "runs" / name)
        values = TrainConfig().model_dump()
        values["run"]["name"] = name
        run.create(dump(TrainConfig.model_validate(values)))
        return self.supervisor.enqueue(run).id

    def state(self, run_id: str) -> str:
        row = self.store.get(run_id)
        assert row
        return self.supervisor.state(row)

    def wait_state(self, run_id: str, *states: str) -> None:
        wait_for(lambda: self.state(run_id) in states, f"{states}, not {self.state(run_id)}")

    def wait_step(self, run_id: str, step: int) -> None:
        wait_for(lambda: self.series(run_id).step >= step, f"step {step}")

    def series(self, run_id: str) -> Series:
        return self.metrics.load(run_id, self.run(run_id), live=True)

    def run(self, run_id: str) -> RunDir:
        row = self.store.get(run_id)
        assert row
        return RunDir(Path(row.path))

    def pid(self, run_id: str) -> int:
        info = worker_info(self.run(run_id))
        assert info
        return info.pid

    def close(self) -> None:
        self.supervisor.close()
        self.store.close()


MakeRig = Callable[..., Rig]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MakeRig]:
    made: list[Rig] = []

    def make(mode: str, **options: int) -> Rig:
        made.append(Rig(tmp_path, *FAKE, mode, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    for file in tmp_path.glob("runs/*/worker.json"):
        info = worker_info(RunDir(file.parent))
        if info and info.alive:
            psutil.Process(info.pid).kill()


def test_a_run_goes_from_queue_to_file(rig: MakeRig) -> None:
    one = rig("ok")
    run_id = one.enqueue("dog")
    one.wait_state(run_id, "done")
    row = one.store.get(run_id)
    assert row and (row.step, row.total_steps, row.loss) == (20, 20, 1 / 20)
    assert row.reason.startswith("concept present in 2 %")
    assert row.seconds_per_step == 0.01 and row.thumbnail == "samples/step-000020-0.png"
    series = one.series(run_id)
    assert [point[0] for point in series.points] == list(range(1, 21))
    assert series.validation == [(10, 0.5)]
    assert list(series.marks) == [(10, "warned", "Achtung: 注意"), (10, "checkpoint")]
    assert one.run(run_id).adapter("dog").is_file()


@pytest.mark.parametrize(
    ("mode", "state", "words"),
    [
        ("crash", "failed", "ValueError: broken on purpose"),
        ("error", "failed", "Out of memory."),
        ("silent", "failed", "exit code 3: Traceback: something ünusual happened"),
        ("refused", "failed", "data.resolution: 1000 is not a multiple of 16."),
        ("empty", "interrupted", "ended before the run did"),
    ],
)
def test_a_bad_end_is_named_and_never_shown_as_done(rig: MakeRig, mode: str, state: str, words: str) -> None:
    one = rig(mode)
    run_id = one.enqueue("dog")
    one.wait_state(run_id, *ENDED)
    row = one.store.get(run_id)
    assert row and row.state == state and words in row.reason
    if mode == "error":
        assert row.hint == "Lower data.resolution."


def test_kill_9_is_interrupted_and_resumes_from_the_checkpoint(rig: MakeRig) -> None:
    one = rig("slow")
    run_id = one.enqueue("dog")
    one.wait_step(run_id, 12)
    os.kill(one.pid(run_id), signal.SIGKILL)
    one.wait_state(run_id, *ENDED)
    row = one.store.get(run_id)
    assert row and row.state == "interrupted"
    assert row.reason == "The worker was killed by the system, probably out of memory."
    reached, revision = one.series(run_id).step, one.series(run_id).revision

    assert one.supervisor.requeue(run_id)
    one.wait_step(run_id, reached + 1)
    series = one.series(run_id)
    assert [point[0] for point in series.points[:12]] == list(range(1, 13)), "steps after the checkpoint count once"
    assert (11, "resumed") in series.marks and series.revision > revision
    one.supervisor.send(run_id, "stop")
    one.wait_state(run_id, "stopped")


def test_stop_saves_and_ends_as_stopped(rig: MakeRig) -> None:
    one = rig("slow")
    run_id = one.enqueue("dog")
    one.wait_state(run_id, "running")
    one.supervisor.send(run_id, "stop")
    assert one.state(run_id) in ("stopping", "stopped")
    one.wait_state(run_id, "stopped")
    row = one.store.get(run_id)
    assert row and row.reason.startswith("Stopped by you at step") and one.run(run_id).latest_checkpoint()


def test_stop_is_heard_by_a_worker_that_is_still_starting(rig: MakeRig) -> None:
    one = rig("slow")
    run_id = one.enqueue("dog")
    one.supervisor.send(run_id, "stop")
    one.wait_state(run_id, "stopped")


def test_a_second_stop_ends_a_worker_that_does_not_answer(rig: MakeRig) -> None:
    one = rig("hang")
    run_id = one.enqueue("dog")
    one.wait_step(run_id, 12)
    one.supervisor.send(run_id, "stop")
    assert "Already stopping" in one.supervisor.send(run_id, "stop")
    wait_for(lambda: "was ended" in one.supervisor.send(run_id, "stop"), "the grace to be over")
    one.wait_state(run_id, *ENDED)
    row = one.store.get(run_id)
    assert row and row.state == "interrupted" and "ended by you" in row.reason


def test_one_runs_and_the_others_wait_in_order(rig: MakeRig) -> None:
    one = rig("slow")
    first, second, third = (one.enqueue(name) for name in ("a", "b", "c"))
    one.wait_state(first, "running")
    assert [row.id for row in one.store.queued()] == [second, third]
    assert one.supervisor.cancel(second) and not one.supervisor.cancel(first)
    assert one.state(second) == "stopped"
    one.supervisor.send(first, "stop")
    one.wait_state(third, "running")
    assert one.state(first) == "stopped"
    one.supervisor.send(third, "stop")
    one.wait_state(third, "stopped")


def test_a_flood_of_events_is_taken_in_whole_and_thinned(rig: MakeRig) -> None:
    one = rig("flood")
    run_id = one.enqueue("flood")
    one.wait_state(run_id, "done")
    series = one.series(run_id)
    assert series.step == 20_000 and len(series.points) <= MAX_POINTS
    assert [point[0] for point in series.points] == list(range(1, 20_001, series.stride))


def test_unicode_names_and_texts_survive(rig: MakeRig) -> None:
    one = rig("ok")
    run_id = one.enqueue("Mänä 一只猫 🐈")
    one.wait_state(run_id, "done")
    row = one.store.get(run_id)
    assert row and row.name == "Mänä 一只猫 🐈"
    assert one.series(run_id).samples[20, 0].prompt == "ein Männchen, 一只猫"


def test_a_worker_that_cannot_be_started_fails_with_the_cause(tmp_path: Path) -> None:
    one = Rig(tmp_path, str(tmp_path / "no-such-python"))
    run_id = one.enqueue("dog")
    one.wait_state(run_id, "failed")
    row = one.store.get(run_id)
    assert row and "could not be started" in row.reason
    one.close()


def test_a_new_app_adopts_the_worker_and_sees_every_step(rig: MakeRig) -> None:
    old = rig("slow")
    run_id = old.enqueue("dog")
    old.wait_step(run_id, 5)
    old.close()
    new = rig("slow")
    assert new.supervisor.active() == [run_id]
    new.wait_step(run_id, 15)
    assert [point[0] for point in new.series(run_id).points[:15]] == list(range(1, 16))
    new.supervisor.send(run_id, "stop")
    new.wait_state(run_id, "stopped")


KILLED_APP = """
import os, signal
from pathlib import Path
from tests.test_supervisor import FAKE, Rig
one = Rig(Path({data!r}), *FAKE, "slow")
run_id = one.enqueue("dog")
one.wait_step(run_id, 3)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_outlives_an_app_that_is_killed(tmp_path: Path, rig: MakeRig) -> None:
    script = KILLED_APP.format(data=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", script], cwd=PROGRAM, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == -signal.SIGKILL
    one = rig("slow")
    run_id = run_id_of(tmp_path / "runs" / "dog")
    assert one.state(run_id) == "running"
    reached = one.series(run_id).step
    one.wait_step(run_id, reached + 3)
    one.supervisor.send(run_id, "stop")
    one.wait_state(run_id, "stopped")


def test_a_run_of_the_command_line_is_found_and_followed(rig: MakeRig, tmp_path: Path) -> None:
    one = rig("ok")
    run = RunDir(tmp_path / "runs" / "by-hand")
    run.create(dump(TrainConfig()))
    worker = subprocess.Popen([*FAKE, "slow", str(run.path)], cwd=PROGRAM)
    wait_for(lambda: run.events.exists() and worker_info(run), "the worker")
    one.supervisor.discover()
    run_id = run_id_of(run.path)
    assert one.state(run_id) == "running"
    one.supervisor.send(run_id, "stop")
    assert worker.wait(TIMEOUT_S) == 130
    one.wait_state(run_id, "stopped")


def test_a_run_that_works_cannot_be_removed(rig: MakeRig, tmp_path: Path) -> None:
    one = rig("slow")
    run_id = one.enqueue("dog")
    one.wait_state(run_id, "running")
    assert not one.supervisor.remove(run_id, tmp_path / "trash" / "dog")
    one.supervisor.send(run_id, "stop")
    one.wait_state(run_id, "stopped")
    assert one.supervisor.remove(run_id, tmp_path / "trash" / "dog")
    assert one.store.get(run_id) is None and (tmp_path / "trash" / "dog" / "config.toml").is_file()


def test_followers_wait_when_the_consumer_is_behind(rig: MakeRig) -> None:
    one = rig("flood", backlog=1)
    run_id = one.enqueue("flood")
    one.wait_state(run_id, "done")
    assert one.series(run_id).step == 20_000


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "killed by the system, probably out of memory"),
        (-11, "crashed (SIGSEGV)"),
        (0xC0000005, "crashed (access violation)"),
        (None, "without saying why"),
    ],
)
def test_causes_are_told_in_words(tmp_path: Path, code: int | None, words: str) -> None:
    verdict = judge(code, None, tmp_path / "worker.log")
    assert verdict.state == "interrupted" and words in verdict.reason
