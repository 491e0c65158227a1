"""From a preset and a few wishes to the one configuration that is stored, shown and run.

    load (TOML or dict) -> override (key=value) -> validate (TrainConfig) -> resolve ("auto" filled)
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from trainers import catalog, paths
from trainers.config import SCHEMA_VERSION, TrainConfig
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.parameters import by_path, sections

PRESET_ONLY = ("title", "summary")  # what a preset says of itself

# schema_version -> function that turns a stored config of that version into one of the next
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def preset_path(name: str) -> Path | None:
    """The file of a preset: the user's own first, then the built-in ones; None if there is none."""
    for folder in (paths.data_dir() / "presets", paths.PRESETS):
        if re.fullmatch(r"[\w.+-]+", name) and (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    return None


def load(preset_or_toml: str) -> dict[str, Any]:
    """The values of a preset by name, or of a TOML file. Raises ConfigError when there is no such thing."""
    path = preset_path(preset_or_toml) or Path(preset_or_toml).expanduser()
    if not path.is_file():
        names = sorted(file.stem for file in paths.PRESETS.glob("*.toml"))
        near = difflib.get_close_matches(preset_or_toml, names, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Presets: {', '.join(names)}."
        raise ConfigError("preset", f"there is no preset or file {preset_or_toml!r}.", hint)
    values = parse_toml(path.read_text(encoding="utf-8-sig"))
    return {key: value for key, value in values.items() if key not in PRESET_ONLY}


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML text as a dict of the current schema version. Raises ConfigError with the line when it is broken."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("toml", f"this is not valid TOML: {error}.") from error
    return migrate(values)


def migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Bring a stored config to the current schema version."""
    version = values.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ConfigError("schema_version", f"{version!r} is newer than this Atelier knows ({SCHEMA_VERSION}).", "Update Atelier.")
    for old in range(version, SCHEMA_VERSION):
        values = MIGRATIONS[old](values)
    return {**values, "schema_version": SCHEMA_VERSION}


def override(values: dict[str, Any], wishes: list[str]) -> dict[str, Any]:
    """Apply `section.key=value` wishes; values are written as in TOML, and text needs no quotes."""
    merged = {key: dict(part) if isinstance(part, dict) else part for key, part in values.items()}
    for wish in wishes:
        path, equals, text = wish.partition("=")
        if not equals or path.count(".") != 1:
            raise ConfigError(wish, "this is not of the form section.key=value.", "For example: adapter.rank=8")
        section, key = path.split(".")
        if path not in by_path():
            raise unknown_key(path)
        merged.setdefault(section, {})[key] = _parse(path, text)
    return merged


def _parse(path: str, text: str) -> Any:
    parameter = by_path()[path]
    if parameter.kind == "text":
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if parameter.kind == "lines" and isinstance(value, str):
        return [value]
    return value


def unknown_key(path: str) -> ConfigError:
    """The error for a key that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(path, list(by_path()), 1, cutoff=0.5)
    return ConfigError(path, "there is no such setting.", f"Did you mean {near[0]}?" if near else f"Sections: {', '.join(sections())}.")


def validate(values: dict[str, Any]) -> TrainConfig:
    """The config of these values. Raises ConfigErrors with a dotted path and a remedy for each fault."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        faults: dict[str, ConfigError] = {}
        for detail in error.errors():
            fault = _as_config_error(detail)
            faults.setdefault(fault.field, fault)
        raise ConfigErrors(list(faults.values())) from error


def _as_config_error(detail: Any) -> ConfigError:
    path = ".".join(str(part) for part in detail["loc"][:2])
    if detail["type"] == "extra_forbidden":
        return unknown_key(path)
    parameter = by_path().get(path)
    if parameter is None:
        return ConfigError(path, str(detail["msg"]).removeprefix("Value error, ") + ".")
    if detail["type"] == "value_error":
        return ConfigError(path, str(detail["ctx"]["error"]) + ".")
    expected = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "choice": "one of " + ", ".join(parameter.choices),
        "text": "text",
        "lines": "a list of texts",
    }[parameter.kind]
    limits = f" ({parameter.bounds})" if parameter.bounds else ""
    auto = ', or "auto"' if parameter.auto and parameter.kind != "choice" else ""
    return ConfigError(path, f"{detail['input']!r} does not do.", f"Give {expected}{limits}{auto}.")


def dump(config: TrainConfig) -> str:
    """The config as TOML, every value written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def resolve(config: TrainConfig, machine: Machine) -> TrainConfig:
    """Fill every "auto" from the catalog and the machine; paths become absolute. Idempotent.

    `noise.shift` may stay "auto": it depends on the shape of each picture.
    Raises ConfigError for a base, family, target set or resolution that cannot be used.
    """
    family_name = config.model.family if config.model.family != "auto" else catalog.family_of(config.model.base)
    if family_name not in catalog.FAMILIES:
        raise ConfigError("model.family", f"there is no family {family_name!r}.", f"Families: {', '.join(catalog.FAMILIES)}.")
    family = catalog.FAMILIES[family_name]
    model = catalog.model_of(config.model.base, family_name)

    def filled(value: Any, default: Any) -> Any:
        return default if value == "auto" else value

    rank = filled(config.adapter.rank, model.rank)
    changes: dict[str, dict[str, Any]] = {
        "model": {"family": family_name, "precision": _precision(config, machine)},
        "data": {
            "folder": str(paths.locate(config.data.folder)) if config.data.folder else "",
            "resolution": _resolution(filled(config.data.resolution, model.native_resolution), family),
            "cache_dir": str(Path(filled(config.data.cache_dir, str(paths.data_dir() / "cache"))).expanduser().absolute()),
        },
        "adapter": {
            "rank": rank,
            "alpha": filled(config.adapter.alpha, float(rank)),
            "targets": _targets(filled(config.adapter.targets, family.default_targets), family),
            "resume_from": str(paths.locate(config.adapter.resume_from)) if config.adapter.resume_from else "",
        },
        "noise": {"timestep_sampling": filled(config.noise.timestep_sampling, family.timestep_sampling)},
        "optimizer": {"learning_rate": filled(config.optimizer.learning_rate, model.learning_rate)},
        "memory": {
            "gradient_checkpointing": filled(
                config.memory.gradient_checkpointing, "on" if model.denoiser_params > 1 else "off"
            )
        },
        "sample": {
            "steps": filled(config.sample.steps, model.sample_steps),
            "guidance": filled(config.sample.guidance, model.sample_guidance),
        },
        "run": {
            "output_dir": str(Path(filled(config.run.output_dir, str(paths.data_dir() / "runs"))).expanduser().absolute()),
            "threads": filled(config.run.threads, machine.cores),
        },
    }
    changes["run"]["name"] = filled(config.run.name, _free_name(config, Path(changes["run"]["output_dir"])))
    return with_changes(config, changes)


def with_changes(config: TrainConfig, changes: dict[str, dict[str, Any]]) -> TrainConfig:
    """A copy with the given values of sections replaced, validated again."""
    values = config.model_dump()
    for section, part in changes.items():
        values[section] = {**values[section], **part}
    return validate(values)


def _precision(config: TrainConfig, machine: Machine) -> str:
    if config.model.precision != "auto":
        return config.model.precision
    if machine.device == "cpu":
        return "fp32"
    return "bf16" if machine.bf16 else "fp16"


def _resolution(resolution: int, family: catalog.FamilySpec) -> int:
    multiple = family.pixel_multiple
    if resolution % multiple:
        below = resolution // multiple * multiple
        use = f"Use {below} or {below + multiple}." if below else f"Use {below + multiple}."
        raise ConfigError("data.resolution", f"{resolution} is not a multiple of {multiple}, which {family.title} needs.", use)
    return resolution


def _targets(scope: str, family: catalog.FamilySpec) -> str:
    known = scope in family.targets
    looks_like_layers = all(re.fullmatch(r"[\w.]*[._][\w.]*", part.strip()) for part in scope.split(","))
    if not known and not looks_like_layers:
        raise ConfigError("adapter.targets", f"there is no target set {scope!r}.", f"Sets: {', '.join(family.targets)}; or endings of layer names, as in to_q,to_v.")
    return scope


def _free_name(config: TrainConfig, folder: Path) -> str:
    """What is taught and on what, with a number if a run of that name exists."""
    subject = config.captions.trigger or Path(config.data.folder).name or "run"
    base = Path(config.model.base).name
    stem = re.sub(r"[^\w+-]+", "-", f"{subject}-{base}").strip("-") or "run"
    name, number = stem, 1
    while (folder / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name
