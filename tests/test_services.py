"""The studio as the pages use it: answers, sizes, times, and what it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from PIL import Image

from app.monitoring.gpu import Gpu, Reading, Sampler, read_gpu
from app.monitoring.metrics import MAX_POINTS, Series, first_words
from app.services import format, views
from app.services.studio import Studio
from tests.test_supervisor import FAKE, wait_for
from trainers.errors import AtelierError
from trainers.machine import Machine
from trainers.rundir import RunDir, worker_info

MACHINE = Machine("cpu", "test processor", 8.0, 8.0, 2, bf16=False)


def make_pictures(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (64, 64), (index * 20 % 255, 90, 90)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"picture {index}", encoding="utf-8")
    return folder


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """What a page sends: a model folder and pictures of the test's own."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}', encoding="utf-8")
    pictures = make_pictures(tmp_path / "pictures")
    return {
        "run": {"name": "dog"},
        "model": {"base": str(model)},
        "data": {"folder": str(pictures), "resolution": 64},
        "schedule": {"max_steps": 300},
    }


Make = Callable[..., Studio]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes started studios on one data folder; ends them, and workers that are left."""
    made: list[Studio] = []

    def studio(mode: str = "ok") -> Studio:
        made.append(Studio(tmp_path / "data", machine=MACHINE, worker_command=[*FAKE, mode]))
        made[-1].start()
        return made[-1]

    yield studio
    for one in made:
        one.close()
    for file in tmp_path.glob("data/runs/*/worker.json"):
        info = worker_info(RunDir(file.parent))
        if info and info.alive:
            psutil.Process(info.pid).kill()


def start(studio: Studio, values: dict[str, Any]) -> str:
    started = studio.start_run(values)
    assert started.errors == [] and started.run_id
    return started.run_id


def wait_state(studio: Studio, run_id: str, *states: str) -> None:
    wait_for(lambda: studio.poll(run_id, 0)["state"] in states, f"{states}")


# configuration


def test_the_draft_survives_a_restart(make: Make) -> None:
    first = make()
    assert first.draft().preset == "sandbox" and first.draft().values["model"]["base"] == "sandbox"
    first.save_draft("mine", {"captions": {"trigger": "Männchen 猫"}})
    first.close()
    draft = make().draft()
    assert (draft.preset, draft.values) == ("mine", {"captions": {"trigger": "Männchen 猫"}})


def test_a_damaged_draft_starts_anew(make: Make) -> None:
    studio = make()
    studio.save_draft("mine", {})
    (studio.data_dir / "settings" / "draft.json").write_text("{", encoding="utf-8")
    assert studio.draft().preset == "sandbox"


def test_own_presets_are_listed_and_broken_ones_left_out(make: Make) -> None:
    studio = make()
    own = studio.data_dir / "presets"
    own.mkdir()
    (own / "mine.toml").write_text('title = "Mine"\n[adapter]\nrank = 4\n', encoding="utf-8")
    (own / "broken.toml").write_text("[adapter\n", encoding="utf-8")
    found = {preset.name: preset for preset in studio.presets()}
    assert found["mine"].title == "Mine" and found["mine"].values == {"adapter": {"rank": 4}}
    assert found["sandbox"].title and "broken" not in found


def test_model_cards_say_what_fits(make: Make) -> None:
    cards = {card.name: card for card in make().models()}
    assert cards["sandbox"].fit == "yes" and cards["flux-dev"].fit == "no"
    assert cards["flux-dev"].size == "31.4 GB" and cards["flux-dev"].gated


def test_preview_always_says_steps_time_and_memory(make: Make, values: dict[str, Any]) -> None:
    preview = make().preview(values)
    assert preview.config and preview.plan and preview.errors == []
    assert preview.line.startswith("300 steps, about ") and preview.line.endswith(" of 8.0 GB")
    assert preview.config.run.output_dir.endswith("runs") and 'name = "dog"' in preview.toml


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"adapter": {"rank": 0}}, "adapter.rank"),
        ({"adapter": {"ranc": 1}}, "adapter.ranc"),
        ({"model": {"base": "no-such-model"}}, "model.base"),
        ({"data": {"resolution": 1000}}, "data.resolution"),
    ],
)
def test_preview_names_the_field_that_is_wrong(
    make: Make, values: dict[str, Any], change: dict[str, Any], path: str
) -> None:
    preview = make().preview({**values, **change})
    assert preview.config is None and [error.path for error in preview.errors] == [path]
    assert preview.line.startswith("Cannot say yet") and path in preview.line


def test_a_second_preview_is_fast_and_sees_changes_of_the_folder(make: Make, values: dict[str, Any]) -> None:
    studio = make()
    studio.preview(values)
    begun = time.monotonic()
    assert studio.preview(values).plan
    assert time.monotonic() - begun < 0.2
    Image.new("RGB", (64, 64)).save(Path(values["data"]["folder"]) / "more.png")
    plan = studio.preview(values).plan
    assert plan and plan.pictures == 4


def test_measured_speed_replaces_the_guess(make: Make, values: dict[str, Any]) -> None:
    studio = make("ok")
    guess = studio.preview(values).plan
    wait_state(studio, start(studio, values), "done")
    measured = studio.preview({**values, "run": {"name": "again"}}).plan
    assert guess and measured and not guess.measured
    assert measured.measured and measured.seconds_per_step == 0.01


# runs


def test_start_answers_fast_and_is_listed_at_once(make: Make, values: dict[str, Any]) -> None:
    studio = make("slow")
    studio.preview(values)
    begun = time.monotonic()
    run_id = start(studio, values)
    assert time.monotonic() - begun < 0.5
    assert [run.id for run in studio.runs()] == [run_id]
    assert [run.id for run in studio.runs(search="DOG")] == [run_id] and studio.runs(search="cat") == []
    assert studio.runs(state="done") == []


@pytest.mark.parametrize(
    ("change", "path"),
    [({"data": {"folder": "/no/such/folder"}}, "data.folder"), ({"run": {"name": "a/b"}}, "run.name")],
)
def test_a_run_that_cannot_work_is_not_started(
    make: Make, values: dict[str, Any], change: dict[str, Any], path: str
) -> None:
    studio = make()
    started = studio.start_run({**values, **change})
    assert started.run_id is None and started.errors[0].path == path and studio.runs() == []


def test_a_name_is_used_once(make: Make, values: dict[str, Any]) -> None:
    studio = make()
    start(studio, values)
    again = studio.start_run(values)
    assert again.run_id is None and again.errors[0].path == "run.name"


def test_a_run_in_full(make: Make, values: dict[str, Any]) -> None:
    studio = make("ok")
    run_id = start(studio, values)
    wait_state(studio, run_id, "done")
    detail = studio.run(run_id)
    answer = studio.poll(run_id, 0)
    assert answer["measured"] == {"concept": [2, 94]} and answer["reason"].startswith("concept present in 2 %")
    assert [10, "warned", "Achtung: 注意"] in [list(mark) for mark in answer["marks"]]
    assert detail and detail.summary.name == "dog" and 'name = "dog"' in detail.toml
    assert [(file.name, file.url) for file in detail.files] == [
        ("dog.safetensors", f"/file/adapter/{run_id}/dog.safetensors")
    ]
    assert [sample.step for sample in detail.samples] == [0, 20] and not detail.resumable
    assert detail.samples[0].url.startswith(f"/file/sample/{run_id}/step-000000-0.png?v=")
    assert studio.run("unknown") is None and studio.poll("unknown", 0)["state"] == "unknown"


def test_a_page_gathers_every_point_by_its_cursor(make: Make, values: dict[str, Any]) -> None:
    studio = make("slow")
    run_id = start(studio, values)
    have: list[Any] = []
    give_up = time.monotonic() + 20
    while len(have) < 15:
        assert time.monotonic() < give_up
        answer = studio.poll(run_id, len(have))
        assert answer["from"] == len(have)
        have += answer["points"]
        assert len(json.dumps(answer, separators=(",", ":"))) <= 1024 or len(answer["points"]) > 8
        time.sleep(0.02)
    assert [point[0] for point in have] == list(range(1, len(have) + 1))
    assert studio.poll(run_id, 10_000_000)["from"] == 0
    assert studio.command(run_id, "save") and studio.command(run_id, "stop")
    wait_state(studio, run_id, "stopped")
    assert studio.resume_run(run_id).run_id == run_id
    wait_state(studio, run_id, "running")


def test_a_pause_is_shown_and_is_no_work(make: Make, values: dict[str, Any]) -> None:
    studio = make("slow")
    run_id = start(studio, values)
    wait_for(lambda: studio.poll(run_id, 0)["n"], "a step")
    studio.command(run_id, "pause")
    wait_state(studio, run_id, "paused")
    before = studio.poll(run_id, 0)
    time.sleep(1.1)
    after = studio.poll(run_id, 0)
    assert (after["step"], after["elapsed_s"]) == (before["step"], before["elapsed_s"])
    assert studio.header()["state"] == "paused" and [run.id for run in studio.runs(state="paused")] == [run_id]
    studio.command(run_id, "resume")
    wait_for(lambda: studio.poll(run_id, 0)["step"] > before["step"], "another step")
    assert studio.poll(run_id, 0)["state"] == "running"
    studio.command(run_id, "pause")
    wait_state(studio, run_id, "paused")
    studio.command(run_id, "stop")
    wait_state(studio, run_id, "stopped")


def test_stop_takes_a_waiting_run_out_of_the_queue(make: Make, values: dict[str, Any]) -> None:
    studio = make("slow")
    start(studio, values)
    waiting = start(studio, {**values, "run": {"name": "cat"}})
    assert studio.header()["waiting"] == 1
    assert studio.command(waiting, "stop") == "Taken out of the queue."
    assert studio.poll(waiting, 0)["state"] == "stopped" and studio.header()["waiting"] == 0
    with pytest.raises(AtelierError, match="does not wait"):
        studio.cancel(waiting)


def test_header_is_small(make: Make, values: dict[str, Any]) -> None:
    studio = make("slow")
    run_id = start(studio, {**values, "run": {"name": "名" * 60}})
    wait_state(studio, run_id, "running")
    header = studio.header()
    assert header["run"] == run_id and header["state"] == "running"
    assert len(json.dumps(header, ensure_ascii=False).encode()) < 500


def test_a_deleted_run_goes_to_the_trash_but_never_while_it_runs(make: Make, values: dict[str, Any]) -> None:
    studio = make("slow")
    run_id = start(studio, values)
    wait_state(studio, run_id, "running")
    with pytest.raises(AtelierError, match="Stop it first"):
        studio.delete_run(run_id)
    studio.command(run_id, "stop")
    wait_state(studio, run_id, "stopped")
    studio.delete_run(run_id)
    assert studio.runs() == [] and not (studio.data_dir / "runs" / "dog").exists()
    assert len(list((studio.data_dir / "trash").glob("dog-*/config.toml"))) == 1


def test_the_log_is_sent_in_parts_of_16_kb(make: Make, values: dict[str, Any]) -> None:
    studio = make("slow")
    run_id = start(studio, values)
    path = RunDir(studio.data_dir / "runs" / "dog").log
    wait_for(path.exists, "the log")
    with path.open("ab") as file:
        file.write("é line\n".encode() * 5000)
    first = studio.log(run_id, 0)
    assert len(first["text"].encode()) <= 16_384 + 3 and first["text"].endswith("é line\n")
    with path.open("ab") as file:
        file.write(b"more\n")
    assert studio.log(run_id, first["offset"])["text"] == "more\n"
    assert studio.log("unknown", 0) == {"offset": 0, "text": ""}


# payloads and series


def series_of(count: int) -> Series:
    series = Series()
    records = [
        {
            "seq": step,
            "time": 1.7e9 + step / 3,
            "kind": "step",
            "step": step,
            "loss": 0.123456789 / step,
            "learning_rate": 1.23456789e-4,
            "grad_norm": 0.987654321,
            "seconds": 0.333333333,
            "memory_gib": 11.87654321,
        }
        for step in range(1, count + 1)
    ]
    series.add(records, 0, 1)
    return series


def test_a_tick_with_new_points_is_at_most_1_kb(make: Make, values: dict[str, Any]) -> None:
    studio = make("ok")
    run_id = start(studio, values)
    wait_state(studio, run_id, "done")
    row = studio._store.get(run_id)
    assert row
    gpu = Gpu("card", 10.87654321, 23.987654321, 97.0, 71.0, 250.5)
    reading = Reading(0.0, gpu, 12.3456, 7.654321, 31.98765)
    series = series_of(3000)
    shares = {"concept": 0.94, "others": 0.97}
    series.add([{"kind": "measured", "step": step, "values": shares} for step in (0, 3000)], 1, 2)
    payload = views.poll_payload(row, "running", series, 2995, reading, None)
    assert len(payload["points"]) == 5
    assert len(json.dumps(payload, separators=(",", ":"))) <= 1024


def test_a_long_run_is_thinned_evenly_and_pages_start_anew() -> None:
    series = series_of(MAX_POINTS)
    revision = series.revision
    series.add([{"kind": "step", "step": MAX_POINTS + 1, "loss": 1.0}], 1, 2)
    assert series.stride == 2 and series.revision == revision + 1
    assert [point[0] for point in series.points] == list(range(1, MAX_POINTS + 2, 2))
    assert series.since(MAX_POINTS, 400).first == 0


def test_going_back_to_a_checkpoint_forgets_the_steps_after_it() -> None:
    series = series_of(30)
    series.begin_session()
    series.add([{"kind": "step", "step": 21, "loss": 1.0, "time": 1.8e9}], 1, 2)
    assert [point[0] for point in series.points] == list(range(1, 22))
    assert series.marks[-1] == (21, "resumed") and series.revision == 1
    assert series.worked_s < 60, "the pause between two workers is no work"


def test_a_series_takes_each_record_once_and_notices_a_gap() -> None:
    series = series_of(3)
    assert series.add([{"kind": "step", "step": 4, "loss": 1.0}], 0, 1)
    assert series.step == 3, "bytes that are in already are passed over"
    assert not series.add([{"kind": "step", "step": 9, "loss": 1.0}], 5, 9) and series.step == 3


def test_a_loss_that_is_no_number_is_sent_as_null() -> None:
    series = Series()
    series.add([{"kind": "step", "step": 1, "loss": None, "seconds": 1.0}], 0, 1)
    assert series.points[0][:2] == (1, None)


def test_marks_hold_the_first_words_of_a_warning() -> None:
    message = "3 of 12 captions are longer than the text encoder reads; the rest is cut off."
    assert first_words(message) == "3 of 12 captions are longer than the ..." and len(first_words("长" * 99)) <= 42
    assert first_words("short.") == "short."


def test_an_event_of_another_version_does_not_hide_the_others() -> None:
    series = Series()
    odd = [{"kind": "sample_ready"}, {"kind": "step", "step": "three"}, {"kind": "unheard_of"}, {}]
    series.add([*odd, {"kind": "step", "step": 1, "loss": 1.0}], 0, 1)
    assert series.step == 1 and series.offset == 1


def test_a_card_that_does_not_tell_everything_is_still_shown() -> None:
    class Refused(Exception):
        """What NVML raises."""

    def refuse(card: object) -> None:
        raise Refused

    api = SimpleNamespace(
        NVMLError=Refused,
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetMemoryInfo=lambda card: SimpleNamespace(used=2 * 2**30, total=8 * 2**30),
        nvmlDeviceGetPowerUsage=refuse,
        nvmlDeviceGetUtilizationRates=refuse,
        nvmlDeviceGetName=lambda card: "card",
        nvmlDeviceGetTemperature=lambda card, sensor: 60,
    )
    assert read_gpu(api, object()) == Gpu("card", 2.0, 8.0, None, 60, None)
    api.nvmlDeviceGetMemoryInfo = refuse
    assert read_gpu(api, object()) is None
    assert read_gpu(None, None) is None


def test_use_is_averaged_over_the_time_of_the_worker_that_goes_on() -> None:
    now = time.time()
    series = Series()
    series.add([{"kind": "phase_changed", "phase": "preparing", "time": now - 1000}], 0, 1)
    readings = [
        Reading(now - age, None, 10.0 if age > 1000 else age % 2 * 100.0, 1.0, 2.0) for age in range(1999, 0, -1)
    ]
    points = views.use_history("running", series, readings)
    assert len(points) == 200, "1,000 readings, five in a point"
    assert [point[0] for point in points] == list(range(4, 1000, 5))
    assert {point[1] for point in points} == {None} and {point[2] for point in points} == {40, 60}
    assert len(json.dumps(points)) < 5000


def test_use_leaves_pauses_out() -> None:
    now = time.time()
    series = Series()
    events = [("training", 100), ("paused", 80), ("training", 30), ("paused", 20)]
    series.add([{"kind": "phase_changed", "phase": phase, "time": now - age} for phase, age in events], 0, 1)
    readings = [Reading(now - age, None, 5.0, 1.0, 2.0) for age in (99, 81, 79, 50, 31, 29, 21, 19, 1)]
    assert [point[0] for point in views.use_history("paused", series, readings)] == [1, 19, 21, 29]
    assert views.elapsed_s("paused", series) == 30


def test_the_sampler_reads_the_machine() -> None:
    sampler = Sampler(period_s=0.01)
    sampler.start()
    wait_for(lambda: len(sampler.history()) >= 2, "two readings")
    sampler.close()
    reading = sampler.latest()
    assert reading and 0 < reading.ram_used_gib <= reading.ram_total_gib and 0 <= reading.cpu_percent <= 100


def test_numbers_read_well() -> None:
    assert [format.duration(s) for s in (None, 41, 260, 7500)] == ["-", "41 s", "4 min 20 s", "2 h 5 min"]
    sizes = {12: "12 bytes", 12_288: "12 kB", 3.5 * 2**20: "3.5 MB", 10.8 * 2**30: "10.8 GB"}
    assert {number: format.size(number) for number in sizes} == sizes
    assert format.count(1, "step") == "1 step" and format.count(3000, "step") == "3,000 steps"
