"""Findings about the base model and the adapter to continue from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trainers import catalog
from trainers.config import TrainConfig
from trainers.preflight.finding import Finding, tell
from trainers.preflight.room import SPARE_DISK_GIB, free_gib


def of_model(config: TrainConfig) -> Iterator[Finding]:
    source = catalog.source_of(config.model.base)
    yield from _model_folder(config, Path(source)) if Path(source).is_absolute() else _hub_model(config, source)
    resume_from = config.adapter.resume_from
    if resume_from and not os.path.isfile(resume_from):
        yield tell("problem", "no_adapter", "adapter.resume_from", file=resume_from)


def _model_folder(config: TrainConfig, source: Path) -> Iterator[Finding]:
    try:
        lacking = catalog.missing_parts(source)
    except (OSError, ValueError):
        yield tell("problem", "no_model", "model.base", source=source)
        return
    if lacking:
        yield tell("problem", "model_part", "model.base", source=source, parts=", ".join(lacking))
        return
    known = catalog.MODELS.get(config.model.base)
    yield tell("ok", "model", "model.base", source=known.title if known else source)


def _hub_model(config: TrainConfig, source: str) -> Iterator[Finding]:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(source, "model_index.json", revision=config.model.revision or None)
    except HFValidationError:
        yield tell("problem", "no_model_id", "model.base", source=source)
        return
    if isinstance(index, str) and not catalog.missing_parts(Path(index).parent):
        yield tell("ok", "model", "model.base", source=source)
        return
    model = catalog.model_of(config.model.base, config.model.family)
    gib = f"{model.download_gib:.1f}"
    yield tell("warning", "gated_download" if model.gated else "download", "model.base", source=source, gib=gib)
    free = free_gib(Path(HF_HUB_CACHE))
    if free < model.download_gib + SPARE_DISK_GIB:
        need = {"need": gib, "free": f"{free:.1f}", "folder": HF_HUB_CACHE}
        yield tell("problem", "download_disk", "model.base", None, source=source, **need)
