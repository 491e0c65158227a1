"""What a run folder says of its run, as a row of the index."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.causes import judge
from app.jobs.row import RunRow
from app.jobs.states import ENDED, KINDS, Kind
from app.monitoring.metrics import Series
from trainers import resolve, settings
from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.machine import torch_build
from trainers.rundir import RunDir, worker_info

log = logging.getLogger(__name__)

NEVER_STARTED = "It never started."
SPEED_PATHS = (
    "model.base",
    "model.precision",
    "data.resolution",
    "data.more_resolutions",
    "data.cache_text",
    "objective.kind",
    "objective.preference_loss",
    "objective.preservation",
    "schedule.batch_size",
    "schedule.gradient_accumulation",
    "adapter.rank",
    "adapter.targets",
    "memory.quantize",
    "memory.gradient_checkpointing",
    "run.threads",
)
CAPTION_SPEED_PATHS = (
    "captioner.name",
    "captioner.device",
    "captioner.precision",
    "captioner.quantize",
    "captioner.batch_size",
    "generate.max_tokens",
    "generate.beams",
)
DRAWING_SPEED_PATHS = (
    "model.base",
    "model.precision",
    "memory.quantize",
    "pictures.width",
    "pictures.height",
    "pictures.steps",
    "pictures.batch_size",
    "run.threads",
)
SCORING_SPEED_PATHS = (
    "scorers.names",
    "scorers.device",
    "scorers.precision",
    "scorers.batch_size",
    "run.threads",
)


@dataclass(frozen=True)
class Facts:
    """Which settings a kind of run is known by. folder: of its pictures; model: what does the work; speed: what decides
    how long a step takes."""

    folder: str
    model: str
    speed: tuple[str, ...]


FACTS: dict[Kind, Facts] = {
    "train": Facts("data.folder", "model.base", SPEED_PATHS),
    "caption": Facts("pictures.folder", "captioner.name", CAPTION_SPEED_PATHS),
    "generate": Facts("set.folder", "model.base", DRAWING_SPEED_PATHS),
    "score": Facts("set.folder", "scorers.names", SCORING_SPEED_PATHS),
    "compare": Facts("set.folder", "model.base", (*DRAWING_SPEED_PATHS, *SCORING_SPEED_PATHS)),
}


@dataclass(frozen=True)
class Read:
    """A row, and whether a worker is at work on the run."""

    row: RunRow
    alive: bool


def run_id_of(path: Path) -> str:
    """Twelve hex digits that stay the same as long as the folder stays where it is."""
    return hashlib.blake2b(str(path.resolve()).encode(), digest_size=6).hexdigest()


def read_config(run: RunDir) -> dict[str, Any]:
    """Values of the stored config; empty when it is broken, so that such a run can still be listed and deleted."""
    try:
        values = settings.read_toml(run.config.read_text(encoding="utf-8"))
        return resolve.migrate(values) if kind_of(values) == "train" else values
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        log.warning("%s: %s", run.config, error)
        return {}


def kind_of(values: Mapping[str, Any]) -> Kind:
    """What kind of run a stored config is of."""
    return next((kind for kind in KINDS if kind == values.get("kind")), "train")


def speed_key(values: Mapping[str, Any]) -> str:
    """What decides how long a step takes, of a resolved config's values; the build of torch tells the device."""
    parts = [str(_value(values, path)) for path in FACTS[kind_of(values)].speed]
    return "|".join([*parts, torch_build()])


def speed_key_of(config: TrainConfig) -> str:
    return speed_key(config.model_dump(mode="json"))


def new_row(run: RunDir, values: Mapping[str, Any]) -> RunRow:
    """The row of a run that nobody has worked on."""
    kind = kind_of(values)
    facts = FACTS[kind]
    return RunRow(
        id=run_id_of(run.path),
        kind=kind,
        path=str(run.path.resolve()),
        name=str(_value(values, "run.name") or run.path.name),
        folder=str(_value(values, facts.folder) or ""),
        model=_said(_value(values, facts.model)),
        family=str(_value(values, "model.family") or ""),
        state="interrupted",
        step=0,
        total_steps=int(_value(values, "schedule.max_steps") or 0),
        loss=None,
        created=round(run.config.stat().st_mtime, 3),
        started=None,
        ended=None,
        worked_s=0.0,
        seconds_per_step=None,
        reason=NEVER_STARTED,
        hint="",
        thumbnail="",
        speed_key=speed_key(values),
        events_bytes=0,
        position=None,
    )


def progress_of(series: Series) -> dict[str, Any]:
    """Columns that follow from the events."""
    with series.lock:
        newest = max(series.samples.values(), key=lambda sample: (sample.step, -sample.index), default=None)
        columns: dict[str, Any] = {
            "step": series.step,
            "loss": series.loss,
            "started": series.first_time,
            "worked_s": round(series.worked_s, 1),
            "seconds_per_step": series.seconds_per_step(),
            "thumbnail": newest.path if newest else "",
            "events_bytes": series.offset,
        }
        if series.total:
            columns["total_steps"] = series.total
        return columns


def read_folder(run: RunDir, known: Mapping[str, RunRow]) -> Read:
    """The row of a run folder. known: rows by id; one that is still right is kept as it is."""
    worker = worker_info(run)
    alive = worker is not None and worker.alive
    old = known.get(run_id_of(run.path))
    size = run.events.stat().st_size if run.events.exists() else 0
    if old and not alive and old.state in ENDED and old.events_bytes == size:
        return Read(old, False)
    if old and not alive and old.state == "queued":
        return Read(old, False)
    series = Series()
    series.catch_up(run.events)
    row = dataclasses.replace(old or new_row(run, read_config(run)), position=None, **progress_of(series))
    if alive:
        return Read(dataclasses.replace(row, state="running", ended=None, reason="", hint=""), True)
    if worker is None and not size:
        return Read(dataclasses.replace(row, state="interrupted", reason=NEVER_STARTED), False)
    verdict = judge(worker.exit_code if worker else None, series.outcome, run.log)
    ended = series.last_time or (worker.heartbeat if worker else None)
    state, reason, hint = verdict.state, verdict.reason, verdict.hint
    return Read(dataclasses.replace(row, state=state, reason=reason, hint=hint, ended=ended), False)


def _said(value: Any) -> str:
    """Several names as a list for people."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _value(values: Mapping[str, Any], path: str) -> Any:
    section, key = path.split(".")
    part = values.get(section)
    return part.get(key) if isinstance(part, Mapping) else None
