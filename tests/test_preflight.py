"""Every bad input is told before anything loads, at its field and with its remedy."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.ui.texts import texts
from tests.machines import CARD_24, LAPTOP, resolved
from trainers import catalog, plan, preflight
from trainers.config import TrainConfig
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import GIB, Machine
from trainers.parameters import by_path
from trainers.preflight import Finding

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, four captioned pictures, and a base model that has all its parts."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    for index in range(4):
        add_picture(tmp_path / f"pictures/{index}.png", "a red wuzzle")
    index = {"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"], "image_encoder": [None, None]}
    (tmp_path / "model/vae").mkdir(parents=True)
    (tmp_path / "model/model_index.json").write_text(json.dumps(index))
    return tmp_path


def add_picture(path: Path, caption: str | None = None, size: tuple[int, int] = (64, 64)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")


def config_of(place: Path, values: dict[str, dict[str, Any]] | None = None) -> TrainConfig:
    """A config that passes, with some values changed."""
    sections: dict[str, dict[str, Any]] = {
        "run": {"name": "test"},
        "model": {"base": str(place / "model")},
        "data": {"folder": str(place / "pictures"), "resolution": 64},
        "schedule": {"max_steps": 10},
        "memory": {"quantize": "fp8"},
    }
    for section, part in (values or {}).items():
        sections[section] = {**sections.get(section, {}), **part}
    return resolved(sections, CARD_24)


def check(place: Path, values: dict[str, dict[str, Any]] | None = None, machine: Machine = CARD_24) -> preflight.Report:
    return preflight.check(config_of(place, values), machine)


def found(report: preflight.Report, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    assert texts("zh").finding(finding) != (finding.message, finding.hint), "its values fill the translation"
    return finding


def test_good_input_has_no_problems_and_no_warnings(place: Path) -> None:
    report = check(place)
    assert [finding.code for finding in report.findings] == ["pictures", "captions", "model"]
    assert all(finding.level == "ok" for finding in report.findings)
    assert report.plan and report.plan.pictures == 4 and report.plan.steps == 10
    report.raise_problems()


BAD_INPUTS = {
    "no_folder": ({"data": {"folder": ""}}, "data.folder"),
    "missing_folder": ({"data": {"folder": "gone"}}, "data.folder"),
    "not_a_folder": ({"data": {"folder": "pictures/0.png"}}, "data.folder"),
    "empty_folder": ({"data": {"folder": "model"}}, "data.folder"),
    "name_exists": ({"run": {"name": "taken"}}, "run.name"),
    "not_writable": ({"run": {"output_dir": "pictures/0.png"}}, "run.output_dir"),
    "no_adapter": ({"adapter": {"resume_from": "gone.safetensors"}}, "adapter.resume_from"),
    "no_model": ({"model": {"base": "pictures", "family": "flux"}}, "model.base"),
}


@pytest.mark.parametrize("code", BAD_INPUTS)
def test_bad_input_is_a_problem_at_its_field_with_a_remedy(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.chdir(place)
    add_picture(place / "data/runs/taken/samples/0.png")
    values, field = BAD_INPUTS[code]
    report = check(place, values)
    (problem,) = report.problems
    assert (problem.code, problem.field) == (code, field)
    assert field in by_path()
    assert problem.message.endswith(".") and problem.hint
    with pytest.raises(ConfigErrors) as caught:
        report.raise_problems()
    assert str(caught.value) == f"{field}: {problem.message} {problem.hint}"


def test_resolution_that_is_not_a_multiple_is_told(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.resolution: 1000 is not a multiple of 16.*Use 992 or 1008"):
        config_of(place, {"data": {"resolution": 1000}})


def test_unreadable_pictures_are_named_and_counted(place: Path) -> None:
    for index in range(7):
        (place / f"pictures/bad {index}.png").write_bytes(b"" if index else b"text")
    problem = found(check(place), "bad_pictures")
    assert problem.level == "problem" and problem.field == "data.folder" and problem.hint
    assert problem.message.startswith("7 pictures cannot be read: bad 0.png: not a picture")
    assert "bad 4.png: the file is empty and 2 more." in problem.message


def test_folder_that_may_not_be_read_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.W_OK)
    assert found(check(place), "not_readable").field == "data.folder"


@pytest.mark.parametrize(("section", "key"), [("run", "output_dir"), ("data", "cache_dir")])
def test_folder_that_may_not_be_written_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, section: str, key: str
) -> None:
    (place / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != place / "locked")
    problem = found(check(place, {section: {key: str(place / "locked/deep/inside")}}), "not_writable")
    assert problem.field == f"{section}.{key}" and str(place / "locked") in problem.message and problem.hint


def test_name_that_exists_is_no_problem_when_that_run_goes_on(place: Path) -> None:
    (place / "data/runs/test/samples").mkdir(parents=True)
    config = config_of(place)
    assert found(preflight.check(config, CARD_24), "name_exists")
    assert not preflight.check(config, CARD_24, resuming=True).problems


def test_empty_folder_of_the_name_is_free(place: Path) -> None:
    (place / "data/runs/test").mkdir(parents=True)
    assert not check(place).problems


def test_disk_that_is_too_small_is_told_with_both_sizes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need = check(place).plan.disk_gib + preflight.SPARE_DISK_GIB  # type: ignore[union-attr]
    for free, fits in ((need * 1.01, True), (need * 0.99, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Usage(0, 0, free * GIB))
        problems = check(place).problems
        assert [problem.code for problem in problems] == ([] if fits else ["disk"])
    assert problems[0].field == "run.output_dir" and f"{need:.1f} GB" in problems[0].message and problems[0].hint


def test_model_folder_that_lacks_a_part_is_told(place: Path) -> None:
    (place / "model/vae").rmdir()
    problem = found(check(place), "model_part")
    assert problem.level == "problem" and problem.message.endswith("lacks vae.")


# --------------------------------------------------------------------------- models of Hugging Face


def fake_cache(monkeypatch: pytest.MonkeyPatch, index: Path | None, free_gib: float = 1000.0) -> list[Any]:
    asked: list[Any] = []

    def try_to_load(repo: str, file: str, revision: str | None = None) -> str | None:
        asked.append((repo, file, revision))
        return str(index) if index else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", try_to_load)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free_gib * GIB))
    return asked


def test_download_is_told_with_its_size_and_the_licence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_cache(monkeypatch, None)
    warning = found(check(place, {"model": {"base": "flux-dev", "revision": "v1"}}), "download")
    assert warning.level == "warning" and "about 31.4 GB" in warning.message and "licence" in warning.hint
    assert asked == [("black-forest-labs/FLUX.1-dev", "model_index.json", "v1")]


def test_download_that_does_not_fit_is_a_problem(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cache(monkeypatch, None, free_gib=20.0)
    problem = found(check(place, {"model": {"base": "flux-dev"}}), "disk")
    assert problem.level == "problem" and problem.field == "model.base" and "20.0 GB are free" in problem.message


def test_downloaded_model_counts_only_when_it_is_whole(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cache(monkeypatch, place / "model/model_index.json")
    values = {"model": {"base": "flux-schnell"}}
    assert found(check(place, values), "model").level == "ok"
    (place / "model/vae").rmdir()
    assert found(check(place, values), "download").level == "warning"


def test_base_that_is_no_id_is_a_problem(place: Path) -> None:
    problem = found(check(place, {"model": {"base": "not an/id/at all", "family": "flux"}}), "no_model_id")
    assert problem.field == "model.base" and "owner/name" in problem.hint


# --------------------------------------------------------------------------- warnings


def test_missing_captions_are_counted(place: Path) -> None:
    for index in range(3):
        (place / f"pictures/{index}.txt").unlink()
    warning = found(check(place), "no_caption")
    assert warning.level == "warning" and warning.message.startswith("3 pictures without caption") and warning.hint
    warning = found(check(place, {"captions": {"trigger": "wuzzle"}}), "trigger_only")
    assert "'wuzzle' stands in" in warning.message


def test_captions_without_the_trigger_are_counted(place: Path) -> None:
    (place / "pictures/0.txt").write_text("a red Wuzzle on the left")
    (place / "pictures/1.txt").write_text("a red circle")
    warning = found(check(place, {"captions": {"trigger": "wuzzle"}}), "no_trigger")
    assert warning.level == "warning" and warning.message.startswith("1 caption without 'wuzzle'")


def test_small_pictures_are_counted(place: Path) -> None:
    warning = found(check(place, {"data": {"resolution": 512}}), "small_pictures")
    assert warning.message.startswith("4 pictures will be enlarged") and warning.field == "data.resolution"


def test_pictures_that_lose_much_are_counted(place: Path) -> None:
    add_picture(place / "pictures/panorama.png", "wide", (640, 64))
    assert found(check(place), "cropped_pictures").message.startswith("1 picture will lose more than 30%")


def test_warm_up_longer_than_the_run_is_told(place: Path) -> None:
    schedule = {"lr_scheduler": "cosine", "warmup_steps": 10}
    assert found(check(place, {"schedule": schedule}), "warmup").field == "schedule.warmup_steps"
    assert "warmup" not in {f.code for f in check(place, {"schedule": {**schedule, "warmup_steps": 9}}).findings}


def test_memory_that_is_too_small_is_a_warning(place: Path) -> None:
    small = Machine("cuda", "a 4 GB card", 4.0, 64.0, 8, bf16=True)
    warning = found(check(place, machine=small), "memory")
    assert warning.level == "warning" and "a 4 GB card has 4.0 GB" in warning.message and "fp8" in warning.hint


# --------------------------------------------------------------------------- what is counted


def test_pictures_are_counted_by_size(place: Path) -> None:
    add_picture(place / "pictures/tall.png", "tall", (60, 100))
    assert found(check(place), "pictures").message == "5 pictures in 2 sizes (48x80: 1, 64x64: 4)."


def test_plan_counts_batches_by_size(place: Path) -> None:
    """Seven pictures of one size would be two batches of four."""
    for index in range(2):
        add_picture(place / f"pictures/tall {index}.png", "tall", (60, 100))
    add_picture(place / "pictures/fifth.png", "square")
    report = check(place, {"schedule": {"batch_size": 4, "max_epochs": 1, "max_steps": 100}})
    assert report.plan and report.plan.steps == 3, "5 square in 2 batches, 2 tall in 1"


def test_unicode_and_odd_names_are_read(place: Path) -> None:
    add_picture(place / "我的 图片/ü (1).final.png", "\ufeffein roter Kreis\r\n")
    report = check(place, {"data": {"folder": str(place / "我的 图片")}})
    assert report.scan and [picture.caption for picture in report.scan.pictures] == ["ein roter Kreis"]
    assert not report.problems


def test_every_field_that_is_named_exists(place: Path) -> None:
    (place / "pictures/0.txt").unlink()
    report = check(place, {"data": {"resolution": 512}, "captions": {"trigger": "x"}}, LAPTOP)
    assert {finding.field for finding in report.findings} - {""} <= by_path().keys()


def test_unknown_base_of_a_family_is_planned_with_its_default_model(place: Path) -> None:
    report = check(place)
    expected = plan.forecast(config_of(place, {"model": {"base": "flux-dev"}}), CARD_24, 4)
    assert report.plan and report.plan.memory_gib == expected.memory_gib
    assert catalog.FAMILIES["flux"].default_model == "flux-dev"
