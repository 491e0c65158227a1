"""The worker as a process: it ends well, ends badly, is killed, and goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import make_flux
from tests.training import Bench, draw_pictures, make_bench
from trainers import resolve
from trainers.paths import PROGRAM
from trainers.rundir import RunDir, all_records, worker_info
from trainers.worker import work


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux(tmp_path_factory.mktemp("base"))


@pytest.fixture
def bench(tmp_path: Path, base: Path) -> Bench:
    pictures = draw_pictures(tmp_path / "pictures", 3)
    return make_bench(tmp_path, base, pictures, schedule={"max_steps": 3, "batch_size": 1})


@pytest.fixture(autouse=True)
def _signals_stay_ours() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def records(run: RunDir, kind: str) -> list[dict]:
    return [record for record in all_records(run.events) if record["kind"] == kind]


def start(run: RunDir, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "trainers.worker", str(run.path), *options],
        cwd=PROGRAM,
        stdout=run.log.open("wb"),
        stderr=subprocess.STDOUT,
    )


def wait_for_step(run: RunDir, step: int, process: subprocess.Popen[bytes], timeout_s: float = 120) -> None:
    until = time.monotonic() + timeout_s
    while not any(record["step"] >= step for record in records(run, "step")):
        assert process.poll() is None, "the worker ended early"
        assert time.monotonic() < until, "no step in time"
        time.sleep(0.05)


def test_a_run_ends_with_its_file_and_says_so(bench: Bench) -> None:
    bench.run.create(resolve.dump(bench.config))
    assert work(bench.run) == 0
    assert [record["step"] for record in records(bench.run, "step")] == [1, 2, 3]
    (finished,) = records(bench.run, "run_finished")
    assert (bench.run.path / finished["path"]).is_file() and not finished["stopped"]
    sequence = [record["seq"] for record in all_records(bench.run.events)]
    assert sequence == list(range(1, len(sequence) + 1))
    info = worker_info(bench.run)
    assert info is not None and info.exit_code == 0 and not info.alive


def test_a_run_over_several_data_sets_of_all_kinds(tmp_path: Path, base: Path) -> None:
    draw_pictures(tmp_path / "taught" / "2_zota", 2)
    draw_pictures(tmp_path / "prior", 2, seed=1)
    shutil.make_archive(str(tmp_path / "prior"), "zip", tmp_path / "prior")
    Image.new("L", (64, 64), 255).save(tmp_path / "taught" / "2_zota" / "00-masklabel.png")
    (tmp_path / "taught" / "broken.png").write_bytes(b"no picture")
    settings = {"resolution": [64, 48], "mask": "file", "skip_bad": True, "flip": True}
    bench = make_bench(
        tmp_path,
        base,
        tmp_path / "taught",
        data={**settings, "sets": [f"{tmp_path / 'prior.zip'} regularisation=true resolution=32"]},
        captions={"trigger": "zota", "shuffle": True},
        schedule={"max_steps": 5, "batch_size": 2},
    )
    bench.run.create(resolve.dump(bench.config))
    assert work(bench.run) == 0
    assert any(record["code"] == "bad_left_out" for record in records(bench.run, "warned"))
    assert not (bench.run.path / "text").exists()  # captions were kept for this run alone


def test_a_stopped_run_keeps_its_captions_until_it_is_done(bench: Bench) -> None:
    bench.run.create(resolve.dump(bench.config))
    bench.run.send("stop")
    assert work(bench.run, since=0) == 130
    assert (bench.run.path / "text").is_dir()
    assert work(bench.run, resume=True) == 0
    assert not (bench.run.path / "text").exists()


def test_bad_pictures_end_it_with_2_before_anything_loads(bench: Bench) -> None:
    bench.run.create(resolve.dump(bench.config))
    (Path(bench.config.data.folder) / "broken.png").write_bytes(b"not a picture")
    assert work(bench.run) == 2
    (failed,) = records(bench.run, "run_failed")
    assert "broken.png" in failed["message"]
    assert not any(record["phase"] == "loading" for record in records(bench.run, "phase_changed"))


def test_an_exception_is_told_with_its_cause_and_never_as_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers import loop

    def explode(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the sky fell")

    monkeypatch.setattr(loop, "train", explode)
    bench.run.create(resolve.dump(bench.config))
    assert work(bench.run) == 1
    (failed,) = records(bench.run, "run_failed")
    assert "the sky fell" in failed["message"] and "Traceback" in failed["detail"]
    assert not records(bench.run, "run_finished")


def test_stop_saves_and_resume_ends_as_if_nothing_had_happened(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 3)
    bench = make_bench(tmp_path, base, pictures, schedule={"max_steps": 500, "batch_size": 1})
    bench.run.create(resolve.dump(bench.config))
    process = start(bench.run)
    wait_for_step(bench.run, 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (finished,) = records(bench.run, "run_finished")
    assert finished["stopped"] and 2 <= finished["step"] < 500
    assert bench.run.latest_checkpoint() == bench.run.checkpoint(finished["step"])
    log = bench.run.log.read_text()
    assert "step 1: loss" in log and f"saved checkpoints/step-{finished['step']:06d}" in log


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a Unix signal")
def test_killed_worker_is_not_finished_and_goes_on_from_its_checkpoint(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 3)
    long = make_bench(
        tmp_path, base, pictures, schedule={"max_steps": 40, "batch_size": 1}, save={"every_steps": 2, "keep_last": 2}
    )
    long.run.create(resolve.dump(long.config))
    process = start(long.run)
    wait_for_step(long.run, 5, process)
    process.kill()
    process.wait(30)
    info = worker_info(long.run)
    assert info is not None and not info.alive and info.exit_code is None
    assert not records(long.run, "run_finished")
    saved = long.run.latest_checkpoint()
    assert saved is not None

    seen = len(records(long.run, "step"))
    assert work(long.run, resume=True) == 0
    resumed = [record["step"] for record in records(long.run, "step")][seen:]
    assert resumed[0] == int(saved.name.removeprefix("step-")) + 1 and resumed[-1] == 40
    assert records(long.run, "run_finished")[-1]["step"] == 40


def test_commands_from_before_the_worker_are_not_obeyed(bench: Bench) -> None:
    bench.run.create(resolve.dump(bench.config))
    bench.run.send("stop")
    time.sleep(0.01)
    assert work(bench.run) == 0
