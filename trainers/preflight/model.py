"""Findings about the base model and the adapter to continue from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from trainers import catalog
from trainers.config import Model, TrainConfig
from trainers.errors import AtelierError, ConfigError
from trainers.preflight.finding import Finding, tell
from trainers.preflight.room import SPARE_DISK_GIB, free_gib
from trainers.weights import cached, hub
from trainers.weights.header import WeightsError, read_header
from trainers.weights.parts import PartSpec, lacking
from trainers.weights.source import ModelSource, source_of


def of_model(config: TrainConfig) -> Iterator[Finding]:
    model, base = config.model, catalog.source_of(config.model.base)
    try:
        source = source_of(model)
    except AtelierError as error:
        field = error.field if isinstance(error, ConfigError) else "model.base"
        yield tell("problem", "model_file", field, reason=error.message, remedy=error.hint)
    else:
        if config.noise.zero_snr == "on" and model.prediction == "auto" and _prediction(source) == "epsilon":
            yield tell("problem", "zero_snr_epsilon", "noise.zero_snr")
        if source.file:
            yield from _model_file(model, source)
        else:
            yield from _model_folder(model, Path(base)) if os.path.isabs(base) else _hub_model(model, base)
    resume_from = config.adapter.resume_from
    if resume_from and not os.path.isfile(resume_from):
        yield tell("problem", "no_adapter", "adapter.resume_from", file=resume_from)
    if config.adapter.kind == "dora":
        code = "dora_diffusers" if config.save.layout == "diffusers" else "dora_others"
        yield tell("warning", code, "save.layout", layout=config.save.layout)


def _prediction(source: ModelSource) -> str:
    """What the base predicts, by its file or its scheduler; empty before it was downloaded."""
    scheduler = Path(source.configs, "scheduler", "scheduler_config.json")
    if not scheduler.is_file():
        return ""
    settings = json.loads(scheduler.read_text(encoding="utf-8")) | source.scheduler
    return str(settings.get("prediction_type", "epsilon"))


def _model_file(model: Model, source: ModelSource) -> Iterator[Finding]:
    missing = lacking(model, source)
    for part in missing:
        yield _lacking(part, os.path.basename(source.file))
    unknown = [name for name in source.places if not Path(source.configs, name, "config.json").is_file()]
    for name in unknown:
        yield tell("problem", "no_model_config", "model.config", folder=source.configs, part=name)
    if not missing and not unknown:
        yield tell("ok", "model", "model.base", source=os.path.basename(source.file))


def _lacking(part: PartSpec, file: str) -> Finding:
    field = "model.vae" if part.component == "vae" else "model.text_encoders"
    values = {
        "file": file,
        "part": part.title,
        "names": part.names[0],
        "gib": f"{part.size_gib:.1f}",
        "where": part.where,
        "folder": cached.models_folder(),
        "setting": field,
    }
    return tell("problem", "model_lacks", field, None, **values)


def _model_folder(model: Model, folder: Path) -> Iterator[Finding]:
    try:
        missing = catalog.missing_parts(folder)
    except (OSError, ValueError):
        yield tell("problem", "no_model", "model.base", source=folder)
        return
    if missing:
        yield tell("problem", "model_part", "model.base", source=folder, parts=", ".join(missing))
        return
    known = catalog.MODELS.get(model.base)
    damaged = list(_damaged(folder))
    yield from damaged
    if not damaged:
        yield tell("ok", "model", "model.base", source=known.title if known else folder)


def _damaged(folder: Path) -> Iterator[Finding]:
    """Files of a diffusers folder that are cut off, or no weights at all."""
    for file in sorted(folder.glob("*/*.safetensors")):
        try:
            read_header(file)
        except WeightsError as error:
            yield tell("problem", "model_file", "model.base", reason=error.message, remedy=error.hint)


def _hub_model(model: Model, source: str) -> Iterator[Finding]:
    """What a download needs, when the id is not on this machine yet."""
    if not cached.is_id(source):
        yield tell("problem", "no_model_id", "model.base", source=source)
        return
    if hub.is_on_disk(model):
        yield tell("ok", "model", "model.base", source=source)
        return
    if model.hub == "modelscope" and not find_spec("modelscope"):
        yield tell("problem", "no_modelscope", "model.hub")
        return
    if hub.is_offline():
        yield tell("problem", "offline", "model.base", source=source)
        return
    known = catalog.model_of(model.base, model.family)
    gib = f"{known.download_gib:.1f}"
    gated = known.gated and known.source == source and model.hub == "huggingface"
    if gated and not hub.has_token():
        yield tell("problem", "no_token", "model.base", source=source)
    yield tell("warning", "gated_download" if gated else "download", "model.base", source=source, gib=gib)
    target = hub.download_folder(model)
    free = free_gib(target)
    if free < known.download_gib + SPARE_DISK_GIB:
        need = {"need": gib, "free": f"{free:.1f}", "folder": target}
        yield tell("problem", "download_disk", "model.base", None, source=source, **need)
