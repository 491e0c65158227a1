"""What can be known of a job on a preference set before anything loads, and how much it would do. Light."""

from __future__ import annotations

import filecmp
import json
import os
from dataclasses import dataclass
from pathlib import Path

from trainers import catalog
from trainers.errors import AtelierError, ConfigError
from trainers.machine import Machine
from trainers.preferences import scorers
from trainers.preferences.adapters import lora_facts
from trainers.preferences.config import (
    AnyConfig,
    CompareConfig,
    GenerateConfig,
    ScoreConfig,
    Scorers,
)
from trainers.preferences.judges import catalog_name, check_name, spec_of
from trainers.preferences.prefset import SCHEMA, Prefset, prompt_id_of
from trainers.preferences.prompts import Progress, read_prompts
from trainers.preferences.resolve import train_config
from trainers.preflight.model import of_model
from trainers.preflight.room import existing, free_gib
from trainers.weights.blobs import is_offline

PNG_BYTES = 1.7  # of a pixel, of a busy picture
SPARE_GIB = 0.2
GIB = 2**30


@dataclass(frozen=True)
class Forecast:
    """What a job is about. pictures: to draw, those that are there already included; disk_gib: of all of them."""

    prompts: int = 0
    pictures: int = 0
    disk_gib: float = 0.0

    def sentence(self) -> str:
        prompts = f"{self.prompts:,} prompt{'s' * (self.prompts != 1)}"
        return f"{self.pictures:,} pictures of {prompts}, {max(self.disk_gib, 0.01):.2f} GB at most"


def check(config: AnyConfig, machine: Machine, progress: Progress | None = None) -> Forecast:
    """config: resolved; progress: is told of a data set whose captions are read.

    Raises ConfigError with the remedy for what would end the job after it started.
    """
    _check_output(config)
    if isinstance(config, ScoreConfig):
        _check_set(Path(config.set.folder), needed=True)
        _check_scorers(config.scorers)
        return Forecast()
    _check_set(Path(config.set.folder), needed=False)
    if isinstance(config, CompareConfig):
        _check_scorers(config.scorers)
    _check_model(config, machine)
    return _check_pictures(config, progress)


def _check_output(config: AnyConfig) -> None:
    folder = Path(config.run.output_dir)
    parent = existing(folder)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError("run.output_dir", f"nothing can be written in {parent}.", "Choose another folder.")


def _check_set(folder: Path, *, needed: bool) -> None:
    """needed: the set has to be there, with pictures."""
    marker = folder / "set.json"
    if not marker.is_file():
        if needed:
            raise ConfigError("set.folder", f"{folder} holds no preference set.", "Make one with `pairs generate`.")
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            message = f"{folder} holds other things, and no preference set."
            raise ConfigError("set.folder", message, "Give a new or an empty folder.")
        parent = existing(folder)
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise ConfigError("set.folder", f"nothing can be written in {parent}.", "Choose another folder.")
        return
    try:
        schema = json.loads(marker.read_text(encoding="utf-8")).get("schema")
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError("set.folder", f"{marker} is damaged.", "Restore it, or give another folder.") from error
    if schema != SCHEMA:
        message = f"{folder} is a preference set of schema {schema!r}."
        raise ConfigError("set.folder", message, f"Atelier reads {SCHEMA}.")
    if needed and not Prefset(folder).pictures:
        raise ConfigError("set.folder", f"{folder} has no pictures yet.", "Draw some with `pairs generate`.")


def _check_scorers(part: Scorers) -> None:
    given = scorers.given_places(part.weights)
    for name in part.names:
        check_name(name)
        base, spec = catalog_name(name), spec_of(name)
        if remedy := scorers.missing_package(base):
            raise ConfigError("scorers.names", f"{spec.title} needs the package {spec.package}.", remedy)
        if scorers.find(base, given.get(base)) is None and is_offline():
            message = f"{spec.title} is not on this machine, and downloads are switched off (HF_HUB_OFFLINE)."
            raise ConfigError("scorers.names", message, "Unset HF_HUB_OFFLINE, or say in scorers.weights where it is.")


def _check_model(config: GenerateConfig | CompareConfig, machine: Machine) -> None:
    try:
        findings = list(of_model(train_config(config, machine)))
    except AtelierError as error:
        field = error.field if isinstance(error, ConfigError) else "model.base"
        raise ConfigError(field, error.message, error.hint) from error
    for finding in findings:
        if finding.level == "problem":
            raise ConfigError(finding.field, finding.message, finding.hint)
    files = (
        [("adapter.file", config.adapter.file)]
        if isinstance(config, GenerateConfig)
        else [
            ("policy.file", config.policy.file),
            ("reference.file", config.reference.file),
        ]
    )
    for field, file in files:
        if file:
            _check_adapter(field, Path(file), config.model.family)
    if isinstance(config, CompareConfig) and config.reference.file:
        _check_difference(Path(config.policy.file), Path(config.reference.file))


def _check_difference(policy: Path, reference: Path) -> None:
    if policy == reference or filecmp.cmp(policy, reference, shallow=False):
        hint = "Give what it is to be compared with; empty for the base alone."
        raise ConfigError("reference.file", "it is the same LoRA as the trained one.", hint)


def _check_adapter(field: str, file: Path, family: str) -> None:
    if not file.is_file():
        raise ConfigError(field, f"there is no file {file}.", "Give a .safetensors file or the folder of a run.")
    facts = lora_facts(field, file)
    if facts.title and facts.family != family:
        base = catalog.FAMILIES[family].title
        message = f"{file.name} is a LoRA for {facts.title}; the base is {base}."
        raise ConfigError(field, message, "Choose a LoRA of its family, or another base.")


def _check_pictures(config: GenerateConfig | CompareConfig, progress: Progress | None) -> Forecast:
    part, sides = config.pictures, 1 if isinstance(config, GenerateConfig) else 2
    folder, prompts = Path(config.set.folder), read_prompts(config.prompts, progress)
    pictures = len(prompts) * part.per_prompt * sides
    need = pictures * int(part.width) * int(part.height) * PNG_BYTES / GIB
    ids = {prompt_id_of(text, config.prompts.negative) for text in prompts}
    own = (file for file in (folder / "images").glob("*.png") if file.name.partition("-")[0] in ids)
    there = sum(file.stat().st_size for file in own) / GIB
    free = free_gib(folder)
    if need - there + SPARE_GIB > free:
        message = f"the pictures need up to {need:.1f} GB in {folder}, which has {free:.1f} GB free."
        raise ConfigError("set.folder", message, "Free some space, choose another folder, or draw fewer.")
    return Forecast(len(prompts), pictures, need)
