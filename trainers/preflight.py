"""Everything that can be known before anything loads: faults with their remedy, and the plan. No torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainers import catalog, plan
from trainers.config import TrainConfig
from trainers.data import buckets, folder
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import GIB, Machine

Level = Literal["ok", "warning", "problem"]
SPARE_DISK_GIB = 0.2


@dataclass(frozen=True)
class Finding:
    """One line of the report. field: dotted path of the setting that it is about, or empty."""

    level: Level
    code: str
    message: str
    hint: str = ""
    field: str = ""


@dataclass(frozen=True)
class Report:
    """plan is None when the pictures cannot be counted."""

    findings: tuple[Finding, ...]
    plan: plan.Plan | None
    scan: folder.Scan | None

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "problem")

    def raise_problems(self) -> None:
        """Raises ConfigErrors when the run cannot start."""
        if self.problems:
            raise ConfigErrors([ConfigError(p.field or p.code, p.message, p.hint) for p in self.problems])


def check(
    config: TrainConfig,
    machine: Machine,
    *,
    resuming: bool = False,
    measured_step_s: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Look at everything that a resolved config names. Reads every picture once; loads no weights."""
    found, scan = _pictures(config, progress)
    forecast = None
    if scan and scan.pictures:
        forecast = plan.forecast(config, machine, len(scan.pictures), measured_step_s)
        found += _captions(config, scan)
    found += _base(config) + _output(config, resuming)
    if forecast:
        found += _space(config, forecast, machine)
    return Report(tuple(found), forecast, scan)


def _pictures(config: TrainConfig, progress: Callable[[int, int], None] | None) -> tuple[list[Finding], folder.Scan | None]:
    def problem(code: str, message: str, hint: str) -> tuple[list[Finding], None]:
        return [Finding("problem", code, message, hint, "data.folder")], None

    if not config.data.folder:
        return problem("no_folder", "no picture folder is given.", "Set data.folder to a folder with pictures.")
    path = Path(config.data.folder)
    if not path.exists():
        return problem("missing_folder", f"there is no folder {path}.", "Check the spelling, or that the drive is connected.")
    if not path.is_dir():
        return problem("not_a_folder", f"{path} is a file.", f"Give the folder that holds it: {path.parent}")
    scan = folder.scan(path, config.data.caption_extension, progress)
    if not scan.pictures and not scan.bad:
        endings = ", ".join(sorted(ending[1:] for ending in folder.PICTURE_ENDINGS))
        return problem("empty_folder", f"there are no pictures in {path}.", f"Put pictures into it ({endings}).")
    found = []
    if scan.bad:
        named = "; ".join(f"{bad.path.name}: {bad.reason}" for bad in scan.bad[:5])
        more = f" and {len(scan.bad) - 5} more" if len(scan.bad) > 5 else ""
        message = f"{_count(len(scan.bad), 'picture')} cannot be read: {named}{more}."
        found.append(Finding("problem", "bad_pictures", message, "Mend or remove them, then start again.", "data.folder"))
    if scan.pictures:
        sizes = _bucket_counts(config, scan)
        shapes = ", ".join(f"{width}x{height}: {count}" for (width, height), count in sorted(sizes.items()))
        found.append(Finding("ok", "pictures", f"{_count(len(scan.pictures), 'picture')} in {_count(len(sizes), 'size')} ({shapes}).", "", "data.folder"))
        found += _small(config, scan)
    return found, scan


def _bucket_counts(config: TrainConfig, scan: folder.Scan) -> dict[tuple[int, int], int]:
    multiple = catalog.FAMILIES[config.model.family].pixel_multiple
    counts: dict[tuple[int, int], int] = {}
    for picture in scan.pictures:
        size = buckets.bucket_of(picture.width, picture.height, int(config.data.resolution), multiple)
        counts[size] = counts.get(size, 0) + 1
    return counts


def _small(config: TrainConfig, scan: folder.Scan) -> list[Finding]:
    area = int(config.data.resolution) ** 2
    small = [picture for picture in scan.pictures if picture.width * picture.height < area / 2]
    if not small:
        return []
    message = f"{_count(len(small), 'picture')} will be enlarged a lot: smaller than half of {config.data.resolution} x {config.data.resolution}."
    return [Finding("warning", "small_pictures", message, "Lower data.resolution, or use larger originals.", "data.resolution")]


def _captions(config: TrainConfig, scan: folder.Scan) -> list[Finding]:
    missing = [picture for picture in scan.pictures if not picture.caption]
    trigger = config.captions.trigger
    found = []
    if missing and not trigger:
        message = f"{_count(len(missing), 'picture')} without caption; training sees an empty one."
        found.append(Finding("warning", "no_caption", message, "Write captions, or set captions.trigger.", "captions.trigger"))
    elif missing:
        message = f"{_count(len(missing), 'picture')} without caption; the trigger word {trigger!r} stands in."
        found.append(Finding("warning", "no_caption", message, "", "captions.trigger"))
    if trigger:
        lacking = [p for p in scan.pictures if p.caption and trigger.lower() not in p.caption.lower()]
        if lacking:
            message = f"{_count(len(lacking), 'caption')} without {trigger!r}; it is put in front."
            found.append(Finding("warning", "no_trigger", message, "", "captions.trigger"))
    if not found:
        found.append(Finding("ok", "captions", "every picture has a caption.", "", "data.folder"))
    return found


def _base(config: TrainConfig) -> list[Finding]:
    source = catalog.source_of(config.model.base)
    model = catalog.model_of(config.model.base, config.model.family)
    if Path(source).is_absolute():
        if not (Path(source) / "model_index.json").is_file():
            return [Finding("problem", "no_model", f"{source} holds no model.", "Give a folder in diffusers layout.", "model.base")]
        return [Finding("ok", "model", f"{model.title} is on this machine.", "", "model.base")]
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(source, "model_index.json"), str):
        return [Finding("ok", "model", f"{source} is on this machine.", "", "model.base")]
    hint = "Accept its licence on huggingface.co and sign in with `hf auth login`." if model.gated else ""
    return [Finding("warning", "download", f"{source} will be downloaded ({model.download_gib:.1f} GB).", hint, "model.base")]


def _output(config: TrainConfig, resuming: bool) -> list[Finding]:
    target = Path(config.run.output_dir) / config.run.name
    if not resuming and target.exists() and any(target.iterdir()):
        return [Finding("problem", "name_exists", f"a run named {config.run.name!r} exists.", "Choose another name, or go on with it: launch.py resume.", "run.name")]
    parent = _existing(target)
    if not os.access(parent, os.W_OK):
        return [Finding("problem", "not_writable", f"{parent} cannot be written to.", "Choose another folder.", "run.output_dir")]
    resume_from = config.adapter.resume_from
    if resume_from and not Path(resume_from).is_file():
        return [Finding("problem", "no_adapter", f"there is no file {resume_from}.", "Give a LoRA file to continue from.", "adapter.resume_from")]
    return []


def _space(config: TrainConfig, forecast: plan.Plan, machine: Machine) -> list[Finding]:
    found = []
    free = shutil.disk_usage(_existing(Path(config.run.output_dir))).free / GIB
    need = forecast.disk_gib + SPARE_DISK_GIB
    if free < need:
        hint = "Free some space, choose another folder, or keep fewer checkpoints (save.keep_last)."
        found.append(Finding("problem", "disk", f"the run needs {need:.1f} GB of disk; {free:.1f} GB are free.", hint, "run.output_dir"))
    if forecast.memory_gib > machine.memory_gib:
        message = f"the run needs about {forecast.memory_gib:.1f} GB of memory; {machine.name} has {machine.memory_gib:.1f} GB."
        found.append(Finding("warning", "memory", message, "Try memory.quantize = fp8, gradient checkpointing, or a lower resolution.", "memory.quantize"))
    return found


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
