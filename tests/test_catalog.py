"""The tables of families and models: their numbers are the published ones, and target sets mean what they say."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from trainers import catalog
from trainers.errors import ConfigError
from trainers.machine import GIB
from trainers.paths import PROGRAM

DOUBLE_BLOCKS, SINGLE_BLOCKS = 19, 38

# parameters of the published models, counted from their configurations
CLIP_L, T5_XXL_ENCODER, VAE = 123_060_480, 4_762_310_656, 83_819_683
DENOISERS = {"flux-dev": 11_901_408_320, "flux-schnell": 11_891_178_560}


def flux_modules() -> list[str]:
    """Names of the linear layers of a FLUX.1 transformer in diffusers."""
    attention = [f"attn.{name}" for name in ("to_q", "to_k", "to_v")]
    double = [
        *attention,
        "attn.to_out.0",
        *(f"attn.{name}" for name in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")),
        *(f"{part}.net.{layer}" for part in ("ff", "ff_context") for layer in ("0.proj", "2")),
        "norm1.linear",
        "norm1_context.linear",
    ]
    single = [*attention, "proj_mlp", "proj_out", "norm.linear"]
    outside = ["x_embedder", "context_embedder", "norm_out.linear", "proj_out"]
    embedders = ("timestep_embedder", "guidance_embedder", "text_embedder")
    outside += [f"time_text_embed.{embedder}.linear_{layer}" for embedder in embedders for layer in (1, 2)]
    names = [f"transformer_blocks.{block}.{name}" for block in range(DOUBLE_BLOCKS) for name in double]
    names += [f"single_transformer_blocks.{block}.{name}" for block in range(SINGLE_BLOCKS) for name in single]
    return [*names, *outside]


def matched(scope: str) -> list[str]:
    pattern = catalog.FAMILIES["flux"].targets[scope].pattern
    return [name for name in flux_modules() if re.fullmatch(pattern, name)]


@pytest.mark.parametrize(
    ("scope", "in_double", "in_single", "outside"),
    [
        ("mmdit", 4, 3, 0),
        ("all", 8, 3, 0),
        ("all+ffs", 12, 5, 0),
        ("all+ffs+embedder", 12, 5, 1),
        ("ai-toolkit", 14, 6, 0),
        ("diffusers", 12, 3, 0),
        ("context", 4, 0, 0),
        ("context+ffs", 6, 0, 0),
    ],
)
def test_target_set_has_these_layers_a_block(scope: str, in_double: int, in_single: int, outside: int) -> None:
    names = matched(scope)
    for block in range(DOUBLE_BLOCKS):
        assert sum(name.startswith(f"transformer_blocks.{block}.") for name in names) == in_double
    for block in range(SINGLE_BLOCKS):
        assert sum(name.startswith(f"single_transformer_blocks.{block}.") for name in names) == in_single
    assert len(names) == DOUBLE_BLOCKS * in_double + SINGLE_BLOCKS * in_single + outside


def test_default_set_of_flux_has_266_layers() -> None:
    assert len(matched(catalog.FAMILIES["flux"].default_targets)) == 19 * 8 + 38 * 3 == 266


def test_small_sets_name_single_layers() -> None:
    assert matched("nano") == ["single_transformer_blocks.7.proj_out"]
    assert matched("tiny") == ["single_transformer_blocks.7.proj_out", "single_transformer_blocks.20.proj_out"]


@pytest.mark.parametrize("scope", catalog.FAMILIES["flux"].targets)
def test_no_set_reaches_the_end_of_the_model(scope: str) -> None:
    assert not {"proj_out", "norm_out.linear", "context_embedder"} & set(matched(scope))


def test_sets_with_more_in_their_name_hold_more() -> None:
    sets = [set(matched(scope)) for scope in ("mmdit", "all", "all+ffs", "all+ffs+embedder")]
    assert sets[0] < sets[1] < sets[2] < sets[3]
    assert set(matched("context")) < set(matched("all"))
    assert set(matched("all+ffs")) < set(matched("ai-toolkit"))


@pytest.mark.parametrize("name", DENOISERS)
def test_counts_are_the_published_ones(name: str) -> None:
    model = catalog.MODELS[name]
    assert model.denoiser_params == round(DENOISERS[name] / 1e9, 3)
    assert model.text_params == round((CLIP_L + T5_XXL_ENCODER) / 1e9, 3)
    assert model.vae_params == round(VAE / 1e9, 3)
    assert model.layers == DOUBLE_BLOCKS + SINGLE_BLOCKS
    assert model.width == 24 * 128, "24 heads of 128"


@pytest.mark.parametrize("name", DENOISERS)
def test_download_is_all_weights_in_two_bytes(name: str) -> None:
    weights = DENOISERS[name] + CLIP_L + T5_XXL_ENCODER + VAE
    assert math.isclose(catalog.MODELS[name].download_gib, 2 * weights / GIB, rel_tol=0.01)


@pytest.mark.parametrize("part", ["denoiser", "text", "vae"])
def test_counts_of_the_built_in_model_are_those_of_its_files(part: str) -> None:
    folders = {"denoiser": ["transformer"], "text": ["text_encoder", "text_encoder_2"], "vae": ["vae"]}[part]
    files = [file for name in folders for file in (PROGRAM / "assets/sandbox" / name).glob("*.safetensors")]
    assert len(files) == len(folders)
    told = getattr(catalog.MODELS["sandbox"], f"{part}_params") * 1e9
    assert math.isclose(sum(map(count_weights, files)), told, rel_tol=0.1)


def count_weights(file: Path) -> int:
    """Numbers in a safetensors file, from its header: 8 bytes of length, then JSON."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


@pytest.mark.parametrize("name", catalog.FAMILIES)
def test_family_hangs_together(name: str) -> None:
    family = catalog.FAMILIES[name]
    assert catalog.MODELS[family.default_model].family == name
    assert family.default_targets in family.targets
    assert (PROGRAM / (family.module.replace(".", "/") + ".py")).is_file()
    assert family.objectives


@pytest.mark.parametrize("name", catalog.MODELS)
def test_model_hangs_together(name: str) -> None:
    model = catalog.MODELS[name]
    family = catalog.FAMILIES[model.family]
    assert model.native_resolution % family.pixel_multiple == 0
    assert catalog.family_of(name) == model.family
    assert catalog.model_of(name, model.family) is catalog.model_of(model.source, model.family) is model


# --------------------------------------------------------------------------- which family a base is of


def model_folder(folder: Path, index: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(index, encoding="utf-8")
    return folder


def test_folder_is_recognised_by_its_pipeline(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "我的模型", '{"_class_name": "FluxPipeline"}')
    assert catalog.family_of(str(folder)) == "flux"
    assert catalog.source_of(str(folder)) == str(folder)
    assert catalog.model_of(str(folder), "flux") is catalog.MODELS["flux-dev"]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ('{"_class_name": "WuerstchenPipeline"}', "WuerstchenPipeline, which cannot be trained"),
        ("{}", "names no pipeline"),
        ("[]", "names no pipeline"),
        ("half a fi", "names no pipeline"),
    ],
)
def test_folder_of_another_kind_is_refused(tmp_path: Path, index: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        catalog.family_of(str(model_folder(tmp_path / "model", index)))
    assert caught.value.field == "model.base" and caught.value.hint


@pytest.mark.parametrize("base", ["flux-dve", "someone/unknown", "x" * 5000], ids=["near", "far", "long"])
def test_unknown_base_is_refused_with_a_remedy(base: str) -> None:
    with pytest.raises(ConfigError, match="neither a known model nor a file or folder") as caught:
        catalog.family_of(base)
    assert "set model.family" in caught.value.hint


def test_misspelt_base_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean flux-dev\?"):
        catalog.family_of("flux-dve")


def test_folder_without_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no model_index\.json"):
        catalog.family_of(str(tmp_path))


def test_missing_parts_are_those_that_the_index_names(tmp_path: Path) -> None:
    index = {"_class_name": "FluxPipeline", "vae": ["diffusers", "A"], "text_encoder": ["transformers", "B"]}
    folder = model_folder(tmp_path / "model", json.dumps({**index, "image_encoder": [None, None]}))
    (folder / "vae").mkdir()
    assert catalog.missing_parts(folder) == ["text_encoder"]
