"""Pictures of a set: drawn once, kept, gone on with; with the real sandbox model in few steps."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.lora_files import write_lora
from tests.training import CPU
from trainers import settings
from trainers.data import captions
from trainers.draw import Drawer, DrawRequest
from trainers.errors import EXIT_DONE, AtelierError
from trainers.events import Event, PicturesMade, RunFinished, Warned
from trainers.families import load_family
from trainers.families.base import Runtime
from trainers.preferences import generate, resolve, worker
from trainers.preferences.config import GenerateConfig
from trainers.preferences.halving import Outcome
from trainers.preferences.plan import seed_of
from trainers.preferences.prefset import Prefset
from trainers.rundir import RunDir, all_records

PROMPTS = ["a red circle on the left, white background", "a blue square in the middle, grey background"]
DIES_IN_VAIN_S = 60.0

Draw = Callable[..., "Job"]


@dataclasses.dataclass
class Job:
    """A job that was done, or begun. events: what it told."""

    run: RunDir
    config: GenerateConfig
    events: list[Event] = dataclasses.field(default_factory=list)

    @property
    def prefset(self) -> Prefset:
        return Prefset(Path(self.config.set.folder))

    def made(self) -> int:
        """Pictures that this job drew."""
        return sum(len(event.items) for event in self.events if isinstance(event, PicturesMade))

    def go_on(self, stop_after: int | None = None) -> Outcome:
        """In this process. stop_after: pictures, after which a person stops the job."""
        self.events = []

        def stop_asked() -> bool:
            return stop_after is not None and self.made() >= stop_after

        return generate.work(self.run, self.config, self.events.append, stop_asked, lambda *_: None)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Prepares a job; settings override small ones."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))

    def make(folder: str = "set", **sections: dict[str, Any]) -> Job:
        values: dict[str, dict[str, Any]] = {
            "set": {"folder": str(tmp_path / folder)},
            "run": {"threads": 1},
            "prompts": {"texts": PROMPTS},
            "pictures": {"per_prompt": 2, "steps": 2, "batch_size": 3},
        }
        for section, part in sections.items():
            values[section] = {**values.get(section, {}), **part}
        config = resolve.resolve(settings.validate(values, GenerateConfig), CPU)
        run = RunDir(resolve.run_folder(config))
        run.create(settings.dump(config))
        return Job(run, config)

    return make


def files(job: Job) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in job.prefset.images_dir.iterdir()}


def times(job: Job) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in job.prefset.images_dir.iterdir()}


def lines(job: Job) -> list[dict[str, Any]]:
    """Of the pictures, without the time at which each was made."""
    found = list(all_records(job.prefset.folder / "images.jsonl"))
    return [{**one, "gen": {k: v for k, v in one["gen"].items() if k != "created"}} for one in found]


def test_each_picture_is_a_file_and_a_line_that_says_how_it_was_made(job: Draw) -> None:
    one = job()
    outcome = one.go_on()
    assert outcome == Outcome(4, False, "drawn 4 of 4; the set has 4 pictures of 2 prompts")
    prefset, before = one.prefset, time.time()
    assert [prompt.prompt for prompt in prefset.prompts.values()] == PROMPTS
    for prompt_id in prefset.prompts:
        pictures = prefset.pictures_of(prompt_id)
        assert [picture.gen["seed"] for picture in pictures] == [seed_of(0, prompt_id, index) for index in range(2)]
        for picture in pictures:
            data = prefset.path(picture.image_id).read_bytes()
            assert hashlib.sha256(data).hexdigest() == picture.image_id
            with Image.open(prefset.path(picture.image_id)) as opened:
                assert opened.format == "PNG" and opened.size == (picture.w, picture.h) == (64, 64)
            gen = dict(picture.gen)
            assert before - 60 < gen.pop("created") <= before and len(gen.pop("vae_hash")) == 64
            assert gen == {
                "base": "sandbox",
                "base_hash": "",
                "adapters": [],
                "seed": picture.gen["seed"],
                "sampler": "flow_euler",
                "steps": 2,
                "cfg": 1.0,
                "shift": pytest.approx(picture.gen["shift"]),
                "precision": "fp32",
                "quantize": "none",
                "prompt": prefset.prompts[prompt_id].prompt,
            }


def test_a_line_is_enough_to_draw_its_picture_again(job: Draw) -> None:
    one = job()
    one.go_on()
    drawer = Drawer(resolve.train_config(one.config, CPU), None)
    for picture in one.prefset.pictures.values():
        gen = picture.gen
        request = DrawRequest(gen["prompt"], "", gen["seed"], gen["steps"], gen["cfg"], picture.w, picture.h, 1.0)
        with Image.open(one.prefset.path(picture.image_id)) as kept:
            pairs = zip(kept.convert("RGB").tobytes(), drawer.draw(request).tobytes(), strict=True)
            assert max(abs(a - b) for a, b in pairs) <= 1


def test_more_pictures_a_prompt_leave_the_old_ones_alone(job: Draw) -> None:
    first = job()
    first.go_on()
    old_times, old_files, old_lines = times(first), files(first), lines(first)
    more = job(pictures={"per_prompt": 3})
    assert more.go_on().done == more.made() == 2
    assert lines(more)[:4] == old_lines and len(lines(more)) == 6
    assert {name: when for name, when in times(more).items() if name in old_times} == old_times
    assert files(more).items() >= old_files.items()
    again = job(pictures={"per_prompt": 3})
    assert again.go_on() == Outcome(0, False, "nothing was missing; the set has 6 pictures of 2 prompts")
    assert not [event for event in again.events if getattr(event, "phase", "") == "loading"]


def test_a_picture_that_a_person_deleted_comes_back_and_has_one_line(job: Draw) -> None:
    one = job()
    one.go_on()
    whole, kept = files(one), lines(one)
    (one.prefset.images_dir / next(iter(whole))).unlink()
    again = job()
    assert again.go_on().done == 1 and files(again) == whole and lines(again) == kept


def test_other_settings_and_other_seeds_are_other_pictures_beside_the_old_ones(job: Draw) -> None:
    first = job()
    first.go_on()
    old = files(first)
    for change in ({"steps": 3}, {"seed": 1}):
        one = job(pictures=change)
        one.go_on()
        assert one.made() == 4 and files(one).items() >= old.items()
    assert len(files(first)) == 12


def test_seeds_follow_from_the_prompt_and_not_from_its_place(job: Draw) -> None:
    """So a prompt more changes no other prompt's pictures, and reference and adapter draw from the same noise."""
    one, other = job("one"), job("other", prompts={"texts": ["a green cross on the right", *PROMPTS]})
    one.go_on()
    other.go_on()
    seeds = {(p.gen["prompt"], p.gen["seed"]) for p in one.prefset.pictures.values()}
    assert seeds <= {(p.gen["prompt"], p.gen["seed"]) for p in other.prefset.pictures.values()}


# --------------------------------------------------------------------------- broken off


def test_stopped_and_resumed_equals_undisturbed(job: Draw) -> None:
    whole, broken = job("whole"), job("broken")
    whole.go_on()
    stopped = broken.go_on(stop_after=1)
    assert stopped.stopped and stopped.done == 3, "a batch is finished"
    before = times(broken)
    done = broken.go_on()
    assert (done.done, done.stopped, broken.made()) == (4, False, 1)
    assert files(broken) == files(whole) and lines(broken) == lines(whole)
    assert times(broken).items() >= before.items()


def test_killed_between_files_and_lines_draws_nothing_twice(job: Draw) -> None:
    """Files of pictures whose lines never came are taken in, whatever part of a line is there."""
    whole, broken = job("whole"), job("broken")
    whole.go_on()
    broken.go_on()
    kept, images = times(broken), broken.prefset.folder / "images.jsonl"
    images.write_bytes(images.read_bytes()[:-40])
    assert broken.go_on().done == 4 and broken.made() == 0
    assert times(broken) == kept and lines(broken) == lines(whole)


def test_killed_within_a_batch_the_rest_comes_out_as_if_undisturbed(job: Draw) -> None:
    whole, broken = job("whole"), job("broken")
    whole.go_on()
    broken.go_on()
    images = broken.prefset.folder / "images.jsonl"
    first, *rest = images.read_text().splitlines(keepends=True)
    images.write_text(first)
    for name in [record["path"] for record in lines(whole)][1:]:
        (broken.prefset.folder / name).unlink()
    kept = times(broken)
    broken.go_on()
    assert broken.made() == len(rest) and files(broken) == files(whole) and lines(broken) == lines(whole)
    assert times(broken).items() >= kept.items()


def test_a_worker_that_is_killed_loses_and_repeats_nothing(job: Draw, tmp_path: Path) -> None:
    many = {"pictures": {"per_prompt": 40, "batch_size": 4, "steps": 4}}
    whole, broken = job("whole", **many), job("broken", **many)
    assert whole.go_on().done == 80
    command = [sys.executable, "-m", "trainers.preferences.worker", str(broken.run.path)]
    images = Path(broken.config.set.folder) / "images.jsonl"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        give_up = time.monotonic() + DIES_IN_VAIN_S
        while not images.exists() or images.read_bytes().count(b"\n") < 12:
            assert process.poll() is None and time.monotonic() < give_up
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    there, kept = len(lines(broken)), times(broken)
    assert 12 <= there < 80
    told: list[Event] = []
    assert worker.work(broken.run, watch=told.append) == EXIT_DONE
    assert isinstance(told[-1], RunFinished) and told[-1].step == 80
    assert files(broken) == files(whole) and lines(broken) == lines(whole)
    assert times(broken).items() >= kept.items()


def test_what_the_job_draws_stays_the_same_when_its_prompt_file_changes(job: Draw, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS))
    one = job(prompts={"texts": [], "file": str(file)})
    one.go_on(stop_after=1)
    file.write_text("a green cross on the right")
    one.go_on()
    assert [prompt.prompt for prompt in one.prefset.prompts.values()] == PROMPTS and len(lines(one)) == 4


# --------------------------------------------------------------------------- memory, adapters, the null condition


def test_memory_that_runs_out_halves_the_batch(job: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    draw = Drawer.draw_batch

    def small(self: Drawer, requests: Any) -> list[Image.Image]:
        tried.append(len(requests))
        if len(requests) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return draw(self, requests)

    monkeypatch.setattr(Drawer, "draw_batch", small)
    one = job(pictures={"batch_size": 4})
    assert one.go_on().done == 4 and tried == [4, 2, 1, 1, 1, 1]
    warned = [event for event in one.events if isinstance(event, Warned)]
    assert [event.code for event in warned] == ["batch_halved", "batch_halved"]
    assert warned[-1].hint == "Next time: pictures.batch_size = 1."


def test_memory_that_one_picture_lacks_ends_the_job_with_a_remedy(job: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Drawer, requests: Any) -> list[Image.Image]:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Drawer, "draw_batch", full)
    with pytest.raises(AtelierError, match="fp8"):
        job().go_on()


def test_an_adapter_is_named_with_each_picture_and_draws_others(job: Draw, tmp_path: Path) -> None:
    plain = job()
    plain.go_on()
    family = load_family(resolve.train_config(plain.config, CPU), Runtime(torch.device("cpu"), torch.float32))
    file = write_lora(tmp_path / "high.safetensors", family, "transformer", **{"atelier.base": "sandbox"})
    worn = job(adapter={"file": str(file), "strength": 0.5})
    assert worn.go_on().done == 4
    by_adapter = {bool(picture.gen["adapters"]): picture for picture in worn.prefset.pictures.values()}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert by_adapter[True].gen["adapters"] == [{"path": str(file), "hash": digest, "scale": 0.5}]
    assert by_adapter[True].image_id != by_adapter[False].image_id and len(files(worn)) == 8
    moved = tmp_path / "moved.safetensors"
    os.replace(file, moved)
    assert job(adapter={"file": str(moved), "strength": 0.5}).go_on().done == 0, "the same file elsewhere"
    assert job(adapter={"file": str(moved), "strength": 1.0}).go_on().done == 4


def test_without_a_negative_prompt_pictures_turn_away_from_what_training_drops_captions_to(
    job: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = captions.draw(["a red circle"], 1.0, 0)
    asked: list[DrawRequest] = []
    draw = Drawer.draw_batch

    def look(self: Drawer, requests: Any) -> list[Image.Image]:
        asked.extend(requests)
        return draw(self, requests)

    monkeypatch.setattr(Drawer, "draw_batch", look)
    job().go_on()
    assert {request.negative for request in asked} == {dropped} == {""}
