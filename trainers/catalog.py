"""The families that can be trained and the models that are known by name: plain tables, to be grepped."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from trainers.errors import ConfigError
from trainers.paths import ASSETS, locate
from trainers.weights.cached import snapshot
from trainers.weights.header import WeightsError, read_header
from trainers.weights.recognise import Recognised, recognise

CONFIGS = ASSETS / "configs"  # of the published models, by name: diffusers folders without weights
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")  # parts of pipelines that training does not need


@dataclass(frozen=True)
class TargetSet:
    """Layers that an adapter can attach to. pattern: regular expression that a whole module name must match."""

    help: str
    pattern: str


@dataclass(frozen=True)
class TextEncoder:
    """What reads the captions of a family.

    component: its name in the pipeline; tokenizer: file in assets/tokenizers, for models that have none in their folder
    `subfolder`; tokens: how many it reads, begin and end marks among them; 0 for as many as the model's `text_tokens`;
    chunked: it reads as many pieces as model.text_chunks says; trainable: an adapter can be put on it.
    """

    title: str
    component: str
    tokenizer: str
    subfolder: str
    tokens: int
    chunked: bool = False
    trainable: bool = False


Layout = Literal["diffusers", "kohya", "comfyui"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
Feature = Literal["flow", "ddpm", "guidance_embedding", "clip_skip", "text_chunks", "negative", "text_lora"]


@dataclass(frozen=True)
class FamilySpec:
    """One architecture.

    pixel_multiple: sides of training pictures are multiples of it; bucket_step: the usual step of their sizes;
    token_pixels: side in pixels of what counts as one token in forecasts; denoiser: its component in the pipeline.
    """

    title: str
    module: str
    pipelines: tuple[str, ...]  # diffusers classes that a model folder of this family names
    default_model: str  # numbers of this model serve for unknown bases of the family
    denoiser: Literal["unet", "transformer"]
    features: frozenset[Feature]  # what options make sense; see `trainers.fitting`
    pixel_multiple: int
    bucket_step: int
    token_pixels: int
    timestep_sampling: str
    objectives: tuple[str, ...]
    default_targets: str
    targets: dict[str, TargetSet]
    text_encoders: tuple[TextEncoder, ...]  # the last one is where a caption that is too long is cut off
    layouts: tuple[Layout, ...]  # of adapter files, the default first
    loads_in: dict[Layout, str]  # layout -> programs that load it


@dataclass(frozen=True)
class ModelSpec:
    """One base model. source: hub id, or a folder below assets; params in billions; sizes in GiB."""

    title: str
    family: str
    source: str
    architecture: str  # name in the model specification of adapter files
    licence: str
    note: str
    gated: bool
    download_gib: float
    native_resolution: int
    denoiser_params: float
    packable: float  # share of the denoiser that 8-bit storage takes; norms and modulations stay as they are
    text_params: float
    clip_params: float  # of these, in encoders that an adapter can be put on
    vae_params: float
    layers: int  # transformer blocks; of a UNet as many as take its memory (`python -m benchmarks.families`)
    width: int  # numbers per token
    text_tokens: int
    text_width: int  # numbers per token of an encoded caption
    sample_steps: int
    sample_guidance: float
    rank: int
    learning_rate: float
    built_in: bool = False
    probe: str = ""  # module that can judge its pictures by rule


_ATTENTION = r"attn\.(to_q|to_k|to_v|to_out\.0)"
_CONTEXT = r"attn\.(add_q_proj|add_k_proj|add_v_proj|to_add_out)"
_FEED_FORWARD = r"ff\.net\.(0\.proj|2)|ff_context\.net\.(0\.proj|2)"
_SINGLE_FEED_FORWARD = r"proj_mlp|proj_out"  # of single blocks; the model's own last proj_out is not meant


def _flux_targets() -> dict[str, TargetSet]:
    double, single = r"transformer_blocks\.\d+\.", r"single_transformer_blocks\.\d+\."
    attention = f"({double}|{single})({_ATTENTION})"
    everything = f"{attention}|{double}({_CONTEXT})"
    feed_forward = f"{double}({_FEED_FORWARD})|{single}({_SINGLE_FEED_FORWARD})"
    modulation = rf"{double}(norm1\.linear|norm1_context\.linear)|{single}norm\.linear"
    return {
        "mmdit": TargetSet("attention of the picture", attention),
        "all": TargetSet("attention of picture and words", everything),
        "all+ffs": TargetSet("attention and feed-forward layers", f"{everything}|{feed_forward}"),
        "all+ffs+embedder": TargetSet("the same and the picture's entry", f"{everything}|{feed_forward}|x_embedder"),
        "ai-toolkit": TargetSet(
            "all of these and the modulations, as ai-toolkit does", f"{everything}|{feed_forward}|{modulation}"
        ),
        "diffusers": TargetSet(
            "as the diffusers example does: attention, and feed-forward of double blocks",
            f"{everything}|{double}({_FEED_FORWARD})",
        ),
        "context": TargetSet("attention of the words only", f"{double}({_CONTEXT})"),
        "context+ffs": TargetSet(
            "attention and feed-forward of the words", rf"{double}({_CONTEXT}|ff_context\.net\.(0\.proj|2))"
        ),
        "tiny": TargetSet("the output of two single blocks, 7 and 20", r"single_transformer_blocks\.(7|20)\.proj_out"),
        "nano": TargetSet("the output of one single block, 7", r"single_transformer_blocks\.7\.proj_out"),
    }


_UNET_ATTENTION = r"attn[12]\.(to_q|to_k|to_v|to_out\.0)"
_UNET_FEED_FORWARD = r"ff\.net\.(0\.proj|2)"
_UNET_RESNET = r"(conv1|conv2|conv_shortcut|time_emb_proj)"


def _unet_targets() -> dict[str, TargetSet]:
    block = r".*\.transformer_blocks\.\d+\."
    attention = f"{block}{_UNET_ATTENTION}"
    transformers = rf"{block}({_UNET_ATTENTION}|{_UNET_FEED_FORWARD})|.*\.attentions\.\d+\.(proj_in|proj_out)"
    convolutions = rf".*\.resnets\.\d+\.{_UNET_RESNET}|.*\.(down|up)samplers\.0\.conv"
    return {
        "attention": TargetSet("attention of picture and words", attention),
        "all": TargetSet("everything in the transformers, as kohya's LoRA", transformers),
        "all+convs": TargetSet("the same and the convolutions, as kohya's LoCon", f"{transformers}|{convolutions}"),
        "cross": TargetSet("attention to the words only", f"{block}attn2\\.(to_q|to_k|to_v|to_out\\.0)"),
    }


def _sd3_targets() -> dict[str, TargetSet]:
    block = r"transformer_blocks\.\d+\."
    attention = rf"{block}({_ATTENTION}|attn2\.(to_q|to_k|to_v|to_out\.0))"
    everything = f"{attention}|{block}({_CONTEXT})"
    feed_forward = f"{block}({_FEED_FORWARD})"
    return {
        "mmdit": TargetSet("attention of the picture", attention),
        "all": TargetSet("attention of picture and words", everything),
        "all+ffs": TargetSet("attention and feed-forward layers", f"{everything}|{feed_forward}"),
        "context": TargetSet("attention of the words only", f"{block}({_CONTEXT})"),
    }


_CLIP_L = TextEncoder("CLIP", "text_encoder", "clip", "tokenizer", 77, trainable=True)
_CLIP_G = TextEncoder("CLIP G", "text_encoder_2", "clip", "tokenizer_2", 77, trainable=True)
_EVERYWHERE = "ComfyUI, diffusers, Forge, A1111, kohya"

FAMILIES: dict[str, FamilySpec] = {
    "flux": FamilySpec(
        title="FLUX.1",
        module="trainers.families.flux",
        pipelines=("FluxPipeline",),
        default_model="flux-dev",
        denoiser="transformer",
        features=frozenset({"flow", "guidance_embedding", "text_lora"}),
        pixel_multiple=16,
        bucket_step=16,
        token_pixels=16,
        timestep_sampling="logit_normal",
        objectives=("sft", "dpo"),
        default_targets="all",
        targets=_flux_targets(),
        text_encoders=(_CLIP_L, TextEncoder("T5", "text_encoder_2", "t5", "tokenizer_2", 0)),
        layouts=("diffusers", "kohya", "comfyui"),
        loads_in={
            "diffusers": "ComfyUI, diffusers, Forge",
            "kohya": "ComfyUI, diffusers, Forge, kohya",
            "comfyui": "ComfyUI, Forge",
        },
    ),
    "sd15": FamilySpec(
        title="Stable Diffusion 1.5",
        module="trainers.families.sd15",
        pipelines=("StableDiffusionPipeline",),
        default_model="sd15",
        denoiser="unet",
        features=frozenset({"ddpm", "clip_skip", "text_chunks", "negative", "text_lora"}),
        pixel_multiple=8,
        bucket_step=64,
        token_pixels=32,
        timestep_sampling="uniform",
        objectives=("sft", "dpo"),
        default_targets="all",
        targets=_unet_targets(),
        text_encoders=(TextEncoder("CLIP", "text_encoder", "clip", "tokenizer", 77, chunked=True, trainable=True),),
        layouts=("kohya", "diffusers"),
        loads_in={"kohya": _EVERYWHERE, "diffusers": "diffusers"},
    ),
    "sdxl": FamilySpec(
        title="Stable Diffusion XL",
        module="trainers.families.sdxl",
        pipelines=("StableDiffusionXLPipeline",),
        default_model="sdxl",
        denoiser="unet",
        features=frozenset({"ddpm", "text_chunks", "negative", "text_lora"}),
        pixel_multiple=8,
        bucket_step=64,
        token_pixels=32,
        timestep_sampling="uniform",
        objectives=("sft", "dpo"),
        default_targets="all",
        targets=_unet_targets(),
        text_encoders=(
            TextEncoder("CLIP", "text_encoder", "clip", "tokenizer", 77, chunked=True, trainable=True),
            TextEncoder("CLIP G", "text_encoder_2", "clip", "tokenizer_2", 77, chunked=True, trainable=True),
        ),
        layouts=("kohya", "diffusers"),
        loads_in={"kohya": _EVERYWHERE, "diffusers": "diffusers"},
    ),
    "sd3": FamilySpec(
        title="Stable Diffusion 3 and 3.5",
        module="trainers.families.sd3",
        pipelines=("StableDiffusion3Pipeline",),
        default_model="sd35-medium",
        denoiser="transformer",
        features=frozenset({"flow", "negative", "text_lora"}),
        pixel_multiple=16,
        bucket_step=16,
        token_pixels=16,
        timestep_sampling="logit_normal",
        objectives=("sft", "dpo"),
        default_targets="all",
        targets=_sd3_targets(),
        text_encoders=(_CLIP_L, _CLIP_G, TextEncoder("T5", "text_encoder_3", "t5", "tokenizer_3", 256)),
        layouts=("diffusers", "kohya", "comfyui"),
        loads_in={
            "diffusers": "ComfyUI, diffusers",
            "kohya": "ComfyUI, Forge, kohya",
            "comfyui": "ComfyUI, Forge",
        },
    ),
}

_RAIL = "CreativeML Open RAIL"
_STABILITY = "Stability AI Community"

MODELS: dict[str, ModelSpec] = {
    "sandbox": ModelSpec(
        title="Sandbox",
        family="flux",
        source="assets/sandbox",
        architecture="flux-1-sandbox",
        licence="Apache-2.0",
        note="A tiny FLUX that draws coloured shapes. Comes with Atelier, trains in minutes on any computer.",
        gated=False,
        download_gib=0.0,
        native_resolution=64,
        denoiser_params=0.0023,
        packable=0.65,
        text_params=0.0002,
        clip_params=0.0001,
        vae_params=0.001,
        layers=6,
        width=128,
        text_tokens=20,
        text_width=64,
        sample_steps=20,
        sample_guidance=1.0,
        rank=16,
        learning_rate=2e-3,
        built_in=True,
        probe="trainers.sandbox.probe",
    ),
    "flux-dev": ModelSpec(
        title="FLUX.1 dev",
        family="flux",
        source="black-forest-labs/FLUX.1-dev",
        architecture="flux-1-dev",
        licence="FLUX.1-dev non-commercial",
        note="The quality choice. Accept its licence on Hugging Face once, and sign in.",
        gated=True,
        download_gib=31.4,
        native_resolution=1024,
        denoiser_params=11.901,
        packable=0.727,
        text_params=4.885,
        clip_params=0.123,
        vae_params=0.084,
        layers=57,
        width=3072,
        text_tokens=512,
        text_width=4096,
        sample_steps=28,
        sample_guidance=3.5,
        rank=16,
        learning_rate=1e-4,
    ),
    "flux-schnell": ModelSpec(
        title="FLUX.1 schnell",
        family="flux",
        source="black-forest-labs/FLUX.1-schnell",
        architecture="flux-1-schnell",
        licence="Apache-2.0",
        note="Draws in four steps and may be used commercially; harder to train than dev.",
        gated=False,
        download_gib=31.4,
        native_resolution=1024,
        denoiser_params=11.891,
        packable=0.727,
        text_params=4.885,
        clip_params=0.123,
        vae_params=0.084,
        layers=57,
        width=3072,
        text_tokens=256,
        text_width=4096,
        sample_steps=4,
        sample_guidance=0.0,
        rank=16,
        learning_rate=1e-4,
    ),
    "sdxl": ModelSpec(
        title="Stable Diffusion XL",
        family="sdxl",
        source="stabilityai/stable-diffusion-xl-base-1.0",
        architecture="stable-diffusion-xl-v1-base",
        licence=f"{_RAIL}++-M",
        note="Most community models descend from it: give one of their checkpoint files as the base.",
        gated=False,
        download_gib=6.5,
        native_resolution=1024,
        denoiser_params=2.567,
        packable=0.867,
        text_params=0.818,
        clip_params=0.818,
        vae_params=0.084,
        layers=96,
        width=1280,
        text_tokens=77,
        text_width=2048,
        sample_steps=30,
        sample_guidance=6.0,
        rank=16,
        learning_rate=1e-4,
    ),
    "sd15": ModelSpec(
        title="Stable Diffusion 1.5",
        family="sd15",
        source="stable-diffusion-v1-5/stable-diffusion-v1-5",
        architecture="stable-diffusion-v1",
        licence=f"{_RAIL}-M",
        note="Small and fast, with thousands of community models. Trains on a card with 6 GB.",
        gated=False,
        download_gib=2.0,
        native_resolution=512,
        denoiser_params=0.86,
        packable=0.312,
        text_params=0.123,
        clip_params=0.123,
        vae_params=0.084,
        layers=62,
        width=960,
        text_tokens=77,
        text_width=768,
        sample_steps=30,
        sample_guidance=7.5,
        rank=16,
        learning_rate=1e-4,
    ),
    "sd35-medium": ModelSpec(
        title="Stable Diffusion 3.5 medium",
        family="sd3",
        source="stabilityai/stable-diffusion-3.5-medium",
        architecture="stable-diffusion-v3.5-medium",
        licence=_STABILITY,
        note="Reads long sentences well, fits a 16 GB card. Accept its licence on Hugging Face once, and sign in.",
        gated=True,
        download_gib=14.7,
        native_resolution=1024,
        denoiser_params=2.243,
        packable=0.658,
        text_params=5.581,
        clip_params=0.818,
        vae_params=0.084,
        layers=24,
        width=1536,
        text_tokens=333,
        text_width=4096,
        sample_steps=28,
        sample_guidance=4.5,
        rank=16,
        learning_rate=3e-5,
    ),
    "sd35-large": ModelSpec(
        title="Stable Diffusion 3.5 large",
        family="sd3",
        source="stabilityai/stable-diffusion-3.5-large",
        architecture="stable-diffusion-v3.5-large",
        licence=_STABILITY,
        note="The largest of its family. Accept its licence on Hugging Face once, and sign in.",
        gated=True,
        download_gib=25.6,
        native_resolution=1024,
        denoiser_params=8.057,
        packable=0.6665,
        text_params=5.581,
        clip_params=0.818,
        vae_params=0.084,
        layers=38,
        width=2432,
        text_tokens=333,
        text_width=4096,
        sample_steps=28,
        sample_guidance=4.5,
        rank=16,
        learning_rate=3e-5,
    ),
    "sd3-medium": ModelSpec(
        title="Stable Diffusion 3 medium",
        family="sd3",
        source="stabilityai/stable-diffusion-3-medium-diffusers",
        architecture="stable-diffusion-v3-medium",
        licence=_STABILITY,
        note="The first of its family; 3.5 medium draws better. Accept its licence on Hugging Face once, and sign in.",
        gated=True,
        download_gib=14.3,
        native_resolution=1024,
        denoiser_params=2.028,
        packable=0.667,
        text_params=5.581,
        clip_params=0.818,
        vae_params=0.084,
        layers=24,
        width=1536,
        text_tokens=333,
        text_width=4096,
        sample_steps=28,
        sample_guidance=5.0,
        rank=16,
        learning_rate=5e-5,
    ),
}


def source_of(base: str) -> str:
    """What the loaders open: a file or folder (absolute), or a Hugging Face id."""
    if base in MODELS:
        source = MODELS[base].source
        return str(ASSETS.parent / source) if MODELS[base].built_in else source
    path = locate(base)
    return str(path) if os.path.exists(path) else base


def family_of(base: str, told: str = "auto") -> str:
    """The family of a model name, file, folder or Hugging Face id.

    told: the family that a person chose; it counts for ids that are not on this machine. Raises ConfigError for a base
    that is unknown, damaged, of no family that can be trained, or of another one than was told.
    """
    if told not in ("auto", *FAMILIES):
        raise ConfigError("model.family", f"there is no family {told!r}.", f"Families: {', '.join(FAMILIES)}.")
    family, title = _recognised(base, told)
    if not family and told != "auto":
        return told
    if not family:
        near = difflib.get_close_matches(base, MODELS, 1)
        known = f"Did you mean {near[0]}?" if near else f"Known models: {', '.join(MODELS)}."
        raise ConfigError(
            "model.base",
            f"{base!r} is neither a known model nor a file or folder that exists.",
            f"{known} For another Hugging Face id set model.family too.",
        )
    if told not in ("auto", family):
        raise ConfigError("model.family", f"this is {title}; choose {family}.", "Or leave it at auto.")
    return family


def _recognised(base: str, told: str) -> tuple[str, str]:
    """(family, what it is called); empty for a base that is nowhere on this machine.

    Empty, too, for a folder without an index whose family was told: the preflight says what it lacks.
    """
    known = MODELS.get(base) or _by_source(base)
    if known:
        return known.family, known.title
    source = source_of(base)
    if os.path.isfile(source):
        found = recognised_base(source)
        return found.family, found.title
    folder = Path(source) if os.path.isdir(source) else snapshot(base)
    if folder is None or (told != "auto" and not (folder / "model_index.json").is_file()):
        return "", ""
    family = _family_of_folder(folder)
    return family, f"a {FAMILIES[family].title} model"


def recognised_base(path: str) -> Recognised:
    """What a checkpoint file is. Raises ConfigError for a damaged one, and for one that is no model to train on."""
    try:
        found = recognise(read_header(path))
    except WeightsError as error:
        raise ConfigError("model.base", error.message, error.hint) from error
    if found.kind == "base":
        return found
    name = os.path.basename(path)
    if found.kind == "unknown":
        hint = f"Families: {', '.join(FAMILIES)}."
        raise ConfigError("model.base", f"{name} is {found.title}, which cannot be trained yet.", hint)
    places = {"vae": "model.vae", "text_encoder": "model.text_encoders", "lora": "adapter.resume_from"}
    raise ConfigError("model.base", f"{name} is {found.title}, not a model.", f"It belongs in {places[found.kind]}.")


def _by_source(base: str) -> ModelSpec | None:
    return next((model for model in MODELS.values() if model.source == base), None)


def _family_of_folder(folder: Path) -> str:
    index = folder / "model_index.json"
    if not index.is_file():
        raise ConfigError(
            "model.base",
            f"{folder} has no model_index.json.",
            "Give a folder in diffusers layout, or a checkpoint file.",
        )
    try:
        pipeline = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError("model.base", f"{index} names no pipeline.", "Copy or download the model again.") from error
    for name, family in FAMILIES.items():
        if pipeline in family.pipelines:
            return name
    raise ConfigError(
        "model.base", f"{folder} is a {pipeline}, which cannot be trained yet.", f"Families: {', '.join(FAMILIES)}."
    )


def missing_parts(folder: Path) -> list[str]:
    """Parts that the model_index.json of a diffusers folder names and that the folder lacks."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    named = (part for part, classes in index.items() if isinstance(classes, list) and any(classes))
    return [part for part in named if part not in UNUSED and not (folder / part).is_dir()]


def model_of(base: str, family: str) -> ModelSpec:
    """Numbers of a base; an unknown base of a known family has those of the model that it is most like."""
    if known := MODELS.get(base) or _by_source(base):
        return known
    source = source_of(base)
    default = MODELS[FAMILIES[family].default_model]
    if os.path.isfile(source):
        try:
            found = MODELS.get(recognise(read_header(source)).model)
        except WeightsError:  # `family_of` tells of it
            return default
        return found if found and found.family == family else default
    folder = Path(source) if os.path.isdir(source) else snapshot(base)
    return _nearest(folder / FAMILIES[family].denoiser / "config.json", family) if folder else default


def _nearest(config: Path, family: str) -> ModelSpec:
    """The model whose published denoiser differs in the fewest settings; of equals the family's default."""
    default = MODELS[FAMILIES[family].default_model]
    try:
        own = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default

    def differences(name: str) -> int:
        published = json.loads((CONFIGS / name / FAMILIES[family].denoiser / "config.json").read_text(encoding="utf-8"))
        return sum(own.get(key, value) != value for key, value in published.items())

    names = [name for name, model in MODELS.items() if model.family == family and not model.built_in]
    return MODELS[min(names, key=lambda name: (differences(name), MODELS[name] is not default))]
