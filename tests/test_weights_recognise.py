"""Every file is known by its names and shapes: what can be trained, what belongs elsewhere, what is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel

from tests import headers, single_file
from tests.headers import SD15, SDXL, Shapes, below, checkpoint, write_header
from trainers import catalog
from trainers.config import Model
from trainers.errors import ConfigError
from trainers.weights.header import read_header
from trainers.weights.recognise import Recognised, recognise
from trainers.weights.shapes import told_by
from trainers.weights.source import source_of


def recognised(path: Path, shapes: Shapes, metadata: dict[str, str] | None = None) -> Recognised:
    return recognise(read_header(write_header(path / "model.safetensors", shapes, metadata)))


# --------------------------------------------------------------------------- published models at their real size


ORIGINAL = {
    "flux": (FluxTransformer2DModel, single_file.flux),
    "sd3": (SD3Transformer2DModel, single_file.sd3),
    "sdxl": (UNet2DConditionModel, lambda state: single_file.unet(state, layers=2)),
    "sd15": (UNet2DConditionModel, lambda state: single_file.unet(state, layers=2)),
}
PUBLISHED = [name for name, model in catalog.MODELS.items() if not model.built_in]


def published(name: str) -> tuple[dict, Shapes, Shapes]:
    """(settings of the denoiser, shapes in original names, shapes in diffusers' names) of a model of the catalog."""
    family = catalog.MODELS[name].family
    cls, original = ORIGINAL[family]
    config = cls.load_config(str(catalog.CONFIGS / name), subfolder=catalog.FAMILIES[family].denoiser)
    with torch.device("meta"):
        model = cls.from_config(config)
    state = model.state_dict()
    shapes = [{key: tuple(tensor.shape) for key, tensor in one.items()} for one in (original(state), state)]
    return dict(model.config), *shapes


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_model_is_known_and_built_as_published(name: str, tmp_path: Path) -> None:
    config, original, diffusers = published(name)
    for prefix, shapes, layout in (
        ("model.diffusion_model.", original, "original"),
        ("", original, "original"),
        ("", diffusers, "diffusers"),
    ):
        path = write_header(tmp_path / f"{layout}{len(prefix)}.safetensors", below(prefix, shapes))
        found = recognise(read_header(path))
        assert (found.kind, found.family, found.model) == ("base", catalog.MODELS[name].family, name)
        assert (found.layout, found.parts) == (layout, {"denoiser": prefix})
        assert catalog.family_of(str(path)) == found.family
        assert catalog.model_of(str(path), found.family) is catalog.MODELS[name]
        kind = ORIGINAL[found.family][0].__name__
        told = told_by(read_header(path), prefix, kind)
        assert all(_plain(config[key]) == _plain(value) for key, value in told.items())
        assert bool(told) == (found.family in ("flux", "sd3"))


def _plain(value: object) -> object:
    return json.loads(json.dumps(value))


# --------------------------------------------------------------------------- what can be trained


WHOLE: dict[str, tuple[Shapes, str, str, set[str]]] = {
    "SD 1.5": (SD15, "a Stable Diffusion 1.5 checkpoint", "sd15", {"denoiser", "vae", "clip_l"}),
    "SDXL": (SDXL, "an SDXL checkpoint", "sdxl", {"denoiser", "vae", "clip_l", "clip_g"}),
    "a UNet alone": (headers.unet(2048, labels=2816), "an SDXL model", "sdxl", {"denoiser"}),
    "FLUX.1 of ComfyUI": (
        checkpoint(
            headers.flux(),
            below("vae.", headers.vae(16)),
            below("text_encoders.clip_l.transformer.", headers.CLIP_L),
            below("text_encoders.t5xxl.transformer.", headers.T5),
        ),
        "a FLUX.1 dev checkpoint",
        "flux",
        {"denoiser", "vae", "clip_l", "t5"},
    ),
    "FLUX.1 schnell": (headers.flux(guidance=False), "a FLUX.1 schnell model", "flux", {"denoiser"}),
}


@pytest.mark.parametrize("name", WHOLE)
def test_base_is_known_with_its_parts(name: str, tmp_path: Path) -> None:
    shapes, title, family, parts = WHOLE[name]
    found = recognised(tmp_path, shapes)
    assert (found.kind, found.title, found.family, set(found.parts)) == ("base", title, family, parts)
    assert all(any(key.startswith(prefix) for key in shapes) for prefix in found.parts.values())


def test_marks_of_v_prediction_are_seen(tmp_path: Path) -> None:
    plain = recognised(tmp_path / "a", SDXL)
    marked = recognised(tmp_path / "b", {**SDXL, "v_pred": (0,), "ztsnr": (0,)})
    told = recognised(tmp_path / "c", SDXL, {"modelspec.prediction_type": "epsilon"})
    assert (plain.prediction, plain.zero_snr) == ("", False)
    assert (marked.prediction, marked.zero_snr) == ("v_prediction", True)
    assert told.prediction == "epsilon"


# --------------------------------------------------------------------------- what belongs elsewhere


PARTS: dict[str, tuple[Shapes, str, str]] = {
    "VAE of SD": (headers.vae(4), "vae", "a VAE of 4 channels"),
    "VAE of FLUX": (headers.vae(16), "vae", "a VAE of 16 channels"),
    "CLIP-L": (headers.CLIP_L, "text_encoder", "CLIP-L"),
    "CLIP-L without level": ({"embeddings.token_embedding.weight": (49408, 768)}, "text_encoder", "CLIP-L"),
    "CLIP-L below transformer": (below("transformer.", headers.CLIP_L), "text_encoder", "CLIP-L"),
    "CLIP-G": (headers.CLIP_G, "text_encoder", "CLIP-G"),
    "CLIP-G of open_clip": (headers.OPEN_CLIP_G, "text_encoder", "CLIP-G"),
    "T5": (headers.T5, "text_encoder", "T5-XXL"),
}


@pytest.mark.parametrize("name", PARTS)
def test_part_is_known_and_is_no_base(name: str, tmp_path: Path) -> None:
    shapes, kind, title = PARTS[name]
    found = recognised(tmp_path, shapes)
    assert (found.kind, found.title) == (kind, title)
    with pytest.raises(ConfigError, match=re.escape(f"{title}, not a model")) as caught:
        catalog.family_of(str(tmp_path / "model.safetensors"))
    assert caught.value.field == "model.base" and "It belongs in model." in caught.value.hint


LORAS: dict[str, tuple[Shapes, str, str]] = {
    "kohya SDXL": (
        {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight": (16, 2048)},
        "sdxl",
        "SDXL",
    ),
    "kohya SD 1.5": (
        {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768)},
        "sd15",
        "Stable Diffusion 1.5",
    ),
    "kohya FLUX.1": ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (16, 3072)}, "flux", "FLUX.1"),
    "PEFT FLUX.1": (
        {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (16, 3072)},
        "flux",
        "FLUX.1",
    ),
    "ComfyUI FLUX.1": ({"diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight": (16, 3072)}, "flux", "FLUX.1"),
    "SD3": ({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (16, 1536)}, "sd3", "Stable Diffusion 3"),
    "LyCORIS of SDXL": ({"lora_te2_text_model_encoder_layers_0_mlp_fc1.hada_w1_a": (4, 4)}, "sdxl", "SDXL"),
}


@pytest.mark.parametrize("name", LORAS)
def test_lora_is_known_with_its_family(name: str, tmp_path: Path) -> None:
    shapes, family, title = LORAS[name]
    found = recognised(tmp_path, shapes)
    assert (found.kind, found.family, found.title) == ("lora", family, f"a LoRA for {title}")
    with pytest.raises(ConfigError, match=f"is a LoRA for {title}, not a model"):
        catalog.family_of(str(tmp_path / "model.safetensors"))


# --------------------------------------------------------------------------- what is refused by name


REFUSED: dict[str, tuple[Shapes, str]] = {
    "inpainting": (checkpoint(headers.unet(768, channels=9)), "a Stable Diffusion 1.5 inpainting"),
    "SDXL inpainting": (checkpoint(headers.unet(2048, channels=9, labels=2816)), "an SDXL inpainting"),
    "InstructPix2Pix": (checkpoint(headers.unet(768, channels=8)), "a Stable Diffusion 1.5 InstructPix2Pix"),
    "SD 2": (checkpoint(headers.unet(1024)), "a Stable Diffusion 2"),
    "SDXL refiner": (checkpoint(headers.unet(1280, labels=2560)), "an SDXL refiner"),
    "FLUX.1 Fill": (headers.flux(384), "a FLUX.1 Fill"),
    "FLUX.1 depth": (headers.flux(128), "a FLUX.1 depth or canny"),
    "Chroma": ({**headers.flux(), "distilled_guidance_layer.in_proj.bias": (5120,)}, "a Chroma model"),
    "FLUX.2": (below("model.diffusion_model.", {"single_stream_modulation.lin.weight": (9, 9)}), "a FLUX.2 model"),
    "Lumina 2": ({"cap_embedder.0.weight": (2304,)}, "a Lumina 2 model"),
    "Z-Image": ({"cap_embedder.0.weight": (9,), "layers.0.adaLN_modulation.0.weight": (9, 9)}, "a Z-Image model"),
    "Qwen-Image": ({"transformer_blocks.0.img_mod.1.weight": (9, 9)}, "a Qwen-Image model"),
    "Kolors": ({**headers.unet(2048), "encoder_hid_proj.weight": (9, 9)}, "a Kolors model"),
    "Wan": ({"head.modulation": (1, 2, 5120)}, "a Wan model"),
    "ControlNet": ({"control_model.time_embed.0.weight": (9, 9)}, "a ControlNet"),
    "upscaler": ({"conv_first.weight": (64, 3, 3, 3)}, "an upscaler"),
    "4 bits": ({"x.weight": (9,), "x.weight.absmax": (9,)}, "packed to 4 bits"),
    "anything": ({"x": (3,)}, "a file of an unknown kind"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_by_name(name: str, tmp_path: Path) -> None:
    shapes, title = REFUSED[name]
    path = write_header(tmp_path / "model.safetensors", shapes)
    with pytest.raises(ConfigError, match=re.escape(title) + ".*, which cannot be trained yet") as caught:
        catalog.family_of(str(path))
    assert caught.value.field == "model.base" and "sdxl" in caught.value.hint


def test_wrong_family_is_refused_with_the_right_one(tmp_path: Path) -> None:
    path = write_header(tmp_path / "model.safetensors", SDXL)
    with pytest.raises(ConfigError, match=r"this is an SDXL checkpoint; choose sdxl\.") as caught:
        catalog.family_of(str(path), "flux")
    assert caught.value.field == "model.family"
    assert catalog.family_of(str(path), "sdxl") == catalog.family_of(str(path), "auto") == "sdxl"


@pytest.mark.parametrize(
    ("field", "shapes", "message"),
    [
        ("vae", SDXL, None),  # a whole checkpoint lends its VAE
        ("vae", headers.vae(16), "needs one of 4"),
        ("vae", headers.T5, "is T5-XXL, not a VAE"),
        ("text_encoders", headers.T5, "is T5-XXL, which Stable Diffusion XL does not read"),
        ("text_encoders", headers.CLIP_G, None),
    ],
)
def test_part_that_does_not_belong_is_refused_at_its_field(
    field: str, shapes: Shapes, message: str | None, tmp_path: Path
) -> None:
    base = write_header(tmp_path / "base.safetensors", SDXL)
    part = str(write_header(tmp_path / "part.safetensors", shapes))
    model = Model.model_validate({"base": str(base), field: part if field == "vae" else (part,)})
    if message is None:
        assert part in {place.path for place in source_of(model).places.values()}
        return
    with pytest.raises(ConfigError, match=message) as caught:
        source_of(model)
    assert caught.value.field == f"model.{field}" and caught.value.hint
