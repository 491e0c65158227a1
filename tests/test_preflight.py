"""Every bad input is told before anything loads, at its field and with its remedy."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from tests.checks import add_picture, check, codes, config_of, found, lay_out, mended
from tests.machines import CARD_24, LAPTOP
from trainers import catalog, plan, preflight
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import GIB, Machine
from trainers.parameters import by_path
from trainers.preflight.room import SPARE_DISK_GIB

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, pictures and a base model."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return lay_out(tmp_path)


def test_good_input_has_no_problems_and_no_warnings(place: Path) -> None:
    report = check(place)
    assert [finding.code for finding in report.findings] == ["layout_flat", "pictures", "captions", "epoch", "model"]
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


def test_a_free_name_is_offered(place: Path) -> None:
    (place / "data/runs/test/samples").mkdir(parents=True)
    assert not mended(place, found(check(place), "name_exists")).problems


def test_empty_folder_of_the_name_is_free(place: Path) -> None:
    (place / "data/runs/test").mkdir(parents=True)
    assert not check(place).problems


def test_disk_that_is_too_small_is_told_with_both_sizes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = check(place).plan
    assert expected
    need, cache = expected.disk_gib + SPARE_DISK_GIB, expected.cache_gib
    for free, told in ((need + 2 * cache, []), (need + cache / 2, ["cache_disk"]), (need * 0.99, ["disk"])):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: Usage(0, 0, free * GIB))
        problems = check(place).problems
        assert [problem.code for problem in problems] == told
    assert problems[0].field == "run.output_dir" and f"{need:.1f} GB" in problems[0].message and problems[0].hint


def test_cache_that_is_there_is_no_reason_to_stop(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = check(place).plan
    assert expected
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, (expected.disk_gib + SPARE_DISK_GIB) * GIB))
    assert found(check(place), "cache_disk").level == "problem"
    (place / "data/cache/latents").mkdir(parents=True)
    assert found(check(place), "cache_disk").level == "warning"


def test_fewer_checkpoints_are_offered_when_the_run_fits_then(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"save": {"every_steps": 1, "keep_last": 10}}
    many, one = (check(place, {"save": {"every_steps": 1, "keep_last": keep}}).plan for keep in (10, 1))
    assert many and one
    free = (many.disk_gib + one.disk_gib + one.cache_gib) / 2 + SPARE_DISK_GIB
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free * GIB))
    assert not mended(place, found(check(place, values), "disk"), values).problems
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    assert found(check(place, values), "disk").fix is None


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
    monkeypatch.setattr("trainers.weights.hub.is_offline", lambda: False)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free_gib * GIB))
    return asked


def test_download_is_told_with_its_size_and_the_licence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_cache(monkeypatch, None)
    warning = found(check(place, {"model": {"base": "flux-dev", "revision": "v1"}}), "gated_download")
    assert warning.level == "warning" and "about 31.4 GB" in warning.message and "licence" in warning.hint
    assert {(repo, revision) for repo, _, revision in asked} == {("black-forest-labs/FLUX.1-dev", "v1")}


def test_download_that_does_not_fit_is_a_problem(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cache(monkeypatch, None, free_gib=20.0)
    problem = found(check(place, {"model": {"base": "flux-dev"}}), "download_disk")
    assert problem.level == "problem" and problem.field == "model.base" and "20.0 GB are free" in problem.message


def test_downloaded_model_counts_only_when_it_is_whole(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cache(monkeypatch, place / "model/model_index.json")
    values = {"model": {"base": "flux-schnell"}}
    (place / "model/vae/config.json").write_text("{}")
    weights = place / "model/vae/diffusion_pytorch_model.safetensors"
    weights.touch()
    assert found(check(place, values), "model").level == "ok"
    weights.unlink()
    assert found(check(place, values), "download").level == "warning"


def test_base_that_is_no_id_is_a_problem(place: Path) -> None:
    problem = found(check(place, {"model": {"base": "not an/id/at all", "family": "flux"}}), "no_model_id")
    assert problem.field == "model.base" and "owner/name" in problem.hint


# --------------------------------------------------------------------------- warnings


def test_warm_up_longer_than_the_run_is_told(place: Path) -> None:
    schedule = {"lr_scheduler": "cosine", "warmup_steps": 10}
    assert found(check(place, {"schedule": schedule}), "warmup").field == "schedule.warmup_steps"
    mended(place, found(check(place, {"schedule": schedule}), "warmup"), {"schedule": schedule})
    assert "warmup" not in {f.code for f in check(place, {"schedule": {**schedule, "warmup_steps": 9}}).findings}


def test_memory_that_is_too_small_is_a_warning(place: Path) -> None:
    small = Machine("cuda", "a 4 GB card", 4.0, 64.0, 8, bf16=True)
    warning = found(check(place, machine=small), "memory")
    assert warning.level == "warning" and "a 4 GB card has 4.0 GB" in warning.message and "fp8" in warning.hint
    assert warning.fix is None, "nothing makes the largest model fit"


def test_system_memory_must_hold_the_base_while_it_is_loaded(place: Path) -> None:
    card = Machine("cuda", "a 24 GB card", 24.0, 16.0, 8, bf16=True)
    warning = found(check(place, machine=card), "ram")
    # 11.9 billion weights of two bytes are 22.2 GB, whatever they are packed to later
    assert warning.message.endswith("needs about 24 GB of system memory; this machine has 16 GB.") and warning.hint
    assert (warning.level, warning.fix) == ("warning", None)
    assert "ram" not in {finding.code for finding in check(place, machine=CARD_24).findings}
    told = [finding.code for finding in check(place, machine=LAPTOP).findings if finding.level == "warning"]
    assert told == ["memory"], "where it is one memory, it is told once"


def test_eight_bits_are_offered_when_the_run_fits_then(place: Path) -> None:
    card = Machine("cuda", "a 20 GB card", 20.0, 64.0, 8, bf16=True)
    values = {"memory": {"quantize": "none"}}
    warning = found(check(place, values, card), "memory")
    assert warning.fix and warning.fix.values == {"memory.quantize": "fp8"}
    mended(place, warning, values, card)


def test_every_field_that_is_named_exists(place: Path) -> None:
    (place / "pictures/0.txt").unlink()
    report = check(place, {"data": {"resolution": 512}, "captions": {"trigger": "x"}}, LAPTOP)
    assert {finding.field for finding in report.findings} - {""} <= by_path().keys()


def test_unknown_base_of_a_family_is_planned_with_its_default_model(place: Path) -> None:
    report = check(place)
    expected = plan.forecast(config_of(place, {"model": {"base": "flux-dev"}}), CARD_24, 4)
    assert report.plan and report.plan.memory_gib == expected.memory_gib
    assert catalog.FAMILIES["flux"].default_model == "flux-dev"


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_who_draws_a_dora_in_full_is_told(place: Path, kind: str) -> None:
    values = {"adapter": {"kind": kind}, "memory": {"quantize": "none"}}
    assert ("dora_others" in codes(check(place, values))) == (kind == "dora")
    if kind == "dora":
        found(check(place, {**values, "save": {"layout": "diffusers"}}), "dora_diffusers")


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [({}, True), ({"prediction_type": "epsilon"}, True), ({"prediction_type": "v_prediction"}, False)],
)
def test_zero_snr_of_a_base_that_predicts_noise_is_told_before_it_loads(
    place: Path, settings: dict[str, str], is_told: bool
) -> None:
    base = place / "older"
    (base / "scheduler").mkdir(parents=True)
    (base / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (base / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    report = check(place, {"model": {"base": str(base)}, "noise": {"zero_snr": "on"}, "memory": {"quantize": "none"}})
    assert ("zero_snr_epsilon" in codes(report)) == is_told
