"""From a preset and a few wishes to the one configuration that is stored, shown and run.

load (TOML or dict) -> override (key=value) -> validate (TrainConfig) -> resolve ("auto" filled)
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers import catalog, fitting, paths, settings
from trainers.config import SCHEMA_VERSION, DataSet, Model, TrainConfig
from trainers.errors import AtelierError, ConfigError, ConfigErrors
from trainers.lora.facts import facts_of
from trainers.lora.resume import taken_over
from trainers.machine import Machine
from trainers.preferences.snapshot import pin
from trainers.weights.find import fields_found

PRESET_ONLY = ("title", "summary", "goal")  # what a preset says of itself
PAIRS_ARE_GENTLER = 10  # times lower learning rate than for pictures with captions
CHECKPOINTING_FROM = 1.0  # billions of weights; below it the activations are small

# schema_version -> function that turns a stored config of that version into one of the next
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def preset_path(name: str) -> Path | None:
    """The file of a preset: the user's own first, then the built-in ones; None if there is none."""
    if not re.fullmatch(r"[\w.+-]+", name):
        return None
    files = (folder / f"{name}.toml" for folder in _preset_folders())
    return next((file for file in files if os.path.isfile(file)), None)


def preset_names() -> list[str]:
    """Every name that `preset_path` knows."""
    return sorted({file.stem for folder in _preset_folders() for file in folder.glob("*.toml")})


def _preset_folders() -> tuple[Path, Path]:
    return paths.data_dir() / "presets", paths.PRESETS


def load(preset_or_toml: str) -> dict[str, Any]:
    """The values of a preset by name, or of a TOML file. Raises ConfigError when there is no such thing."""
    path = preset_path(preset_or_toml) or paths.absolute(preset_or_toml)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("preset", f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
    except OSError as error:
        names = preset_names()
        near = difflib.get_close_matches(preset_or_toml, names, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Presets: {', '.join(names)}."
        raise ConfigError("preset", f"there is no preset or file {preset_or_toml!r}.", hint) from error
    values = parse_toml(text)
    return {key: value for key, value in values.items() if key not in PRESET_ONLY}


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML text as a dict of the current schema version. Raises ConfigError with the line when it is broken."""
    return migrate(settings.read_toml(text))


def migrate(values: dict[str, Any]) -> dict[str, Any]:
    """Bring a stored config to the current schema version; one without a version is taken as current.

    Raises ConfigError for a version that this program does not know.
    """
    version = values.get("schema_version", SCHEMA_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError("schema_version", f"{version!r} is not a version.", f"Remove it, or write {SCHEMA_VERSION}.")
    if version > SCHEMA_VERSION:
        message = f"{version} is newer than this Atelier knows ({SCHEMA_VERSION})."
        raise ConfigError("schema_version", message, "Update Atelier.")
    for old in range(version, SCHEMA_VERSION):
        values = MIGRATIONS[old](values)
    return {**values, "schema_version": SCHEMA_VERSION}


def override(values: dict[str, Any], wishes: list[str]) -> dict[str, Any]:
    """As `settings.override`."""
    return settings.override(values, wishes, TrainConfig)


def unknown_key(path: str) -> ConfigError:
    """As `settings.unknown_key`."""
    return settings.unknown_key(path, TrainConfig)


def validate(values: dict[str, Any]) -> TrainConfig:
    """The config of these values. Raises ConfigErrors with a dotted path and a remedy for each fault."""
    return settings.validate(values, TrainConfig)


def dump(config: TrainConfig) -> str:
    """The config as TOML, every value written out."""
    return settings.dump(config)


def resolve(config: TrainConfig, machine: Machine) -> TrainConfig:
    """Fill every "auto" from the catalog and the machine; paths become absolute. Idempotent.

    What the shape of each picture or the base's own files decide may stay "auto".
    Raises ConfigError for a base, family, target set or resolution that cannot be used, and ConfigErrors for several
    options that do not suit the family.
    """
    family_name = catalog.family_of(config.model.base, config.model.family)
    family = catalog.FAMILIES[family_name]
    if config.adapter.resume_from:
        config = with_changes(config, {"adapter": _resumed(config, family_name)})
    if faults := fitting.unfit(config, family):
        raise faults[0] if len(faults) == 1 else ConfigErrors(faults)
    model = catalog.model_of(config.model.base, family_name)
    folder = str(paths.locate(config.data.folder)) if config.data.folder else ""
    output_dir = paths.absolute(_filled(config.run.output_dir, str(paths.data_dir() / "runs")))
    rank, native = _filled(config.adapter.rank, model.rank), model.native_resolution
    of_pairs = config.objective.kind == "dpo"
    rate = _filled(config.optimizer.learning_rate, model.learning_rate / (PAIRS_ARE_GENTLER if of_pairs else 1))
    text_rate = config.optimizer.text_encoder_learning_rate
    if config.adapter.text_encoders:
        text_rate = _filled(text_rate, rate / 2)
    changes: dict[str, dict[str, Any]] = {
        "run": {
            "name": _free_name(config, folder, output_dir) if config.run.name == "auto" else config.run.name,
            "output_dir": str(output_dir),
            "threads": _filled(config.run.threads, machine.cores),
        },
        "model": {
            "base": _anchored(config.model.base),
            "family": family_name,
            "precision": _filled(config.model.precision, _native_precision(machine)),
            **_parts(config.model),
        },
        "data": {
            "folder": folder,
            "sets": [_data_set(one, family) for one in config.data.sets],
            "resolution": _resolution("data.resolution", _filled(config.data.resolution, native), family),
            "more_resolutions": _resolutions("data.more_resolutions", config.data.more_resolutions, family),
            "bucket_step": _bucket_step(_filled(config.data.bucket_step, family.bucket_step), family),
            "cache_dir": str(paths.absolute(_filled(config.data.cache_dir, str(paths.data_dir() / "cache")))),
        },
        "adapter": {
            "rank": rank,
            "alpha": _filled(config.adapter.alpha, float(rank)),
            "targets": _targets(_filled(config.adapter.targets, family.default_targets), family),
        },
        "objective": {
            "pairs": str(_pairs(config.objective.pairs)) if config.objective.pairs else "",
            "sft_lora": _built_on(config.objective.sft_lora, family_name),
        },
        "noise": {"timestep_sampling": _filled(config.noise.timestep_sampling, family.timestep_sampling)},
        "optimizer": {"learning_rate": rate, "text_encoder_learning_rate": text_rate},
        "memory": {
            "gradient_checkpointing": _filled(
                config.memory.gradient_checkpointing, "on" if model.denoiser_params >= CHECKPOINTING_FROM else "off"
            )
        },
        "save": {"layout": _filled(config.save.layout, _usual_layout(config, family))},
        "sample": {
            "steps": _filled(config.sample.steps, model.sample_steps),
            "guidance": _filled(config.sample.guidance, model.sample_guidance),
        },
    }
    return with_changes(config, changes)


def _resumed(config: TrainConfig, family: str) -> dict[str, Any]:
    """What is taken over from the LoRA that training goes on from."""
    path = paths.locate(config.adapter.resume_from)
    # the preflight tells of a file that is not there
    return {"resume_from": str(path), **(taken_over(config.adapter, path, family) if path.is_file() else {})}


def _filled(value: Any, default: Any) -> Any:
    return default if value == "auto" else value


def _anchored(source: str) -> str:
    """A model folder by its absolute path, so that a worker in another folder finds it; names and ids stay."""
    known = {*catalog.MODELS, *(model.source for model in catalog.MODELS.values())}
    return source if not source or source in known else catalog.source_of(source)


def _parts(model: Model) -> dict[str, Any]:
    """Where the parts lie that the base itself lacks, with those that are found on this machine."""
    given = {
        "vae": _anchored(model.vae),
        "text_encoders": tuple(str(paths.locate(file)) for file in model.text_encoders),
        "config": str(paths.locate(model.config)) if model.config else "",
    }
    return given | fields_found(model.model_copy(update=given))


def with_changes(config: TrainConfig, changes: dict[str, dict[str, Any]]) -> TrainConfig:
    """A copy with the given values of sections replaced, validated again."""
    values = config.model_dump()
    for section, part in changes.items():
        values[section] = {**values[section], **part}
    return validate(values)


def _native_precision(machine: Machine) -> str:
    if machine.device == "cpu":
        return "fp32"
    return "bf16" if machine.bf16 else "fp16"


def _data_set(one: DataSet, family: catalog.FamilySpec) -> DataSet:
    folder, sides = str(paths.locate(one.folder)), _resolutions("data.sets", one.resolution, family)
    return one.model_copy(update={"folder": folder, "resolution": sides})


def _resolutions(field: str, sides: tuple[int, ...], family: catalog.FamilySpec) -> tuple[int, ...]:
    return tuple(_resolution(field, side, family) for side in sides)


def _bucket_step(step: int, family: catalog.FamilySpec) -> int:
    if step % family.pixel_multiple:
        message = f"{step} is not a multiple of {family.pixel_multiple}, which {family.title} needs."
        raise ConfigError("data.bucket_step", message, f"Use {family.pixel_multiple}, or a multiple of it.")
    return step


def _resolution(field: str, resolution: int, family: catalog.FamilySpec) -> int:
    multiple = family.pixel_multiple
    if resolution % multiple:
        below = resolution // multiple * multiple
        use = f"Use {below} or {below + multiple}." if below else f"Use {multiple}."
        message = f"{resolution} is not a multiple of {multiple}, which {family.title} needs."
        raise ConfigError(field, message, use)
    return resolution


def _targets(scope: str, family: catalog.FamilySpec) -> str:
    if scope in family.targets:
        return scope
    endings = [part.strip() for part in scope.split(",")]
    # a bare word is taken for the misspelt name of a set: endings of layer names have a dot or underscore
    if not all(re.fullmatch(r"[\w.]*[._][\w.]*", ending) for ending in endings):
        hint = f"Sets: {', '.join(family.targets)}; or endings of layer names, as in to_q,to_v."
        raise ConfigError("adapter.targets", f"there is no target set {scope!r}.", hint)
    return ",".join(endings)


def _usual_layout(config: TrainConfig, family: catalog.FamilySpec) -> catalog.Layout:
    """The magnitudes of a DoRA are read from kohya's files by the programs that most people draw with."""
    return "kohya" if config.adapter.kind == "dora" else family.layouts[0]


def _pairs(given: str) -> Path:
    """A file or set by its path, or a set of the data folder by its name."""
    path, named = paths.locate(given), paths.data_dir() / "preferences" / given
    return named if not os.path.exists(path) and os.path.isdir(named) else path


def pinned(config: TrainConfig) -> TrainConfig:
    """A resolved config with a file that never changes in place of a preference set, so that running it again gives the
    same run however people vote meanwhile. Raises DataError when nobody has decided anything."""
    if config.objective.kind != "dpo" or not os.path.isdir(config.objective.pairs):
        return config
    return with_changes(config, {"objective": {"pairs": str(pin(Path(config.objective.pairs)))}})


def _built_on(file: str, family: str) -> str:
    """Where the LoRA lies that is merged into the base. Raises ConfigError for one of another family."""
    path = paths.locate(file) if file else None
    if not path or not path.is_file():  # the preflight tells of a file that is not there
        return str(path or "")
    try:
        facts = facts_of(path)
    except AtelierError as error:
        raise ConfigError("objective.sft_lora", error.message, error.hint) from error
    if facts.title and facts.family != family:
        message = f"{path.name} is a LoRA for {facts.title}; the base is {catalog.FAMILIES[family].title}."
        raise ConfigError("objective.sft_lora", message, "Choose a LoRA of its family, or another base.")
    return str(path)


def _free_name(config: TrainConfig, folder: str, output_dir: Path) -> str:
    """What is taught and on what, with a number if a run of that name exists."""
    subject = config.captions.trigger or Path(folder).name
    if config.objective.kind == "dpo":
        subject = f"{_set_name(Path(config.objective.pairs))}-dpo"
    return settings.free_name(f"{subject}-{Path(config.model.base).name}", output_dir)


def _set_name(pairs: Path) -> str:
    """Of the set that a file of pairs was exported from, or that it is; else of the file."""
    if pairs.parent.name == "export":
        return pairs.parent.parent.name
    return pairs.name.split(".")[0] or "pairs"
