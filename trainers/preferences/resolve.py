"""From a few wishes to the one configuration of a job that is stored, shown and run. Light."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

from trainers import catalog, paths, settings
from trainers import resolve as training
from trainers.config import Model, Section, TrainConfig
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.parameters import by_path
from trainers.preferences.adapters import find_adapter
from trainers.preferences.background import compared
from trainers.preferences.config import (
    CONFIGS,
    SCHEMA_VERSION,
    AnyConfig,
    CompareConfig,
    GenerateConfig,
    Pictures,
    Prompts,
    ScoreConfig,
    Scorers,
)
from trainers.preferences.judges import check_name

TINY = 0.05  # billions of weights; below it a processor draws many pictures at a time
LARGE = 4.0  # billions; above it the activations of one picture fill a card
OURS = {  # settings of training that stand for settings of a job
    "sample.negative": "prompts.negative",
    "sample.steps": "pictures.steps",
    "sample.guidance": "pictures.guidance",
}
USUAL_GUIDANCE = Model().guidance

C = TypeVar("C", bound=GenerateConfig | ScoreConfig | CompareConfig)


# --------------------------------------------------------------------------- reading


def sets_dir() -> Path:
    """Where sets lie that are known by name."""
    return paths.data_dir() / "preferences"


def set_folder(given: str) -> Path:
    """The folder of a set: of a name in the data folder, or a path. Raises ConfigError when nothing is given."""
    given = given.strip()
    if not given:
        raise ConfigError("set.folder", "it is empty.", "Give the name of a set, or a folder.")
    is_name = Path(given).name == given and given not in (".", "..", "~")
    if is_name and not (paths.absolute(given) / "set.json").is_file():
        return sets_dir() / given
    return paths.absolute(given)


def override(config: type[Section], values: dict[str, Any], wishes: list[str]) -> dict[str, Any]:
    """Apply `section.key=value` wishes. A key that only one section has needs no section: per_prompt=2."""
    return settings.override(values, [_full(config, wish) for wish in wishes], config)


def _full(config: type[Section], wish: str) -> str:
    key, equals, text = (part.strip() for part in wish.partition("="))
    if not equals or "." in key:
        return wish
    known = by_path(config)
    found = [path for path, one in known.items() if one.name == key]
    found = found or [path for path, one in known.items() if key in one.aka.split()]
    if len(found) == 1:
        return f"{found[0]}={text}"
    names = {one.name: path for path, one in known.items()}
    near = found or [names[name] for name in difflib.get_close_matches(key, names, 1)]
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Settings: {', '.join(known)}."
    raise ConfigError(key, "there is no such setting.", hint)


def load(text: str) -> AnyConfig:
    """The config of a stored job. Raises ConfigError."""
    values = settings.read_toml(text)
    if values.get("kind") not in CONFIGS:
        raise ConfigError("kind", f"{values.get('kind')!r} is no job on preferences.", f"Jobs: {', '.join(CONFIGS)}.")
    version = values.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise ConfigError("schema_version", f"{version!r} is not known to this Atelier ({SCHEMA_VERSION}).")
    return settings.validate(values, CONFIGS[values["kind"]])


def run_folder(config: AnyConfig) -> Path:
    """Where the job of a resolved config lies."""
    return Path(config.run.output_dir) / config.run.name


# --------------------------------------------------------------------------- filling


def resolve(config: C, machine: Machine) -> C:
    """Fill every "auto"; paths become absolute. Idempotent. Raises ConfigError, ConfigErrors."""
    given: AnyConfig = compared(config) if isinstance(config, CompareConfig) else config
    return settings.validate(_resolved(given, machine), type(config))


def _resolved(config: AnyConfig, machine: Machine) -> dict[str, Any]:
    folder = set_folder(config.set.folder)
    output_dir = paths.absolute(_filled(config.run.output_dir, str(paths.data_dir() / "runs")))
    name = config.run.name
    if name == "auto":
        name = settings.free_name(f"{config.kind}-{folder.name}", output_dir)
    values = config.model_dump()
    changes: dict[str, dict[str, Any]] = {
        "set": {"folder": str(folder)},
        "run": {"name": name, "output_dir": str(output_dir), "threads": _threads(config, machine)},
    }
    if isinstance(config, ScoreConfig | CompareConfig):
        changes["scorers"] = _scorers(config.scorers, machine, needed=isinstance(config, ScoreConfig))
    if isinstance(config, GenerateConfig | CompareConfig):
        changes |= _drawing(config, machine)
    for section, more in changes.items():
        values[section] |= more
    return values


def _threads(config: AnyConfig, machine: Machine) -> int:
    # of a tiny model, one thread is as fast, and bears other work on the machine far better
    tiny = not isinstance(config, ScoreConfig) and config.model.base == "sandbox"
    return int(_filled(config.run.threads, 1 if tiny else machine.cores))


def _scorers(part: Scorers, machine: Machine, *, needed: bool) -> dict[str, Any]:
    if needed and not part.names:
        hint = "Choose some of `python launch.py pairs scorers`."
        raise ConfigError("scorers.names", "nobody is to judge the pictures.", hint)
    for name in part.names:
        check_name(name)
    device = _filled(part.device, machine.device)
    native = "fp32" if device == "cpu" else "bf16" if machine.bf16 else "fp16"
    return {
        "names": tuple(dict.fromkeys(part.names)),
        "device": device,
        "precision": _filled(part.precision, native),
    }


def _drawing(config: GenerateConfig | CompareConfig, machine: Machine) -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {"prompts": _prompts(config.prompts)}
    files = (
        {"adapter": config.adapter.file}
        if isinstance(config, GenerateConfig)
        else {
            "policy": config.policy.file,
            "reference": config.reference.file,
        }
    )
    model = config.model
    for section, file in files.items():
        if not file:
            continue
        given = find_adapter(f"{section}.file", file)
        changes[section] = {"file": str(given.file)}
        if "base" not in model.model_fields_set and given.model:
            model = _of_adapter(given.model, model)
    full = _full_config(config, model, machine)
    changes["model"] = full.model.model_dump()
    changes["pictures"] = _pictures(config.pictures, full, machine)
    return changes


def _of_adapter(known: Model, given: Model) -> Model:
    """The model that an adapter is for, with what was asked for beside the base."""
    asked = {key: getattr(given, key) for key in given.model_fields_set}
    return known.model_copy(update={"guidance": USUAL_GUIDANCE} | asked)


def _prompts(part: Prompts) -> dict[str, Any]:
    return {key: str(paths.locate(text)) for key in ("file", "folder") if (text := getattr(part, key))}


def _full_config(config: GenerateConfig | CompareConfig, model: Model, machine: Machine) -> TrainConfig:
    if model.guidance != USUAL_GUIDANCE:
        raise ConfigError("model.guidance", "training alone reads it.", "Set pictures.guidance.")
    given = config.model_copy(update={"model": model})
    try:
        return training.resolve(_unresolved(given), machine)
    except ConfigErrors as error:
        raise ConfigErrors([_renamed(one) for one in error.errors]) from error
    except ConfigError as error:
        raise _renamed(error) from error


def _renamed(error: ConfigError) -> ConfigError:
    return ConfigError(OURS.get(error.field, error.field), error.message, error.hint)


def _unresolved(config: GenerateConfig | CompareConfig) -> TrainConfig:
    pictures = config.pictures
    sample = {"negative": config.prompts.negative, "steps": pictures.steps, "guidance": pictures.guidance}
    return training.validate(
        {
            "run": {"name": "pictures", "threads": config.run.threads},
            "model": config.model.model_dump(),
            "sample": sample,
            "memory": {"quantize": config.memory.quantize},
        }
    )


def train_config(config: GenerateConfig | CompareConfig, machine: Machine) -> TrainConfig:
    """What opens the model of a resolved job: the same settings that training has."""
    return training.resolve(_unresolved(config), machine)


def _pictures(part: Pictures, full: TrainConfig, machine: Machine) -> dict[str, Any]:
    native = int(full.data.resolution)
    params = catalog.model_of(full.model.base, full.model.family).denoiser_params
    multiple = catalog.FAMILIES[full.model.family].pixel_multiple
    sides = {side: int(_filled(getattr(part, side), native)) for side in ("width", "height")}
    for side, value in sides.items():
        if value % multiple:
            near = max(round(value / multiple), 1) * multiple
            message = f"{value} is not a multiple of {multiple}, which the model needs."
            raise ConfigError(f"pictures.{side}", message, f"Use {near}.")
    return {
        **sides,
        "steps": full.sample.steps,
        "guidance": full.sample.guidance,
        "batch_size": _filled(part.batch_size, _batch(params, machine)),
    }


def _batch(params: float, machine: Machine) -> int:
    if params < TINY:
        return 32
    return 1 if machine.device == "cpu" or params > LARGE else 4


def _filled(value: Any, default: Any) -> Any:
    return default if value == "auto" else value
