"""What a model consists of, as people know the files: their names, sizes, licences, and where they can be had."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

from trainers import catalog
from trainers.config import Model
from trainers.errors import AtelierError
from trainers.weights.source import PARTS, ModelSource, source_of


@dataclass(frozen=True)
class PartSpec:
    """One part of a model.

    component: its name in the pipeline; names: usual names of its file, the best first; size_gib: of the first;
    where: hub id that has it; folder: where ComfyUI keeps it; within: usual name of the file that it comes in, empty
    where it is a file of its own.
    """

    component: str
    title: str
    names: tuple[str, ...]
    size_gib: float
    licence: str
    gated: bool
    where: str
    folder: str
    within: str = ""


@dataclass(frozen=True)
class PartState:
    """found: file or folder with the part, empty for none on this machine."""

    spec: PartSpec
    found: str


_MIT, _APACHE = "MIT", "Apache-2.0"
_CLIP_L = PartSpec(
    "text_encoder",
    "CLIP-L",
    ("clip_l.safetensors",),
    0.23,
    _MIT,
    False,
    "comfyanonymous/flux_text_encoders",
    "text_encoders",
)
_CLIP_G = PartSpec(
    "text_encoder_2",
    "CLIP-G",
    ("clip_g.safetensors",),
    1.29,
    _MIT,
    False,
    "Comfy-Org/stable-diffusion-3.5-fp8",
    "text_encoders",
)
_T5 = PartSpec(
    "text_encoder_3",
    "T5-XXL",
    ("t5xxl_fp16.safetensors", "t5xxl_fp8_e4m3fn_scaled.safetensors", "t5xxl_fp8_e4m3fn.safetensors"),
    9.12,
    _APACHE,
    False,
    "comfyanonymous/flux_text_encoders",
    "text_encoders",
)
_VAES = {
    "flux": (("ae.safetensors", "flux_vae.safetensors"), _APACHE, "black-forest-labs/FLUX.1-schnell"),
    "sd3": (("sd3_vae.safetensors",), "Stability AI Community", "stabilityai/stable-diffusion-3.5-medium"),
    "sdxl": (("sdxl_vae.safetensors", "sdxl.vae.safetensors"), _MIT, "stabilityai/sdxl-vae"),
    "sd15": (("vae-ft-mse-840000-ema-pruned.safetensors",), _MIT, "stabilityai/sd-vae-ft-mse-original"),
}
_ENCODERS = {
    "flux": (_CLIP_L, dataclasses.replace(_T5, component="text_encoder_2")),
    "sd3": (_CLIP_L, _CLIP_G, _T5),
    "sdxl": (_CLIP_L, _CLIP_G),
    "sd15": (_CLIP_L,),
}
WHOLE = ("sd15", "sdxl")  # families whose checkpoints usually hold all parts
# name, GiB and folder of the file that holds the denoiser
_DENOISERS = {
    "flux-dev": ("flux1-dev.safetensors", 22.17, "diffusion_models"),
    "flux-schnell": ("flux1-schnell.safetensors", 22.15, "diffusion_models"),
    "sd3-medium": ("sd3_medium.safetensors", 4.04, "checkpoints"),
    "sd35-medium": ("sd3.5_medium.safetensors", 4.76, "checkpoints"),
    "sd35-large": ("sd3.5_large.safetensors", 15.33, "checkpoints"),
    "sdxl": ("sd_xl_base_1.0.safetensors", 6.46, "checkpoints"),
    "sd15": ("v1-5-pruned-emaonly.safetensors", 3.97, "checkpoints"),
}


def parts_of(model_name: str) -> list[PartSpec]:
    """The parts of a model of the catalog, the denoiser first; none of the built-in one."""
    if model_name not in _DENOISERS:
        return []
    model = catalog.MODELS[model_name]
    file, gib, folder = _DENOISERS[model_name]
    component = catalog.FAMILIES[model.family].denoiser
    denoiser = PartSpec(component, model.title, (file,), gib, model.licence, model.gated, model.source, folder)
    names, licence, where = _VAES[model.family]
    vae = PartSpec("vae", "VAE", names, 0.31, licence, _is_gated(where), where, "vae")
    others = [vae, *_ENCODERS[model.family]]
    if model.family in WHOLE:
        others = [dataclasses.replace(part, within=file) for part in others]
    return [denoiser, *others]


def _is_gated(source: str) -> bool:
    """Whether an id of the catalog asks for its licence to be accepted."""
    return any(model.gated for model in catalog.MODELS.values() if model.source == source)


def name_of(model: catalog.ModelSpec) -> str:
    """The name of a model in the catalog."""
    return next(name for name, known in catalog.MODELS.items() if known is model)


def parts_found(model: Model) -> list[PartState]:
    """The parts of a resolved config's base, and where each lies. Empty for a base that cannot be read."""
    try:
        family = catalog.family_of(model.base, model.family)
        source = source_of(model)
    except AtelierError:
        return []
    specs = parts_of(name_of(catalog.model_of(model.base, family)))
    return [PartState(spec, _found(source, spec.component)) for spec in specs]


def _found(source: ModelSource, component: str) -> str:
    if component in source.places:
        return source.places[component].path
    return source.configs if not source.file and os.path.isdir(source.configs) else ""


def lacking(model: Model, source: ModelSource) -> list[PartSpec]:
    """The parts of a checkpoint file's family that are in no file; none for folders and ids."""
    if not source.file:
        return []
    family = catalog.family_of(model.base, model.family)
    specs = parts_of(name_of(catalog.model_of(model.base, family)))
    return [spec for spec in specs if spec.component in PARTS[family] and spec.component not in source.places]
