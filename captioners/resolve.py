"""From a captioner's name and a few wishes to the one configuration that is stored, shown and run. Light."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from captioners import catalog
from captioners.catalog import CAPTIONERS, CaptionerSpec
from captioners.config import SCHEMA_VERSION, CaptionConfig
from captioners.prompts import check_prompt
from trainers import paths, settings
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.parameters import by_path

FILLED_FOR_ALL = frozenset({"captioner.device", "captioner.precision"})


def spec_of(config: CaptionConfig) -> CaptionerSpec:
    """Raises ConfigError for a name that does not exist."""
    name = config.captioner.name
    if name not in CAPTIONERS:
        near = difflib.get_close_matches(name, CAPTIONERS, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Captioners: {', '.join(CAPTIONERS)}."
        raise ConfigError("captioner.name", f"there is no captioner {name!r}.", hint)
    return CAPTIONERS[name]


def override(values: dict[str, Any], wishes: list[str]) -> dict[str, Any]:
    """Apply `section.key=value` wishes. A key that only one section has needs no section: existing=append."""
    return settings.override(values, [_full(wish) for wish in wishes], CaptionConfig)


def _full(wish: str) -> str:
    key, equals, text = (part.strip() for part in wish.partition("="))
    if not equals or "." in key:
        return wish
    known = by_path(CaptionConfig)
    names = {one.name: path for path, one in known.items()}
    found = [path for path, one in known.items() if one.name == key]
    found = found or [path for path, one in known.items() if key in one.aka.split()]
    if len(found) == 1:
        return f"{found[0]}={text}"
    near = found or [names[name] for name in difflib.get_close_matches(key, names, 1)]
    hint = f"Did you mean {' or '.join(near)}?" if near else "All of them are in docs/captioning_settings.md."
    raise ConfigError(key, "there is no such setting.", hint)


def load(text: str) -> CaptionConfig:
    """The config of a stored job. Raises ConfigError."""
    values = settings.read_toml(text)
    version = values.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise ConfigError("schema_version", f"{version!r} is not known to this Atelier ({SCHEMA_VERSION}).")
    return settings.validate(values, CaptionConfig)


def validate(values: dict[str, Any]) -> CaptionConfig:
    """Raises ConfigErrors with a dotted path and a remedy for each fault."""
    return settings.validate(values, CaptionConfig)


def unfit(config: CaptionConfig) -> list[ConfigError]:
    """Settings that were set and that this captioner does not read."""
    spec = spec_of(config)
    values, usual = config.model_dump(), CaptionConfig().model_dump()
    filled = {"generate": _drawing(CaptionConfig(), spec)}  # what a resolved config holds is no wish
    faults = []
    for path in sorted(catalog.ONLY_SOME_READ - catalog.READS[spec.kind] - FILLED_FOR_ALL):
        section, key = path.split(".")
        if values[section][key] not in (usual[section][key], filled.get(section, {}).get(key)):
            hint = "Take it out, or choose another captioner."
            faults.append(ConfigError(path, f"{spec.title} does not read it.", hint))
    return faults


def resolve(config: CaptionConfig, machine: Machine) -> CaptionConfig:
    """Fill every "auto"; paths become absolute. Idempotent. Raises ConfigError, ConfigErrors."""
    spec = spec_of(config)
    if faults := unfit(config):
        raise faults[0] if len(faults) == 1 else ConfigErrors(faults)
    check_prompt(config, spec)
    if not config.pictures.folder:
        raise ConfigError("pictures.folder", "it is empty.", "Give the folder with the pictures.")
    folder = paths.locate(config.pictures.folder)
    output_dir = paths.absolute(_filled(config.run.output_dir, str(paths.data_dir() / "runs")))
    device = _filled(config.captioner.device, machine.device)
    values = config.model_dump()
    name = config.run.name
    if name == "auto":
        name = settings.free_name(f"caption-{folder.name}-{config.captioner.name}", output_dir)
    changes: dict[str, dict[str, Any]] = {
        "run": {
            "name": name,
            "output_dir": str(output_dir),
            # of a tiny model, one thread is as fast, and bears other work on the machine far better
            "threads": _filled(config.run.threads, 1 if spec.built_in else machine.cores),
        },
        "captioner": {
            "source": _anchored(config.captioner.source),
            "device": device,
            "precision": _filled(config.captioner.precision, _native_precision(device, spec, machine)),
            "batch_size": _filled(config.captioner.batch_size, _batch(config, spec, device)),
        },
        "pictures": {"folder": str(folder), "dry_run": config.pictures.dry_run or config.server.cost_free},
        "prompt": {"task": _task(config, spec)},
        "generate": _drawing(config, spec),
    }
    for section, more in changes.items():
        values[section] |= more
    return validate(values)


def _drawing(config: CaptionConfig, spec: CaptionerSpec) -> dict[str, Any]:
    """The section `generate` with every "auto" filled. Without randomness, beams take the place of top p and top k."""
    part, defaults = config.generate, spec.defaults
    temperature = _filled(part.temperature, defaults.temperature)
    return {
        "temperature": temperature,
        "top_p": _filled(part.top_p, defaults.top_p if temperature else 1.0),
        "top_k": _filled(part.top_k, defaults.top_k if temperature else 0),
        "beams": _filled(part.beams, 1 if temperature else defaults.beams),
        "max_tokens": _filled(part.max_tokens, defaults.max_tokens),
    }


def _filled(value: Any, default: Any) -> Any:
    return default if value == "auto" else value


def _anchored(source: str) -> str:
    """A folder by its absolute path, so that a worker in another folder finds it; hub ids stay."""
    return str(paths.locate(source)) if source and os.path.exists(paths.locate(source)) else source


def _task(config: CaptionConfig, spec: CaptionerSpec) -> str:
    return spec.tasks[0] if config.prompt.task == "auto" and spec.tasks else config.prompt.task


def _native_precision(device: str, spec: CaptionerSpec, machine: Machine) -> str:
    if device == "cpu":
        return "fp32"
    # half precision of 5 exponent bits overflows in Qwen-VL, and captions are then nothing but "!"
    return "bf16" if machine.bf16 or spec.kind == "qwen_vl" else "fp16"


def _batch(config: CaptionConfig, spec: CaptionerSpec, device: str) -> int:
    if spec.kind == "server":
        return 2 * config.server.concurrency  # the next questions follow at once
    small = spec.params < 0.05 or spec.kind == "wd"
    return spec.defaults.batch if device != "cpu" or small else 1


def run_folder(config: CaptionConfig) -> Path:
    """Where the job of a resolved config lies."""
    return Path(config.run.output_dir) / config.run.name
