"""Which file or folder each component of a base model comes from. Looks at names and headers only."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainers import catalog, paths
from trainers.config import Model
from trainers.errors import ConfigError
from trainers.weights.cached import is_id, snapshot
from trainers.weights.header import WeightsError, read_header
from trainers.weights.recognise import Recognised, recognise

# component of the pipeline -> part of a file (see `Recognised.parts`)
PARTS = {
    "flux": {"transformer": "denoiser", "vae": "vae", "text_encoder": "clip_l", "text_encoder_2": "t5"},
    "sd15": {"unet": "denoiser", "vae": "vae", "text_encoder": "clip_l"},
    "sdxl": {"unet": "denoiser", "vae": "vae", "text_encoder": "clip_l", "text_encoder_2": "clip_g"},
    "sd3": {
        "transformer": "denoiser",
        "vae": "vae",
        "text_encoder": "clip_l",
        "text_encoder_2": "clip_g",
        "text_encoder_3": "t5",
    },
}
LATENT_CHANNELS = {"flux": 16, "sd15": 4, "sdxl": 4, "sd3": 16}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


@dataclass(frozen=True)
class Place:
    """Where the weights of one component lie.

    path: a diffusers folder, a hub id, or a file; subfolder: within a folder or id; prefix: of the component's keys in
    a file, as in "model.diffusion_model."; is_file: path is one file.
    """

    path: str
    subfolder: str = ""
    prefix: str = ""
    is_file: bool = False


@dataclass(frozen=True)
class ModelSource:
    """configs: diffusers folder or hub id with configurations, scheduler and tokenizers; places: by component.

    file: the base, where it is one checkpoint file: then a component without a place is nowhere; scheduler: what
    differs from its stored settings; allow_pickle: whether weights may be pickles.
    """

    configs: str
    places: dict[str, Place]
    revision: str = ""
    file: str = ""
    scheduler: dict[str, Any] = field(default_factory=dict)
    allow_pickle: bool = False


def source_of(model: Model) -> ModelSource:
    """The source of a resolved config.

    Raises ConfigError or WeightsError for files that cannot be used; those that are missing show in `place_of`.
    """
    base = catalog.source_of(model.base)
    source = _of_file(base, model) if os.path.isfile(base) else _of_folder(base, model)
    family = model.family if model.family in PARTS else catalog.family_of(model.base)
    places = dict(source.places)
    if model.vae:
        places["vae"] = _vae_place(model, family)
    for path in model.text_encoders:
        places |= _encoder_places(path, model, family)
    return dataclasses.replace(source, places=places)


def _of_folder(base: str, model: Model) -> ModelSource:
    here = base if os.path.isdir(base) else str(snapshot(base, model.revision, model.hub) or base)
    return ModelSource(here, {}, model.revision, allow_pickle=model.allow_pickle)


def _of_file(base: str, model: Model) -> ModelSource:
    _opened(base, "model.base", model)
    found = catalog.recognised_base(base)
    configs = paths.locate(model.config) if model.config else catalog.CONFIGS / found.model
    places = {
        component: Place(base, prefix=found.parts[part], is_file=True)
        for component, part in PARTS[found.family].items()
        if part in found.parts
    }
    scheduler: dict[str, Any] = {"prediction_type": found.prediction} if found.prediction else {}
    if found.zero_snr:
        scheduler |= ZERO_SNR
    return ModelSource(str(configs), places, "", base, scheduler, model.allow_pickle)


def _opened(path: str, field_name: str, model: Model) -> Recognised:
    """What a file is. Raises ConfigError when it cannot be read, or is a pickle and none are allowed."""
    try:
        header = read_header(path)
    except WeightsError as error:
        raise ConfigError(field_name, error.message, error.hint) from error
    if header.format == "pickle" and not model.allow_pickle:
        raise ConfigError(
            field_name,
            f"{os.path.basename(path)} is a pickle, which can run any program.",
            "Convert it to .safetensors, or set model.allow_pickle = true if you trust who made it.",
        )
    return recognise(header)


def _vae_place(model: Model, family: str) -> Place:
    located = str(paths.locate(model.vae))
    if os.path.isfile(located):
        found, channels = _opened(located, "model.vae", model), LATENT_CHANNELS[family]
        name = os.path.basename(located)
        if "vae" not in found.parts:
            raise ConfigError("model.vae", f"{name} is {found.title}, not a VAE.", "Choose a VAE, or leave it empty.")
        if found.kind == "vae" and found.channels != channels:
            message = f"{name} is {found.title}; {catalog.FAMILIES[family].title} needs one of {channels}."
            raise ConfigError("model.vae", message, "Choose another, or leave it empty.")
        return Place(located, prefix=found.parts["vae"], is_file=True)
    if not os.path.isdir(located) and not is_id(model.vae):
        raise ConfigError("model.vae", f"there is no file or folder {model.vae}.", "Choose another, or leave it empty.")
    folder = located if os.path.isdir(located) else str(snapshot(model.vae, hub=model.hub) or model.vae)
    has_subfolder = os.path.isfile(os.path.join(folder, "vae", "config.json"))
    return Place(folder, subfolder="vae" if has_subfolder else "")


def _encoder_places(path: str, model: Model, family: str) -> dict[str, Place]:
    located = str(paths.locate(path))
    found, name = _opened(located, "model.text_encoders", model), os.path.basename(located)
    places = {
        component: Place(located, prefix=found.parts[part], is_file=True)
        for component, part in PARTS[family].items()
        if part in found.parts and part not in ("denoiser", "vae")
    }
    if not places:
        message = f"{name} is {found.title}, which {catalog.FAMILIES[family].title} does not read."
        raise ConfigError("model.text_encoders", message, "Remove it from the list.")
    return places


def place_of(source: ModelSource, name: str) -> Place:
    """The place of a component, by default the subfolder of its name. Raises WeightsError when it is nowhere."""
    if name in source.places:
        return source.places[name]
    if source.file:
        message = f"{os.path.basename(source.file)} holds no {name}, and no file with it is given."
        raise WeightsError(message, f"Set {'model.vae' if name == 'vae' else 'model.text_encoders'}.")
    return Place(source.configs, subfolder=name)


def stamp(source: ModelSource, name: str) -> str:
    """Changes whenever the weights or the settings of a component may; the same wherever they lie."""
    place = place_of(source, name)
    facts: list[Any]
    if place.is_file:
        state, header = os.stat(place.path), read_header(place.path)
        names = hashlib.blake2b(repr(list(header.tensors.items())).encode()).hexdigest()
        facts = [place.prefix, state.st_size, state.st_mtime_ns, names, *_facts(Path(source.configs, name), "*.json")]
    elif os.path.isdir(place.path):
        facts = _facts(Path(place.path, place.subfolder), "*.safetensors", "*.bin", "config.json")
    else:
        facts = [place.path, source.revision, place.subfolder]
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _facts(folder: Path, *patterns: str) -> list[tuple[str, int, int]]:
    """Names, sizes and times of files."""
    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
