"""The files that a base model consists of: which are on this machine, and where the others can be had and go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trainers import catalog
from trainers.config import Model
from trainers.weights.cached import models_folder
from trainers.weights.hub import HUB
from trainers.weights.parts import PartState, parts_found
from trainers.weights.wanted import is_complete

CACHED = "models--"  # begins the folders of downloads from the hub, as in models--OWNER--NAME


@dataclass(frozen=True)
class PartInfo:
    """A part of the base.

    file: its usual name; size_gib: of that; page: where it can be had; found: where it is, empty for nowhere; place:
    the end of that, for people; folder: where ComfyUI keeps it; within: the file that it usually comes in.
    """

    title: str
    file: str
    size_gib: float
    licence: str
    gated: bool
    source: str
    page: str
    found: str
    place: str
    folder: str
    within: str


@dataclass(frozen=True)
class Parts:
    """by_hand: what is missing has to be put somewhere, because the base is a checkpoint file; models: the folder."""

    parts: list[PartInfo]
    by_hand: bool
    models: str


def parts_of_model(model: Model) -> Parts:
    """Of a resolved config; none of the built-in model, and of a base that cannot be read. Looks at headers only."""
    by_hand = os.path.isfile(catalog.source_of(model.base))
    return Parts([_info(state, model) for state in parts_found(model)], by_hand, str(models_folder()))


def _info(state: PartState, model: Model) -> PartInfo:
    spec = state.spec
    found = _whole(state)
    return PartInfo(
        title=spec.title,
        file=spec.names[0],
        size_gib=spec.size_gib,
        licence=spec.licence,
        gated=spec.gated,
        source=spec.where,
        page=f"{model.endpoint.rstrip('/') or HUB}/{spec.where}",
        found=found,
        place=_place(Path(found)) if found else "",
        folder=f"models/{spec.folder}",
        within=spec.within,
    )


def _whole(state: PartState) -> str:
    """The file, or the part's folder in a pipeline; empty for one whose download was broken off."""
    folder = Path(state.found)
    if not state.found or not (folder / "model_index.json").is_file():
        return state.found
    component = state.spec.component
    return str(folder / component) if is_complete(folder, (component,)) else ""


def _place(found: Path) -> str:
    """The last two parts of the path; of a download from the hub its name and the part."""
    cached = next((part for part in found.parts if part.startswith(CACHED)), "")
    return f"{cached.split('--')[-1]}/{found.name}" if cached else "/".join(found.parts[-2:])
