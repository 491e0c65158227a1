"""Everything that can be known before anything loads: faults with their remedy, and the plan. No torch."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from trainers import catalog, plan
from trainers.config import TrainConfig
from trainers.data import buckets, captions, folder
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import GIB, Machine

Level = Literal["ok", "warning", "problem"]
Scanner = Callable[[Path, str, Callable[[int, int], None] | None], folder.Scan]
SPARE_DISK_GIB = 0.2
MAX_CROP_LOSS = 0.3
NAMED = 5  # unreadable files that a message names


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    field: dotted path of the setting that it is about, or empty; values: numbers and names in the message, by which
    other languages say the same of this code.
    """

    level: Level
    code: str
    message: str
    hint: str = ""
    field: str = ""
    values: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)


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
    scanner: Scanner = folder.scan,
) -> Report:
    """Look at everything that a resolved config names. Reads every picture once; loads no weights.

    progress: is told (pictures read, pictures in all) while the folder is read. scanner: reads the folder; the app
    gives one that remembers folders that have not changed.
    """
    found, scan = _pictures(config, progress, scanner)
    forecast = None
    if scan and scan.pictures:
        count = len(scan.pictures)
        forecast = plan.forecast(config, machine, count, measured_step_s, batches=_batches(config, scan))
        found += _captions(config, scan) + _warmup(config, forecast)
    found += _base(config) + _output(config, resuming)
    if forecast:
        found += _space(config, forecast, machine)
    return Report(tuple(found), forecast, scan)


def _pictures(
    config: TrainConfig, progress: Callable[[int, int], None] | None, scanner: Scanner
) -> tuple[list[Finding], folder.Scan | None]:
    def problem(code: str, message: str, hint: str) -> tuple[list[Finding], None]:
        return [Finding("problem", code, message, hint, "data.folder", {"folder": config.data.folder})], None

    if not config.data.folder:
        return problem("no_folder", "no picture folder is given.", "Set data.folder to a folder with pictures.")
    path = Path(config.data.folder)
    if not os.path.exists(path):
        return problem(
            "missing_folder", f"there is no folder {path}.", "Check the spelling, or that the drive is connected."
        )
    if not path.is_dir():
        return problem("not_a_folder", f"{path} is a file.", f"Give the folder that holds it: {path.parent}")
    if not os.access(path, os.R_OK | os.X_OK):
        return problem("not_readable", f"{path} may not be read.", "Change its permissions, or choose another folder.")
    scan = scanner(path, config.data.caption_extension, progress)
    if not scan.pictures and not scan.bad:
        endings = ", ".join(sorted(ending[1:] for ending in folder.PICTURE_ENDINGS))
        return problem("empty_folder", f"there are no pictures in {path}.", f"Put pictures into it ({endings}).")
    return _unreadable(scan) + _sizes(config, scan), scan


def _unreadable(scan: folder.Scan) -> list[Finding]:
    if not scan.bad:
        return []
    named = "; ".join(f"{bad.path.name}: {bad.reason}" for bad in scan.bad[:NAMED])
    more = f" and {len(scan.bad) - NAMED} more" if len(scan.bad) > NAMED else ""
    message = f"{_count(len(scan.bad), 'picture')} cannot be read: {named}{more}."
    hint, values = "Mend or remove them, then start again.", {"n": len(scan.bad), "first": scan.bad[0].path.name}
    return [Finding("problem", "bad_pictures", message, hint, "data.folder", values)]


def _sizes(config: TrainConfig, scan: folder.Scan) -> list[Finding]:
    """What the pictures are cut to, and which of them lose by it."""
    if not scan.pictures:
        return []
    side = int(config.data.resolution)
    counts = _bucket_counts(config, scan)
    shapes = ", ".join(f"{width}x{height}: {count}" for (width, height), count in sorted(counts.items()))
    message = f"{_count(len(scan.pictures), 'picture')} in {_count(len(counts), 'size')} ({shapes})."
    values = {"n": len(scan.pictures), "sizes": len(counts), "shapes": shapes}
    found = [Finding("ok", "pictures", message, "", "data.folder", values)]
    if small := sum(picture.width * picture.height < side * side / 2 for picture in scan.pictures):
        message = f"{_count(small, 'picture')} will be enlarged a lot: smaller than half of {side} x {side}."
        hint = "Lower data.resolution, or use larger originals."
        found.append(Finding("warning", "small_pictures", message, hint, "data.resolution", {"n": small, "side": side}))
    if cut := sum(_crop_loss(config, picture) > MAX_CROP_LOSS for picture in scan.pictures):
        message = (
            f"{_count(cut, 'picture')} will lose more than {MAX_CROP_LOSS:.0%}: no training size has such a shape."
        )
        hint, values = "Cut them to shape yourself.", {"n": cut, "loss": f"{MAX_CROP_LOSS:.0%}"}
        found.append(Finding("warning", "cropped_pictures", message, hint, "data.folder", values))
    return found


def _bucket(config: TrainConfig, picture: folder.Picture) -> tuple[int, int]:
    multiple = catalog.FAMILIES[config.model.family].pixel_multiple
    return buckets.bucket_of(picture.width, picture.height, int(config.data.resolution), multiple)


def _crop_loss(config: TrainConfig, picture: folder.Picture) -> float:
    return buckets.crop_loss(picture.width, picture.height, _bucket(config, picture))


def _bucket_counts(config: TrainConfig, scan: folder.Scan) -> Counter[tuple[int, int]]:
    return Counter(_bucket(config, picture) for picture in scan.pictures)


def _batches(config: TrainConfig, scan: folder.Scan) -> int:
    """Batches in an epoch. A batch has one size; held-out pictures are taken from all sizes alike."""
    pictures = len(scan.pictures)
    trained = plan.training_pictures(pictures, config)
    counts = _bucket_counts(config, scan).values()
    visits = (Fraction(count * trained * config.data.repeats, pictures) for count in counts)
    return sum(math.ceil(count / config.schedule.batch_size) for count in visits)


def _captions(config: TrainConfig, scan: folder.Scan) -> list[Finding]:
    trigger = config.captions.trigger
    missing = sum(not picture.caption for picture in scan.pictures)
    lacking = sum(
        captions.with_trigger(picture.caption, trigger) != picture.caption
        for picture in scan.pictures
        if picture.caption
    )
    found = []
    if missing and not trigger:
        message = f"{_count(missing, 'picture')} without caption; training sees an empty one."
        hint = "Write captions, or set captions.trigger."
        found.append(Finding("warning", "no_caption", message, hint, "captions.trigger", {"n": missing}))
    elif missing:
        message = f"{_count(missing, 'picture')} without caption; the trigger word {trigger!r} stands in."
        values = {"n": missing, "trigger": trigger}
        found.append(Finding("warning", "trigger_only", message, "Captions teach more.", "captions.trigger", values))
    if lacking:
        message = f"{_count(lacking, 'caption')} without {trigger!r}; it is put in front."
        hint, values = "Write it where it belongs.", {"n": lacking, "trigger": trigger}
        found.append(Finding("warning", "no_trigger", message, hint, "captions.trigger", values))
    return found or [Finding("ok", "captions", "every picture has a caption.", "", "data.folder")]


def _warmup(config: TrainConfig, forecast: plan.Plan) -> list[Finding]:
    warmup = config.schedule.warmup_steps
    if warmup < forecast.steps:
        return []
    message = f"the warm-up takes {warmup} of {forecast.steps} steps: the learning rate is never reached."
    values = {"warmup": warmup, "steps": forecast.steps}
    return [Finding("warning", "warmup", message, "Lower schedule.warmup_steps.", "schedule.warmup_steps", values)]


def _base(config: TrainConfig) -> list[Finding]:
    source = catalog.source_of(config.model.base)
    return _model_folder(config, Path(source)) if Path(source).is_absolute() else _hub_model(config, source)


def _model_folder(config: TrainConfig, source: Path) -> list[Finding]:
    hint = "Give a folder in diffusers layout."
    try:
        lacking = catalog.missing_parts(source)
    except (OSError, ValueError):
        return [Finding("problem", "no_model", f"{source} holds no model.", hint, "model.base", {"source": source})]
    if lacking:
        message = f"{source} lacks {', '.join(lacking)}."
        values = {"source": source, "parts": ", ".join(lacking)}
        return [Finding("problem", "model_part", message, "Copy or download the model again.", "model.base", values)]
    known = catalog.MODELS.get(config.model.base)
    name = known.title if known else source
    return [Finding("ok", "model", f"{name} is on this machine.", "", "model.base", {"source": name})]


def _hub_model(config: TrainConfig, source: str) -> list[Finding]:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(source, "model_index.json", revision=config.model.revision or None)
    except HFValidationError:
        message = f"{source!r} is neither a folder nor a Hugging Face id."
        return [
            Finding("problem", "no_model_id", message, "Ids look like owner/name.", "model.base", {"source": source})
        ]
    if isinstance(index, str) and not catalog.missing_parts(Path(index).parent):
        return [Finding("ok", "model", f"{source} is on this machine.", "", "model.base", {"source": source})]
    model = catalog.model_of(config.model.base, config.model.family)
    size = f"about {model.download_gib:.1f} GB"
    hint = "Accept its licence on huggingface.co and sign in with `hf auth login`." if model.gated else ""
    values = {"source": source, "gib": f"{model.download_gib:.1f}"}
    found = [Finding("warning", "download", f"{source} will be downloaded ({size}).", hint, "model.base", values)]
    free = _free_gib(Path(HF_HUB_CACHE))
    if free < model.download_gib + SPARE_DISK_GIB:
        message = f"the download of {source} needs {size} of disk; {free:.1f} GB are free in {HF_HUB_CACHE}."
        hint = "Free some space, or set HF_HOME to a folder on another disk."
        values = {"need": f"{model.download_gib:.1f}", "free": f"{free:.1f}"}
        found.append(Finding("problem", "disk", message, hint, "model.base", values))
    return found


def _output(config: TrainConfig, resuming: bool) -> list[Finding]:
    found = []
    target = Path(config.run.output_dir) / config.run.name
    if not resuming and os.path.exists(target) and (target.is_file() or any(target.iterdir())):
        message, hint = f"a run named {config.run.name!r} exists.", "Choose another name, or resume that run."
        found.append(Finding("problem", "name_exists", message, hint, "run.name", {"name": config.run.name}))
    for field, path in (("run.output_dir", target), ("data.cache_dir", Path(config.data.cache_dir))):
        parent = _existing(path)
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            message = f"{parent} cannot be written to."
            values = {"folder": parent}
            found.append(Finding("problem", "not_writable", message, "Choose another folder.", field, values))
    resume_from = config.adapter.resume_from
    if resume_from and not os.path.isfile(resume_from):
        message, hint = f"there is no file {resume_from}.", "Give a LoRA file to continue from."
        found.append(Finding("problem", "no_adapter", message, hint, "adapter.resume_from", {"file": resume_from}))
    return found


def _space(config: TrainConfig, forecast: plan.Plan, machine: Machine) -> list[Finding]:
    found = []
    free = _free_gib(Path(config.run.output_dir))
    need = forecast.disk_gib + SPARE_DISK_GIB
    if free < need:
        message = f"the run needs {need:.1f} GB of disk; {free:.1f} GB are free."
        hint = "Free some space, choose another folder, or keep fewer checkpoints (save.keep_last)."
        values = {"need": f"{need:.1f}", "free": f"{free:.1f}"}
        found.append(Finding("problem", "disk", message, hint, "run.output_dir", values))
    if forecast.memory_gib > machine.memory_gib:
        has = f"{machine.name} has {machine.memory_gib:.1f} GB"
        message = f"the run needs about {forecast.memory_gib:.1f} GB of memory; {has}."
        hint = "Try memory.quantize = fp8, gradient checkpointing, or a lower resolution."
        values = {"need": f"{forecast.memory_gib:.1f}", "has": f"{machine.memory_gib:.1f}", "machine": machine.name}
        found.append(Finding("warning", "memory", message, hint, "memory.quantize", values))
    return found


def _free_gib(path: Path) -> float:
    return shutil.disk_usage(_existing(path)).free / GIB


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    while not os.path.exists(path):
        path = path.parent
    return path


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
