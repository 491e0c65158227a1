"""What a checkpoint file lacks is found where people keep such files, written into the run, or asked for by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests import headers
from tests.checks import check, found, lay_out
from tests.headers import SDXL, write_header
from trainers import catalog, resolve
from trainers.config import Model, TrainConfig
from trainers.machine import Machine
from trainers.weights.find import fields_found
from trainers.weights.parts import parts_found, parts_of
from trainers.weights.source import PARTS, source_of

MACHINE = Machine("cuda", "a card", 24.0, 64.0, 8, bf16=True)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "models"


def flux_file(path: Path) -> Path:
    return write_header(path, headers.flux())


def parts_in(vae: Path, clip: Path, t5: Path) -> dict[str, Any]:
    write_header(vae, headers.vae(16))
    write_header(clip, headers.CLIP_L)
    write_header(t5, headers.T5)
    return {"vae": str(vae), "text_encoders": {str(clip), str(t5)}}


def found_for(base: Path, **fields: Any) -> dict[str, Any]:
    values = fields_found(Model.model_validate({"base": str(base), "family": "flux", **fields}))
    return {"vae": values["vae"], "text_encoders": set(values["text_encoders"])}


LAYOUTS = {
    "beside the file": ("flux.safetensors", "ae.safetensors", "clip_l.safetensors", "t5.safetensors"),
    "ComfyUI": (
        "unet/flux1-dev.safetensors",
        "vae/ae.safetensors",
        "clip/clip_l.safetensors",
        "clip/t5xxl_fp16.safetensors",
    ),
    "ComfyUI of today": (
        "diffusion_models/flux/dev.safetensors",
        "vae/ae.safetensors",
        "text_encoders/clip_l.safetensors",
        "text_encoders/t5xxl_fp8_e4m3fn.safetensors",
    ),
    "Forge": (
        "Stable-diffusion/flux.safetensors",
        "VAE/ae.safetensors",
        "text_encoder/clip_l.safetensors",
        "text_encoder/t5xxl_fp16.safetensors",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_are_found_where_people_keep_them(layout: str, models: Path) -> None:
    base, *others = (models / name for name in LAYOUTS[layout])
    expected = parts_in(*others)
    assert found_for(flux_file(base)) == expected


def test_parts_are_found_in_ateliers_own_folder(models: Path, tmp_path: Path) -> None:
    own = tmp_path / "data/models/flux"
    expected = parts_in(own / "vae/ae.safetensors", own / "a.safetensors", own / "b.safetensors")
    assert found_for(flux_file(models / "far/flux.safetensors")) == expected


def test_what_is_given_is_kept(models: Path) -> None:
    parts = parts_in(models / "ae.safetensors", models / "clip_l.safetensors", models / "t5.safetensors")
    mine = write_header(models / "elsewhere/mine.safetensors", headers.CLIP_L)
    values = found_for(flux_file(models / "flux.safetensors"), vae="owner/vae", text_encoders=(str(mine),))
    assert values == {"vae": "owner/vae", "text_encoders": {str(mine), str(models / "t5.safetensors")}}
    assert parts["vae"] not in values.values()


def test_usual_name_is_taken_before_others(models: Path) -> None:
    for name in ("a_t5.safetensors", "t5xxl_fp8_e4m3fn.safetensors", "t5xxl_fp16.safetensors"):
        write_header(models / name, headers.T5)
    assert found_for(flux_file(models / "flux.safetensors"))["text_encoders"] == {
        str(models / "t5xxl_fp16.safetensors")
    }


def test_vae_of_another_family_is_left_alone(models: Path) -> None:
    write_header(models / "sd3_vae.safetensors", headers.vae(16))
    write_header(models / "sdxl_vae.safetensors", headers.vae(4))
    assert found_for(flux_file(models / "flux.safetensors"))["vae"] == ""


def test_half_a_download_is_not_taken(models: Path) -> None:
    vae = write_header(models / "ae.safetensors", headers.vae(16))
    with vae.open("r+b") as file:
        file.truncate(1000)
    assert found_for(flux_file(models / "flux.safetensors"))["vae"] == ""


def test_whole_checkpoint_needs_nothing(models: Path) -> None:
    base = write_header(models / "sdxl.safetensors", SDXL)
    write_header(models / "sdxl_vae.safetensors", headers.vae(4))
    assert fields_found(Model(base=str(base), family="sdxl")) == {"vae": "", "text_encoders": ()}


def resolved(base: Path, **fields: Any) -> TrainConfig:
    return resolve.resolve(TrainConfig.model_validate({"model": {"base": str(base), **fields}}), MACHINE)


def test_resolving_writes_the_parts_into_the_run_and_is_idempotent(models: Path) -> None:
    expected = parts_in(models / "ae.safetensors", models / "clip_l.safetensors", models / "t5.safetensors")
    config = resolved(flux_file(models / "flux.safetensors"))
    assert (config.model.family, config.model.vae) == ("flux", expected["vae"])
    assert set(config.model.text_encoders) == expected["text_encoders"]
    (models / "ae.safetensors").unlink()  # a stored run says what it used
    assert resolve.resolve(config, MACHINE) == config
    places = source_of(resolved(models / "flux.safetensors", vae="owner/vae").model).places
    assert {name: Path(place.path).name for name, place in places.items()} == {
        "transformer": "flux.safetensors",
        "vae": "vae",
        "text_encoder": "clip_l.safetensors",
        "text_encoder_2": "t5.safetensors",
    }


# --------------------------------------------------------------------------- what people are told


@pytest.mark.parametrize("name", [name for name, model in catalog.MODELS.items() if not model.built_in])
def test_parts_of_a_model_are_those_of_its_pipeline(name: str) -> None:
    parts = parts_of(name)
    family = catalog.MODELS[name].family
    assert {part.component for part in parts} == set(PARTS[family])
    assert all(part.names and part.size_gib > 0 and part.licence and "/" in part.where for part in parts)


def test_page_sees_what_is_there_and_what_is_not(models: Path) -> None:
    vae = write_header(models / "ae.safetensors", headers.vae(16))
    base = flux_file(models / "flux.safetensors")
    states = {state.spec.component: state.found for state in parts_found(resolved(base).model)}
    assert states == {"transformer": str(base), "vae": str(vae), "text_encoder": "", "text_encoder_2": ""}


def test_parts_of_a_folder_lie_in_it(place: Path) -> None:
    states = parts_found(Model(base=str(place / "model"), family="flux"))
    assert {state.found for state in states} == {str(place / "model")}
    assert {state.found for state in parts_found(Model(base="sdxl", family="sdxl"))} == {""}, "not downloaded"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


def of_base(place: Path, base: Path, **fields: Any) -> Any:
    return check(place, {"model": {"base": str(base), **fields}})


def test_missing_part_is_a_problem_that_says_where_it_can_be_had(place: Path, models: Path) -> None:
    base = flux_file(models / "flux.safetensors")
    write_header(models / "clip_l.safetensors", headers.CLIP_L)
    write_header(models / "t5.safetensors", headers.T5)
    problem = found(of_base(place, base), "model_lacks")
    assert (problem.level, problem.field) == ("problem", "model.vae")
    assert problem.message == "flux.safetensors holds no VAE, and none was found on this machine."
    assert "ae.safetensors (0.3 GB, from black-forest-labs/FLUX.1-schnell)" in problem.hint


def test_whole_file_is_fine(place: Path, models: Path) -> None:
    base = write_header(models / "sdxl.safetensors", SDXL)
    assert found(of_base(place, base), "model").level == "ok"


def test_pickle_that_is_not_allowed_is_a_problem(place: Path, models: Path) -> None:
    models.mkdir()
    state = {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2, 4, 3, 3)}
    torch.save({"state_dict": state}, models / "x.ckpt")
    problem = found(of_base(place, models / "x.ckpt"), "model_file")
    assert problem.field == "model.base" and "model.allow_pickle" in problem.hint


def test_folder_that_is_no_configuration_is_a_problem(place: Path, models: Path) -> None:
    base = write_header(models / "sdxl.safetensors", SDXL)
    problems = [f for f in of_base(place, base, config=str(models)).findings if f.code == "no_model_config"]
    assert {problem.field for problem in problems} == {"model.config"} and len(problems) == 4


@pytest.mark.parametrize("gone", ["/gone/ae.safetensors", "gone/ae.safetensors"], ids=["absolute", "like an id"])
def test_vae_that_is_gone_is_a_problem_at_its_field(gone: str, place: Path, models: Path) -> None:
    base = write_header(models / "sdxl.safetensors", SDXL)
    assert found(of_base(place, base, vae=gone), "model_file").field == "model.vae"


def test_base_that_is_gone_is_not_taken_for_an_id(place: Path) -> None:
    values = {"model": {"base": "models/gone.safetensors", "family": "sdxl"}}
    assert found(check(place, values), "no_model_id").field == "model.base"


def test_part_that_is_gone_is_a_problem_at_its_field(place: Path, models: Path) -> None:
    base = write_header(models / "sdxl.safetensors", SDXL)
    problem = found(of_base(place, base, text_encoders=[str(models / "gone.safetensors")]), "model_file")
    assert problem.field == "model.text_encoders" and "is not there" in problem.message


def test_file_of_a_folder_that_is_cut_off_is_a_problem(place: Path) -> None:
    weights = write_header(place / "model/vae/diffusion_pytorch_model.safetensors", headers.vae(16))
    with weights.open("r+b") as file:
        file.truncate(2000)
    problem = found(check(place), "model_file")
    assert problem.field == "model.base" and "diffusion_pytorch_model.safetensors is incomplete" in problem.message
