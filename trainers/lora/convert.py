"""The command `export`: a LoRA file of any program in another layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from trainers import catalog, resolve
from trainers.catalog import Layout
from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.families import load_family
from trainers.families.base import DTYPES, ModelFamily, Runtime
from trainers.lora.facts import LoraFacts, facts_of
from trainers.lora.file import save_layers
from trainers.lora.keys import LoraError
from trainers.lora.layers import Layers
from trainers.lora.read import read_lora
from trainers.lora.write import Weights
from trainers.weights.header import read_header

# they are of the old layout, or of the old tensors
NOT_KEPT = ("lora_adapter_metadata", "sshs_model_hash", "sshs_legacy_hash")
DTYPE_NAMES = {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}


def convert_lora(path: Path, out: Path, layout: Layout, dtype: str = "", base: str = "") -> None:
    """Read a LoRA, write it in `layout` and check that it does the same to every layer.

    dtype: "bf16" | "fp16" | "fp32", empty for the file's own; base: a model of the catalog, a folder or a file, whose
    sizes the layers have, and its weights where a DoRA needs them; empty to go by the file. Raises LoraError,
    ConfigError or AtelierError.
    """
    facts = facts_of(path)
    layers, family, name = _fitted(path, facts, base)
    offered = catalog.FAMILIES[name].layouts
    if layout not in offered:
        message = f"no program loads a LoRA for {catalog.FAMILIES[name].title} in the {layout} layout."
        raise ConfigError("--layout", message, f"Use one of {', '.join(offered)}.")
    kept = {key: value for key, value in facts.metadata.items() if key not in NOT_KEPT}
    kept["atelier.family"] = name
    weights = _weights(family) if os.path.exists(catalog.source_of(base)) else None
    save_layers(out, layers, family.skeleton(), layout, DTYPES[dtype or _dtype_of(path)], kept, weights)


def _weights(family: ModelFamily) -> Weights:
    """Of the base, which is opened when the first is asked for."""

    def weight(name: str) -> Tensor:
        component, _, module = name.partition(".")
        for part in ("denoiser", "trained_text"):
            family.load(part)
        found: Tensor = family.adapted()[component].get_submodule(module).weight
        return found

    return weight


def _dtype_of(path: Path) -> str:
    """Of the first of its large tensors; 8 bits and others become bf16."""
    tensors = read_header(path).tensors.values()
    return DTYPE_NAMES.get(next(info.dtype for info in tensors if len(info.shape) > 1), "bf16")


def _fitted(path: Path, facts: LoraFacts, base: str) -> tuple[Layers, ModelFamily, str]:
    """The layers, the first model that they fit, and its family's name. Raises the LoraError of the likeliest one."""
    first: LoraError | None = None
    for model in [base] if base else _candidates(path, facts):
        name = catalog.family_of(model)
        family = _open(model, name)
        try:
            return read_lora(path, family.skeleton()), family, name
        except LoraError as error:
            first = first or error
    assert first is not None
    raise first


def _candidates(path: Path, facts: LoraFacts) -> Iterator[str]:
    """Models of the catalog, the one that the file names in front."""
    if not facts.family:
        known = ", ".join(family.title for family in catalog.FAMILIES.values())
        what = f"is for {facts.title}" if facts.title else "does not say which model it is for"
        raise LoraError(f"{path.name} {what}.", f"Models of {known} can be converted; give one with --base.")
    models = [name for name, model in catalog.MODELS.items() if model.family == facts.family and not model.built_in]
    said = facts.metadata.get("atelier.base", "")
    models.sort(key=lambda name: (name != said, name != catalog.FAMILIES[facts.family].default_model))
    return iter([said, *models] if said in catalog.MODELS and said not in models else models)


def _open(model: str, name: str) -> ModelFamily:
    """A model of the catalog by its published configuration, so that nothing need be downloaded."""
    published = catalog.CONFIGS / model
    source = str(published) if model in catalog.MODELS and published.is_dir() else catalog.source_of(model)
    config = resolve.with_changes(TrainConfig(), {"model": {"base": source, "family": name}})
    return load_family(config, Runtime(torch.device("cpu"), torch.bfloat16, train_text=True))
