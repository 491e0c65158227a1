"""An adapter as a person names it, a LoRA file or a run, and the base that it is for. Light."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainers import paths, resolve
from trainers.config import Model, TrainConfig
from trainers.errors import AtelierError, ConfigError
from trainers.lora.facts import LoraFacts, facts_of
from trainers.rundir import RunDir


@dataclass(frozen=True)
class Given:
    """An adapter that was found. model: of the run that made it, or with the base that its file names; None when
    nothing says what it is for; run: settings of the run that made it, None for a file from elsewhere."""

    file: Path
    model: Model | None
    run: TrainConfig | None = None


def find_adapter(field: str, text: str) -> Given:
    """field: of the setting, for messages. Raises ConfigError for what is neither a file nor a run that left one."""
    path = paths.locate(text)
    run = RunDir(path)
    if run.config.is_file():
        config = resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))
        file = run.adapter(config.run.name)
        if not file.is_file():
            message = f"{path} has no adapter file yet."
            raise ConfigError(field, message, "Wait for the end of that run, or give the file of a checkpoint.")
        return Given(file, config.model, config)
    if not path.is_file():
        raise ConfigError(field, f"there is no file or run {path}.", "Give a .safetensors file or the folder of a run.")
    made_by = _run_of(path)
    return Given(path, made_by.model if made_by else _model_of_file(field, path), made_by)


def _run_of(file: Path) -> TrainConfig | None:
    for folder in (file.parent, file.parent.parent.parent):  # of a finished run, or of a checkpoint
        run = RunDir(folder)
        if run.config.is_file() and file in run.adapter_files():
            return resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))
    return None


def _model_of_file(field: str, file: Path) -> Model | None:
    base = lora_facts(field, file).metadata.get("atelier.base", "")
    return Model(base=base) if base else None


def lora_facts(field: str, file: Path) -> LoraFacts:
    """Raises ConfigError for what is no LoRA."""
    try:
        return facts_of(file)
    except AtelierError as error:
        raise ConfigError(field, error.message, error.hint) from error
