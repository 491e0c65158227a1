"""Findings about what the run needs: names, folders, disk and memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainers import catalog, plan
from trainers.config import TrainConfig
from trainers.machine import GIB, Machine
from trainers.preflight.finding import Finding, Fix, change, tell

SPARE_DISK_GIB = 0.2
LIBRARIES_GIB = 1.5  # of system memory, with torch and the context of a card
LATENTS = "latents"

Forecast = Callable[[TrainConfig], plan.Plan]


def of_output(config: TrainConfig, resuming: bool) -> Iterator[Finding]:
    target = Path(config.run.output_dir) / config.run.name
    if not resuming and os.path.exists(target) and (target.is_file() or any(target.iterdir())):
        fix = change("free_name", {"run.name": "auto"})
        yield tell("problem", "name_exists", "run.name", fix, name=config.run.name)
    for field, path in (("run.output_dir", target), ("data.cache_dir", Path(config.data.cache_dir))):
        parent = existing(path)
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            yield tell("problem", "not_writable", field, change("usual_folder", {field: "auto"}), folder=parent)


def of_space(config: TrainConfig, machine: Machine, forecast: Forecast) -> Iterator[Finding]:
    """forecast: the plan of a config on this data and machine, to try remedies with."""
    expected = forecast(config)
    yield from _disk(config, expected, forecast)
    if expected.memory_gib > machine.memory_gib:
        values = {"need": expected.memory_gib, "has": machine.memory_gib}
        said = {name: f"{gib:.1f}" for name, gib in values.items()}
        fix = _less_memory(config, machine, forecast)
        yield tell("warning", "memory", "memory.quantize", fix, machine=machine.name, **said)
        if machine.device != "cuda":  # the same memory
            return
    need = _loading_gib(config)
    if need > machine.ram_gib:
        yield tell("warning", "ram", "model.base", need=f"{need:.0f}", has=f"{machine.ram_gib:.0f}")


def _loading_gib(config: TrainConfig) -> float:
    """System memory at the peak of loading: the largest part lies there whole, before it is packed or moved."""
    model = catalog.model_of(config.model.base, config.model.family)
    params = max(model.denoiser_params, model.text_params) * 1e9
    return params * plan.BYTES[config.model.precision] / GIB + LIBRARIES_GIB


def _disk(config: TrainConfig, expected: plan.Plan, forecast: Forecast) -> Iterator[Finding]:
    output, cache = Path(config.run.output_dir), Path(config.data.cache_dir)
    need = expected.disk_gib + SPARE_DISK_GIB
    if free_gib(output) < need:
        yield tell("problem", "disk", "run.output_dir", _fewer_checkpoints(config, forecast), **_sizes(need, output))
        return
    need = expected.cache_gib + SPARE_DISK_GIB
    if os.stat(existing(output)).st_dev == os.stat(existing(cache)).st_dev:
        need += expected.disk_gib
    if free_gib(cache) < need:
        # what is encoded already needs no more room, and how much that is nobody knows before the files are hashed
        level = "warning" if (cache / LATENTS).exists() else "problem"
        yield tell(level, "cache_disk", "data.cache_dir", **_sizes(need, cache))  # type: ignore[arg-type]


def _sizes(need: float, path: Path) -> dict[str, str]:
    return {"need": f"{need:.1f}", "free": f"{free_gib(path):.1f}"}


def _fewer_checkpoints(config: TrainConfig, forecast: Forecast) -> Fix | None:
    fewer = _changed(config, {"save.keep_last": 1})
    fits = forecast(fewer).disk_gib + SPARE_DISK_GIB <= free_gib(Path(config.run.output_dir))
    return change("fewer_checkpoints", {"save.keep_last": 1}) if fits else None


def _less_memory(config: TrainConfig, machine: Machine, forecast: Forecast) -> Fix | None:
    """The first of some changes with which the run fits."""
    packed, checkpointing = {"memory.quantize": "fp8"}, {"memory.gradient_checkpointing": "on"}
    for label, values in (
        ("quantize", packed),
        ("checkpointing", checkpointing),
        ("less_memory", {**packed, **checkpointing}),
    ):
        if forecast(_changed(config, values)).memory_gib <= machine.memory_gib:
            return change(label, values)
    return None


def _changed(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """Values by dotted path; they are known to be right, so nothing is checked again."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        section, name = path.split(".")
        sections.setdefault(section, {})[name] = value
    return config.model_copy(
        update={section: getattr(config, section).model_copy(update=part) for section, part in sections.items()}
    )


def free_gib(path: Path) -> float:
    return shutil.disk_usage(existing(path)).free / GIB


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    while not os.path.exists(path):
        path = path.parent
    return path
