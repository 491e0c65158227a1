"""Which file or folder each component of a base model comes from. Looks at names and headers only."""

from __future__ import annotations

from dataclasses import dataclass

from trainers import catalog
from trainers.config import Model


@dataclass(frozen=True)
class Place:
    """Where the weights of one component lie.

    path: a diffusers folder, a hub id, or a file; subfolder: within a folder or id; prefix: of the component's keys in a
    file, as in "model.diffusion_model."; is_file: path is one file.
    """

    path: str
    subfolder: str = ""
    prefix: str = ""
    is_file: bool = False


@dataclass(frozen=True)
class ModelSource:
    """configs: diffusers folder or hub id with configurations, scheduler and tokenizers; places: by component."""

    configs: str
    places: dict[str, Place]
    revision: str = ""


def source_of(model: Model) -> ModelSource:
    """The source of a resolved config."""
    base = catalog.source_of(model.base)
    places = {"vae": Place(model.vae)} if model.vae else {}
    return ModelSource(base, places, model.revision)


def place_of(source: ModelSource, name: str) -> Place:
    """The place of a component, by default the subfolder of its name."""
    return source.places.get(name) or Place(source.configs, subfolder=name)
