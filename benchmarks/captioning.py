"""What a captioning job costs beside its model, and how it answers Stop and a kill.

    python -m benchmarks.captioning [--count 1000]

Jobs are worker processes with the built-in captioner, over freshly drawn scenes; photos are those scenes as JPEG of
1024 x 1024 pixels.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from captioners import plan, resolve
from captioners.base import Request, Result
from captioners.job import Job
from captioners.scribe import Scribe
from trainers import settings
from trainers.machine import detect
from trainers.paths import PROGRAM
from trainers.rundir import EventLog, RunDir, all_records
from trainers.sandbox import scenes

SEED = 11
PHOTO_PX = 1024
PHOTOS = 200


def draw(folder: Path, count: int, *, photos: bool = False) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    for number in range(count):
        picture = scenes.draw(scenes.sample_scene(rng, scenes.SHAPES))
        if photos:
            picture.resize((PHOTO_PX, PHOTO_PX)).save(folder / f"{number:05}.jpg", quality=90)
        else:
            picture.save(folder / f"{number:05}.png")


def begin(root: Path, name: str, folder: Path, *wishes: str) -> tuple[RunDir, subprocess.Popen[bytes]]:
    """A job of its own process, as the app starts it."""
    values = resolve.override({"pictures": {"folder": str(folder)}}, [f"run.name={name}", *wishes])
    config = resolve.resolve(resolve.validate(values), detect())
    run = RunDir(Path(config.run.output_dir) / name)
    run.create(settings.dump(config))
    with (root / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "captioners.worker", str(run.path)]
        return run, subprocess.Popen(command, cwd=PROGRAM, stdout=log, stderr=log)


def batches(run: RunDir) -> list[dict[str, Any]]:
    return [record for record in all_records(run.events) if record["kind"] == "batch_captioned"]


def wait_for(run: RunDir, pictures: int, worker: subprocess.Popen[bytes]) -> None:
    while worker.poll() is None and not any(batch["done"] >= pictures for batch in batches(run)):
        time.sleep(0.01)


def whole(root: Path, folder: Path, name: str, *wishes: str) -> None:
    begun = time.perf_counter()
    run, worker = begin(root, name, folder, *wishes)
    worker.wait()
    seconds = time.perf_counter() - begun
    done = batches(run)
    count = done[-1]["done"]
    overhead = sum(batch["seconds"] - batch["model_s"] for batch in done)
    model = sum(batch["model_s"] for batch in done)
    print(f"{name}: {count} pictures in {seconds:.1f} s, start of the process included")
    print(f"{name}: {1000 * overhead / count:.2f} ms a picture beside the model, {1000 * model / count:.2f} ms in it")


class Instant:
    """A model that takes no time."""

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        return [Result("a scene") for _ in requests]


def bare(root: Path, folder: Path, name: str) -> None:
    """All that is not the model, nothing of it hidden behind the model's work: reading, decoding, writing, telling."""
    values = {"run": {"name": f"bare-{name}"}, "pictures": {"folder": str(folder)}, "policy": {"existing": "replace"}}
    config = resolve.resolve(resolve.validate(values), detect())
    run = RunDir(resolve.run_folder(config))
    run.create(settings.dump(config))
    begun = time.perf_counter()
    targets = plan.targets(config)
    log = EventLog(run)
    job = Job(config, resolve.spec_of(config), log.emit, lambda: False)
    totals, _ = job.run(Instant(), targets, Scribe(run, config, "", targets))
    log.close()
    each = 1000 * (time.perf_counter() - begun) / totals.written
    print(f"{name}: {each:.2f} ms a picture with a model that takes no time")


def stop(root: Path, folder: Path) -> None:
    run, worker = begin(root, "stopped", folder, "existing=replace")
    wait_for(run, 100, worker)
    asked = time.perf_counter()
    run.send("stop")
    worker.wait()
    waited = time.perf_counter() - asked
    done = batches(run)
    batch = statistics.median(one["seconds"] for one in done)
    last = next(record["time"] for record in reversed([*all_records(run.events)]) if record["kind"] == "run_finished")
    answered = last - [record["time"] for record in all_records(run.control)][-1]
    print(f"stop: answered after {answered:.2f} s, process gone after {waited:.2f} s; a batch takes {batch:.2f} s")


def kill(root: Path, folder: Path) -> None:
    for file in folder.glob("*.txt"):
        file.unlink()
    run, worker = begin(root, "killed", folder, "existing=skip")
    wait_for(run, 200, worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    told, written = batches(run)[-1]["written"], len(list(folder.glob("*.txt")))
    whole_texts = all(file.read_text().strip() for file in folder.glob("*.txt"))
    size = max(len(one["pictures"]) for one in batches(run))
    print(f"kill -9: {told} captions told of, {written} in files, all whole: {whole_texts}; a batch has {size}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["ATELIER_DATA_DIR"] = str(root / "data")
        draw(root / "scenes", args.count)
        draw(root / "photos", min(PHOTOS, args.count), photos=True)
        whole(root, root / "scenes", "scenes")
        whole(root, root / "photos", "photos")
        bare(root, root / "scenes", "scenes")
        bare(root, root / "photos", "photos")
        stop(root, root / "scenes")
        kill(root, root / "scenes")


if __name__ == "__main__":
    main()
