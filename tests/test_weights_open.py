"""A single file gives the model that the folder gives: bit for bit, or within the rounding of 8 bits."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from tests import single_file as write
from tests.tiny import MAKERS, make_sd3
from trainers.config import Model
from trainers.data.tokens import shared
from trainers.errors import ConfigError
from trainers.weights import convert, reader
from trainers.weights.header import WeightsError
from trainers.weights.identity import base_hash
from trainers.weights.open import open_model, open_scheduler, open_skeleton, open_tokenizer
from trainers.weights.source import ModelSource, Place, place_of, source_of, stamp

CLASSES = {
    "sd15": {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel},
    "sdxl": {
        "unet": UNet2DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    },
    "sd3": {
        "transformer": SD3Transformer2DModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModelWithProjection,
        "text_encoder_2": CLIPTextModelWithProjection,
        "text_encoder_3": T5EncoderModel,
    },
    "flux": {
        "transformer": FluxTransformer2DModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": T5EncoderModel,
    },
}
WHOLE: dict[str, Callable[[Path, Path], Path]] = {
    "sd15": write.sd15_file,
    "sdxl": write.sdxl_file,
    "sd3": lambda folder, path: write.sd3_file(folder, path, bundled=True),
    "flux": lambda folder, path: write.flux_file(folder, path, prefix="model.diffusion_model.", bundled=True),
}
COMPONENTS = [(family, name) for family, classes in CLASSES.items() for name in classes]
CLIP_G = [("sdxl", "text_encoder_2"), ("sd3", "text_encoder_2")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("folders")
    return {family: make(root / family) for family, make in MAKERS.items()}


@pytest.fixture(scope="module")
def files(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("files")
    return {family: WHOLE[family](folder, root / f"{family}.safetensors") for family, folder in folders.items()}


def source(base: Path, config: Path | None = None, **fields: object) -> ModelSource:
    return source_of(Model.model_validate({"base": str(base), "config": str(config or ""), **fields}))


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def opened(source: ModelSource, family: str, name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    return open_model(source, name, CLASSES[family][name], dtype)


@pytest.mark.parametrize(("family", "name"), COMPONENTS)
def test_whole_checkpoint_equals_its_folder(
    family: str, name: str, folders: dict[str, Path], files: dict[str, Path]
) -> None:
    of_file = opened(source(files[family], folders[family]), family, name)
    of_folder = opened(source(folders[family]), family, name)
    if (family, name) == ("sd3", "text_encoder"):  # SD3 reads CLIP-L without its projection
        assert torch.equal(of_file.text_projection.weight, torch.eye(32))
        of_folder.text_projection.weight.data = torch.eye(32)
    assert same(of_file, of_folder)
    assert not of_file.training and not any(weight.requires_grad for weight in of_file.parameters())
    assert all(tensor.device.type == "cpu" for tensor in (*of_file.parameters(), *of_file.buffers()))


# --------------------------------------------------------------------------- parts in files of their own


def parts(folder: Path, root: Path, family: str) -> tuple[Path, Path, list[Path]]:
    """(denoiser, VAE, text encoders), each in a file as people have them."""
    clip = {name.removeprefix("text_model."): t for name, t in write.component(folder, "text_encoder").items()}
    clip_l = write.write(root / "clip_l.safetensors", write.below("text_model.", clip))
    vae = write.write(root / "vae.safetensors", write.vae(write.component(folder, "vae")))
    t5_name = "text_encoder_3" if family == "sd3" else "text_encoder_2"
    t5 = write.write(root / "t5xxl.safetensors", write.t5(write.component(folder, t5_name)))
    if family == "flux":
        return write.flux_file(folder, root / "flux.safetensors"), vae, [t5, clip_l]
    clip_g = write.write(root / "clip_g.safetensors", write.open_clip(write.component(folder, "text_encoder_2")))
    return write.sd3_file(folder, root / "sd3.safetensors", bundled=False), vae, [clip_g, t5, clip_l]


@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_parts_in_files_of_their_own_equal_the_folder(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    base, vae, encoders = parts(folders[family], tmp_path, family)
    of_files = source(base, folders[family], vae=str(vae), text_encoders=tuple(map(str, encoders)))
    of_folder = source(folders[family])
    for name in CLASSES[family]:
        if (family, name) != ("sd3", "text_encoder"):
            assert same(opened(of_files, family, name), opened(of_folder, family, name)), name


# CLIP-G in these names is known by its width of 1280, which the tiny one lacks
@pytest.mark.parametrize(("family", "name"), [one for one in COMPONENTS if one not in CLIP_G])
def test_component_in_diffusers_names_is_read_too(
    family: str, name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    if name in ("unet", "transformer"):
        base = write.write(tmp_path / "x.safetensors", write.component(folders[family], name))
        fields = {}
    else:
        base = folders[family]
        file = write.write(tmp_path / "part.safetensors", write.component(folders[family], name))
        fields = {"vae": str(file)} if name == "vae" else {"text_encoders": (str(file),)}
    of_folder = opened(source(folders[family]), family, name)
    of_file = opened(source(base, folders[family] if base.is_file() else None, **fields), family, name)
    if (family, name) == ("sd3", "text_encoder"):
        of_folder.text_projection.weight.data = torch.eye(32)
    assert same(of_file, of_folder)


def test_vae_with_the_layer_names_of_2022_is_read(folders: dict[str, Path], tmp_path: Path) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, tensor in write.component(folders["sd15"], "vae").items():
        for new, was in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{was}.")
        state[name] = tensor
    file = write.write(tmp_path / "old.safetensors", state)
    of_file = opened(source(folders["sd15"], vae=str(file)), "sd15", "vae")
    assert same(of_file, opened(source(folders["sd15"]), "sd15", "vae"))


# --------------------------------------------------------------------------- 8 bits and other number formats


@pytest.mark.parametrize("kind", ["cast", "scale_weight", "weight_scale"])
def test_fp8_file_is_within_the_rounding_of_8_bits(
    kind: str, folders: dict[str, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "fp8.safetensors"
    if kind == "cast":
        write.cast_to_fp8(files["flux"], path)
    else:
        write.scaled_to_fp8(files["flux"], path, kind, mark="model.diffusion_model.scaled_fp8")
    of_file, of_folder = source(path, folders["flux"]), source(folders["flux"])
    for name in CLASSES["flux"]:
        mine = opened(of_file, "flux", name).state_dict()
        for key, exact in opened(of_folder, "flux", name).state_dict().items():
            # three bits behind the point: half a step is 1/16 of the number, and 2^-10 near zero
            smallest = 2**-10 if kind == "cast" else exact.abs().max().item() * 2**-10 / write.FP8_MAX
            assert torch.all((mine[key] - exact).abs() <= exact.abs() / 16 + smallest), key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_file_and_folder_are_cast_alike(dtype: torch.dtype, folders: dict[str, Path], files: dict[str, Path]) -> None:
    for name in CLASSES["flux"]:
        of_file = opened(source(files["flux"], folders["flux"]), "flux", name, dtype)
        of_folder = opened(source(folders["flux"]), "flux", name, dtype)
        assert same(of_file, of_folder)
        mine, theirs = of_file.state_dict(), of_folder.state_dict()
        assert {key: tensor.dtype for key, tensor in mine.items()} == {k: t.dtype for k, t in theirs.items()}


def test_only_the_tensors_of_a_component_are_read(
    folders: dict[str, Path], files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak of memory is the component, not the file."""
    asked: list[str] = []

    class Counting:
        def __init__(self, path: str, framework: str) -> None:
            self._file = safe_open(path, framework)

        def __enter__(self) -> Counting:
            self._file.__enter__()
            return self

        def __exit__(self, *error: object) -> None:
            self._file.__exit__(*error)

        def get_tensor(self, name: str) -> torch.Tensor:
            asked.append(name)
            return self._file.get_tensor(name)

    monkeypatch.setattr("trainers.weights.reader.safe_open", Counting)
    opened(source(files["flux"], folders["flux"]), "flux", "transformer")
    assert asked and all(name.startswith("model.diffusion_model.") for name in asked)
    assert len(asked) == len(set(asked)), "each once"


# --------------------------------------------------------------------------- what is told by the file


def test_pruned_flux_loads_with_the_blocks_that_it_has(folders: dict[str, Path], tmp_path: Path) -> None:
    whole = write.flux(write.component(folders["flux"], "transformer"))
    pruned = {name: t for name, t in whole.items() if not name.startswith(("double_blocks.1", "guidance_in"))}
    base = write.write(tmp_path / "pruned.safetensors", pruned)
    model = opened(source(base, folders["flux"]), "flux", "transformer")
    assert (len(model.transformer_blocks), len(model.single_transformer_blocks)) == (1, 2)
    assert not model.config.guidance_embeds


def test_older_sd3_is_told_by_its_tensors(tmp_path: Path) -> None:
    older, newer = make_sd3(tmp_path / "older", newer=False), make_sd3(tmp_path / "newer")
    base = write.sd3_file(older, tmp_path / "older.safetensors", bundled=False)
    mine = opened(source(base, newer), "sd3", "transformer")  # the folder says otherwise
    assert same(mine, opened(source(older), "sd3", "transformer"))


def test_marks_of_v_prediction_reach_the_scheduler(folders: dict[str, Path], tmp_path: Path) -> None:
    marks = {"v_pred": torch.empty(0), "ztsnr": torch.empty(0)}
    base = write.sdxl_file(folders["sdxl"], tmp_path / "noob.safetensors", **marks)
    config = open_scheduler(source(base), EulerDiscreteScheduler).config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)
    assert config.timestep_spacing == "trailing"
    plain = open_scheduler(source(write.sdxl_file(folders["sdxl"], tmp_path / "x.safetensors")), EulerDiscreteScheduler)
    assert (plain.config.prediction_type, plain.config.timestep_spacing) == ("epsilon", "leading")


def test_prediction_in_the_metadata_counts_too(folders: dict[str, Path], tmp_path: Path) -> None:
    metadata = {"modelspec.prediction_type": "v"}
    base = write.sdxl_file(folders["sdxl"], tmp_path / "v.safetensors", metadata)
    assert open_scheduler(source(base), EulerDiscreteScheduler).config.prediction_type == "v_prediction"


def test_tokenizers_of_files_are_the_published_ones(files: dict[str, Path]) -> None:
    """The ids that transformers' own tokenizers give, from the files that OpenAI and Google published."""
    text = "a photo of a cat wearing a red hat, 4k"
    clip = [49406, 320, 1125, 539, 320, 2368, 3309, 320, 736, 3801, 267, 275, 330, 49407]
    t5 = [3, 9, 1202, 13, 3, 9, 1712, 5119, 3, 9, 1131, 3, 547, 6, 314, 157, 1]
    for family, name, ids, longest, padding in (
        ("flux", "tokenizer", clip, 77, 49407),
        ("flux", "tokenizer_2", t5, 512, 0),
        ("sdxl", "tokenizer_2", clip, 77, 0),
        ("sd3", "tokenizer_2", clip, 77, 0),
        ("sd3", "tokenizer_3", t5, 512, 0),
    ):
        tokenizer = open_tokenizer(source(files[family]), name)
        assert tokenizer.model_max_length == longest
        padded = tokenizer(text, padding="max_length", max_length=20, truncation=True).input_ids
        assert padded == ids + [padding] * (20 - len(ids))
    assert shared("clip").truncation is None and shared("clip").padding is None, "the page counts with the same ones"


def test_folder_of_the_configuration_brings_its_tokenizers(folders: dict[str, Path], files: dict[str, Path]) -> None:
    own = open_tokenizer(source(folders["flux"]), "tokenizer")
    assert len(open_tokenizer(source(files["flux"], folders["flux"]), "tokenizer")) == len(own) < 49408


@pytest.mark.parametrize("family", CLASSES)
def test_skeleton_has_the_shapes_of_the_model(family: str, folders: dict[str, Path], files: dict[str, Path]) -> None:
    of_file = source(files[family], folders[family])
    for name, cls in CLASSES[family].items():
        skeleton, model = open_skeleton(of_file, name, cls), opened(of_file, family, name)
        assert all(weight.is_meta for weight in skeleton.parameters())
        shapes = {key: weight.shape for key, weight in model.named_parameters()}
        assert {key: weight.shape for key, weight in skeleton.named_parameters()} == shapes


# --------------------------------------------------------------------------- what does not fit


def without_first(path: Path, out: Path, start: str) -> Path:
    state = load_file(path)
    del state[next(name for name in sorted(state) if name.startswith(start))]
    return write.write(out, state)


@pytest.mark.parametrize(
    ("family", "start"),
    [
        ("sd15", "model.diffusion_model.middle_block"),
        ("sd3", "model.diffusion_model.joint_blocks.1"),
        ("flux", "model.diffusion_model.double_blocks.1"),
    ],
)
def test_missing_weight_is_named(
    family: str, start: str, folders: dict[str, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    base = without_first(files[family], tmp_path / "hole.safetensors", start)
    name = "unet" if family == "sd15" else "transformer"
    with pytest.raises(WeightsError, match=rf"The {name} of hole\.safetensors does not fit: it lacks \S+\.") as caught:
        opened(source(base, folders[family]), family, name)
    assert "model.config" in caught.value.hint


def test_missing_weight_of_a_text_encoder_is_named(
    folders: dict[str, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    base = without_first(files["flux"], tmp_path / "hole.safetensors", "text_encoders.t5xxl.transformer.encoder.final")
    with pytest.raises(WeightsError, match=r"lacks encoder\.final_layer_norm\.weight"):
        opened(source(base, folders["flux"]), "flux", "text_encoder_2")


def test_unknown_weight_is_named(folders: dict[str, Path], files: dict[str, Path], tmp_path: Path) -> None:
    name = "cond_stage_model.transformer.text_model.surprise.weight"
    base = write.write(tmp_path / "more.safetensors", load_file(files["sd15"]), {name: torch.ones(2)})
    with pytest.raises(WeightsError, match=r"holds surprise\.weight, which the model does not have"):
        opened(source(base, folders["sd15"]), "sd15", "text_encoder")


def test_weight_of_another_size_is_named_with_both(files: dict[str, Path]) -> None:
    """A tiny file against the published configuration."""
    with pytest.raises(WeightsError, match=r"holds \S+ as [\d x]+, not [\d x]+"):
        opened(source(files["sd15"]), "sd15", "unet")


def test_part_that_is_nowhere_is_named_with_its_setting(folders: dict[str, Path], tmp_path: Path) -> None:
    base = write.flux_file(folders["flux"], tmp_path / "flux.safetensors")
    with pytest.raises(WeightsError, match=r"flux\.safetensors holds no vae") as caught:
        place_of(source(base), "vae")
    assert caught.value.hint == "Set model.vae."


# --------------------------------------------------------------------------- pickles


def test_pickle_is_read_only_when_it_is_allowed(
    folders: dict[str, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    base = tmp_path / "old.ckpt"
    torch.save({"state_dict": load_file(files["sd15"]), "global_step": 3}, base)
    with pytest.raises(ConfigError, match="can run any program") as caught:
        source(base)
    assert "model.allow_pickle" in caught.value.hint
    allowed = source(base, folders["sd15"], allow_pickle=True)
    for name in CLASSES["sd15"]:
        assert same(opened(allowed, "sd15", name), opened(source(folders["sd15"]), "sd15", name))


def test_pickle_in_a_folder_is_read_only_when_it_is_allowed(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(folders["sd15"], folder)
    torch.save(write.component(folder, "unet"), folder / "unet/diffusion_pytorch_model.bin")
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsError, match="as a pickle only, which can run any program"):
        opened(source(folder), "sd15", "unet")
    assert same(
        opened(source(folder, allow_pickle=True), "sd15", "unet"), opened(source(folders["sd15"]), "sd15", "unet")
    )


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path(self.path),)  # type: ignore[return-value]

    def __init__(self, path: str) -> None:
        self.path = path


def test_program_in_a_pickle_is_not_run(files: dict[str, Path], tmp_path: Path) -> None:
    base, trace = tmp_path / "evil.ckpt", tmp_path / "trace"
    torch.save({"state_dict": load_file(files["sd15"]), "bomb": Bomb(str(trace))}, base)
    with pytest.raises(WeightsError, match="holds more than weights"):
        opened(source(base, allow_pickle=True), "sd15", "unet")
    assert not trace.exists()


# --------------------------------------------------------------------------- identity


def test_stamp_is_that_of_the_content_wherever_it_lies(files: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "model.safetensors"
    copy.parent.mkdir()
    shutil.copy2(files["flux"], copy)
    for name in CLASSES["flux"]:
        assert stamp(source(copy), name) == stamp(source(files["flux"]), name)
    assert len({stamp(source(copy), name) for name in CLASSES["flux"]}) == 4
    before = stamp(source(copy), "vae")
    os.utime(copy, ns=(0, 0))
    assert stamp(source(copy), "vae") != before


def test_stamp_of_an_id_holds_the_revision() -> None:
    stamps = {stamp(ModelSource("owner/name", {}, revision), "vae") for revision in ("", "a", "b")}
    assert len(stamps) == 3


def test_hash_is_that_of_the_file_and_is_remembered(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    expected = hashlib.sha256(files["sd15"].read_bytes()).hexdigest()
    assert base_hash(source(files["sd15"])) == expected
    monkeypatch.setattr(hashlib, "file_digest", None)  # it is not read again
    assert base_hash(source(files["sd15"])) == expected


def test_folder_has_no_hash(folders: dict[str, Path]) -> None:
    assert base_hash(source(folders["sd15"])) == ""


# --------------------------------------------------------------------------- against diffusers


def test_names_of_flux_are_those_of_diffusers_own_converter(tmp_path: Path) -> None:
    """diffusers splits fused rows at 3072 only; one column is enough to see where each row goes."""
    width = 3072
    outside = ["img_in", "txt_in", "final_layer.linear", "final_layer.adaLN_modulation.1"]
    outside += [f"{part}.{layer}_layer" for part in ("time_in", "vector_in", "guidance_in") for layer in ("in", "out")]
    double = [f"{side}_{layer}" for side in ("img", "txt") for layer in ("mod.lin", "attn.proj", "mlp.0", "mlp.2")]
    fused = {"double_blocks.0.img_attn.qkv": 3 * width, "double_blocks.0.txt_attn.qkv": 3 * width}
    fused["single_blocks.0.linear1"] = 7 * width
    plain = [*outside, *(f"double_blocks.0.{layer}" for layer in double)]
    plain += ["single_blocks.0.modulation.lin", "single_blocks.0.linear2"]
    rows = {**dict.fromkeys(plain, 4), **fused}
    state = {
        f"{layer}.{kind}": torch.randn(count, 1) if kind == "weight" else torch.randn(count)
        for layer, count in rows.items()
        for kind in ("weight", "bias")
    }
    for norm in ("double_blocks.0.img_attn.norm", "double_blocks.0.txt_attn.norm", "single_blocks.0.norm"):
        state |= {f"{norm}.{which}_norm.scale": torch.randn(3) for which in ("query", "key")}
    file = write.write(tmp_path / "flux.safetensors", state)
    with reader.opened(Place(str(file), is_file=True), torch.float32) as weights:
        mine = convert.flux(weights, width)
    theirs = convert_flux_transformer_checkpoint_to_diffusers(dict(state))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
