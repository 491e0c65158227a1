"""Finds what a checkpoint file lacks: beside it, where ComfyUI and Forge keep such files, and in Atelier's models."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from trainers import catalog
from trainers.config import Model
from trainers.errors import AtelierError
from trainers.weights.cached import models_folder
from trainers.weights.header import WeightsError, read_header
from trainers.weights.parts import PartSpec, lacking
from trainers.weights.recognise import recognise
from trainers.weights.source import LATENT_CHANNELS, PARTS, source_of

SIBLINGS = (
    "vae",
    "VAE",
    "text_encoders",
    "text_encoder",
    "clip",
    "checkpoints",
    "diffusion_models",
    "unet",
    "Stable-diffusion",
)
DEPTH = 3  # folders below Atelier's models folder
MOST_FILES = 500
# VAEs of different families look alike in their headers: names that belong to another one
FOREIGN_VAES = {"flux": r"sd-?_?3", "sd3": r"flux|^ae\b", "sd15": r"xl", "sdxl": r"^(?!.*xl)"}


def fields_found(model: Model) -> dict[str, Any]:
    """model.vae and model.text_encoders, completed by what is on this machine. Changes nothing that is given."""
    try:
        family = catalog.family_of(model.base, model.family)
        missing = lacking(model, source_of(model))
    except AtelierError:  # the preflight tells of it
        return {}
    found = find(catalog.source_of(model.base), missing, family) if missing else {}
    vae = found.pop("vae", "")
    encoders = dict.fromkeys((*model.text_encoders, *found.values()))
    return {"vae": vae or model.vae, "text_encoders": tuple(encoders)}


def find(base: str, missing: list[PartSpec], family: str) -> dict[str, str]:
    """Component -> file, for those of the missing parts that are found. Reads headers only."""
    wanted = {PARTS[family][spec.component]: spec for spec in missing if spec.component != _denoiser(family)}
    ranked: dict[str, tuple[int, str]] = {}
    for file in islice(_candidates(Path(base)), MOST_FILES):
        for part in _parts(file, family):
            spec = wanted.get(part)
            rank = _rank(os.path.basename(file), spec) if spec else 0
            if spec and (spec.component not in ranked or rank < ranked[spec.component][0]):
                ranked[spec.component] = rank, file
    return {component: file for component, (_, file) in ranked.items()}


def _denoiser(family: str) -> str:
    return catalog.FAMILIES[family].denoiser


def _rank(name: str, spec: PartSpec) -> int:
    """The usual names first; among others the nearest folder."""
    return spec.names.index(name) if name in spec.names else len(spec.names)


def _parts(file: str, family: str) -> list[str]:
    """The parts of a file that may serve a model of the family; none of a whole checkpoint."""
    try:
        found = recognise(read_header(file))
    except WeightsError:  # half a download: it is not what is looked for
        return []
    if found.kind == "vae":
        fits = found.channels == LATENT_CHANNELS[family]
        is_foreign = re.search(FOREIGN_VAES[family], os.path.basename(file).lower())
        return ["vae"] if fits and not is_foreign else []
    return list(found.parts) if found.kind == "text_encoder" else []


def _candidates(base: Path) -> Iterator[str]:
    """Weight files, the nearest first, each once."""
    folders = [base.parent]
    for above in islice(base.parents, 1, 3):
        folders += [above / name for name in SIBLINGS]
    seen = {str(base)}
    for folder in folders:
        for file in _files(folder, depth=1):
            if file not in seen:
                seen.add(file)
                yield file
    yield from (file for file in _files(models_folder(), DEPTH) if file not in seen)


def _files(folder: Path, depth: int) -> Iterator[str]:
    """Safetensors files in a folder and `depth` - 1 levels below it, by name."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # not there, or not ours
        return
    for entry in entries:
        if entry.name.endswith(".safetensors") and entry.is_file():
            yield entry.path
    for entry in entries:
        if depth > 1 and entry.is_dir():
            yield from _files(Path(entry.path), depth - 1)
