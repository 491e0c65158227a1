"""What a run can start from: presets and base models."""

from __future__ import annotations

import logging
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.services import format
from trainers import catalog, paths, plan, resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.machine import Machine

log = logging.getLogger(__name__)

Fit = Literal["yes", "tight", "no"]
TIGHT = 0.9  # share of the memory from which on little is left for other programs


@dataclass(frozen=True)
class PresetInfo:
    """values: nested, only what the preset sets."""

    name: str
    title: str
    summary: str
    values: dict[str, Any]


@dataclass(frozen=True)
class ModelCard:
    """A base model as a card. size: of the download; fit: of its plain training into this machine's memory."""

    name: str
    title: str
    note: str
    licence: str
    size: str
    on_disk: bool
    gated: bool
    fit: Fit


def presets(own: Path) -> list[PresetInfo]:
    """Built-in presets, then those of the folder `own`, which replace built-in ones of the same name."""
    found: dict[str, PresetInfo] = {}
    for folder in (paths.PRESETS, own):
        for file in sorted(folder.glob("*.toml")):
            try:
                found[file.stem] = _preset(file)
            except (ConfigError, OSError, UnicodeDecodeError) as error:
                log.warning("the preset %s is left out: %s", file, error)
    return list(found.values())


def _preset(file: Path) -> PresetInfo:
    text = file.read_text(encoding="utf-8-sig")
    values = {key: value for key, value in resolve.parse_toml(text).items() if key not in resolve.PRESET_ONLY}
    values.pop("schema_version", None)
    about = tomllib.loads(text)
    return PresetInfo(file.stem, str(about.get("title", file.stem)), str(about.get("summary", "")), values)


def models(machine: Machine) -> list[ModelCard]:
    return [_card(name, model, machine) for name, model in catalog.MODELS.items()]


def _card(name: str, model: catalog.ModelSpec, machine: Machine) -> ModelCard:
    return ModelCard(
        name=name,
        title=model.title,
        note=model.note,
        licence=model.licence,
        size="built in" if model.built_in else format.gib(model.download_gib),
        on_disk=_on_disk(name),
        gated=model.gated,
        fit=_fit(name, machine),
    )


def _on_disk(name: str) -> bool:
    source = catalog.source_of(name)
    if Path(source).is_absolute():
        return (Path(source) / "model_index.json").is_file()
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(source, "model_index.json"), str)


def _fit(name: str, machine: Machine) -> Fit:
    config = resolve.resolve(resolve.with_changes(TrainConfig(), {"model": {"base": name}}), machine)
    need = plan.forecast(config, machine, pictures=1).memory_gib
    if need > machine.memory_gib:
        return "no"
    return "tight" if need > TIGHT * machine.memory_gib else "yes"
