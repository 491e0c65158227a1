"""Records that the pages draw: a run at a glance, a run in full, and the small payloads of polling."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.jobs.row import RunRow
from app.jobs.states import ACTIVE, Kind, State
from app.monitoring.gpu import Reading
from app.monitoring.metrics import Series, short
from app.services import files, format
from trainers.events import SampleReady
from trainers.rundir import RunDir

POINTS_PER_CALL = 400
USE_POINTS = 240

Shown = State | Literal["paused"]  # a run that its person paused is running for the queue
LIVE: frozenset[Shown] = ACTIVE | {"paused"}


@dataclass(frozen=True)
class RunSummary:
    """A line of the list. Times are seconds since 1970; thumb_url is empty before the first preview."""

    id: str
    kind: Kind
    name: str
    model: str
    family: str
    state: Shown
    step: int
    total: int
    loss: float | None
    created: float
    started: float | None
    ended: float | None
    elapsed_s: float
    seconds_per_step: float | None
    position: int | None
    reason: str
    hint: str
    thumb_url: str


@dataclass(frozen=True)
class FileInfo:
    """A file that can be downloaded."""

    name: str
    size: str
    bytes: int
    url: str


@dataclass(frozen=True)
class SampleInfo:
    """One preview picture."""

    step: int
    index: int
    prompt: str
    seed: int
    url: str
    thumb_url: str


@dataclass(frozen=True)
class RunDetail:
    """A run in full. path: its folder; toml: its resolved configuration."""

    summary: RunSummary
    path: str
    toml: str
    files: list[FileInfo]
    samples: list[SampleInfo]
    resumable: bool
    resume_step: int | None


def shown(state: State, series: Series) -> Shown:
    return "paused" if state == "running" and series.phase == "paused" else state


def summary_of(row: RunRow, state: Shown) -> RunSummary:
    thumb_url = files.sample_urls(row.id, RunDir(Path(row.path)), row.thumbnail)[1] if row.thumbnail else ""
    return RunSummary(
        id=row.id,
        kind=row.kind,
        name=row.name,
        model=row.model,
        family=row.family,
        state=state,
        step=row.step,
        total=row.total_steps,
        loss=short(row.loss),
        created=row.created,
        started=row.started,
        ended=row.ended,
        elapsed_s=round(row.worked_s),
        seconds_per_step=short(row.seconds_per_step),
        position=row.position,
        reason=row.reason,
        hint=row.hint,
        thumb_url=thumb_url,
    )


def sample_infos(run_id: str, run: RunDir, series: Series) -> list[SampleInfo]:
    """By step, then prompt."""
    with series.lock:
        samples = sorted(series.samples.values(), key=lambda sample: (sample.step, sample.index))
    return [_sample_info(run_id, run, sample) for sample in samples]


def _sample_info(run_id: str, run: RunDir, sample: SampleReady) -> SampleInfo:
    url, thumb = files.sample_urls(run_id, run, sample.path)
    return SampleInfo(sample.step, sample.index, sample.prompt, sample.seed, url, thumb)


def file_infos(run_id: str, run: RunDir) -> list[FileInfo]:
    """The adapter files of the run, the finished one first."""
    found = []
    for path in run.adapter_files():
        length = path.stat().st_size
        found.append(FileInfo(path.name, format.size(length), length, files.adapter_url(run_id, path.name)))
    return found


def step_of(checkpoint: Path | None) -> int | None:
    return int(checkpoint.name.removeprefix("step-")) if checkpoint else None


def eta_s(state: Shown, step: int, total: int, seconds_per_step: float | None) -> int | None:
    """Seconds that the steps to come will take; None when nothing goes on or nothing was measured."""
    if state not in LIVE or seconds_per_step is None or not total:
        return None
    return round(max(0, total - step) * seconds_per_step)


def elapsed_s(state: Shown, series: Series) -> int:
    """Seconds that workers spent on the run, pauses left out."""
    with series.lock:
        running = time.time() - series.last_time if state in ACTIVE and series.last_time else 0.0
        return round(series.worked_s + max(0.0, running))


def gpu_numbers(reading: Reading | None) -> list[float | None] | None:
    """[use in percent, memory used, memory in all (GiB), temperature]; None without a card."""
    if reading is None or reading.gpu is None:
        return None
    gpu = reading.gpu
    used, total = round(gpu.memory_used_gib, 1), round(gpu.memory_total_gib, 1)
    return [gpu.utilisation_percent, used, total, gpu.temperature_c]


def cpu_numbers(reading: Reading | None) -> list[float] | None:
    """[use in percent, memory used, memory in all (GiB)]."""
    if reading is None:
        return None
    return [round(reading.cpu_percent), round(reading.ram_used_gib, 1), round(reading.ram_total_gib, 1)]


def poll_payload(
    row: RunRow, state: Shown, series: Series, cursor: int, reading: Reading | None, silent_s: float | None
) -> dict[str, Any]:
    with series.lock:
        fresh = series.since(cursor, POINTS_PER_CALL)
        total = series.total or row.total_steps
        speed = series.seconds_per_step()
        active = state in LIVE
        return {
            "run": row.id,
            "state": state,
            "phase": series.phase if active else "",
            "detail": _detail(series, silent_s) if active else "",
            "step": series.step,
            "total": total,
            "eta_s": eta_s(state, series.step, total, speed),
            "sps": short(speed),
            "elapsed_s": elapsed_s(state, series),
            "from": fresh.first,
            "n": fresh.count,
            "stride": series.stride,
            "rev": series.revision,
            "points": fresh.points,
            "more": fresh.more,
            "val": fresh.validation,
            "marks": fresh.marks,
            "samples": len(series.samples),
            "measured": _measured(series),
            "alarms": [[code, *alarm] for code, alarm in series.alarms.items()],
            "gpu": gpu_numbers(reading),
            "cpu": cpu_numbers(reading),
            "reason": f"{row.reason} {row.hint}".strip() if not active else "",
        }


def use_history(state: Shown, series: Series, readings: Sequence[Reading]) -> list[list[float | None]]:
    """[seconds of work, graphics card, processor in percent], means over equal spans of time; USE_POINTS at most."""
    with series.lock:
        begun, now, at_now = series.session_time, time.time(), elapsed_s(state, series)
        pauses = [*series.pauses, *([(series.last_time, now)] if state == "paused" and series.last_time else [])]

    def worked_at(moment: float) -> int:
        paused = sum(max(0.0, end - max(start, moment)) for start, end in pauses)
        return max(0, round(at_now - (now - moment - paused)))

    kept = [r for r in readings if begun and r.time >= begun and not any(a < r.time < b for a, b in pauses)]
    size = max(1, math.ceil(len(kept) / USE_POINTS))
    spans = [kept[start : start + size] for start in range(0, len(kept), size)]
    return [[worked_at(span[-1].time), _mean_gpu(span), _mean_cpu(span)] for span in spans]


def _mean_gpu(span: Sequence[Reading]) -> int | None:
    known = [r.gpu.utilisation_percent for r in span if r.gpu and r.gpu.utilisation_percent is not None]
    return round(statistics.mean(known)) if known else None


def _mean_cpu(span: Sequence[Reading]) -> int:
    return round(statistics.mean(reading.cpu_percent for reading in span))


def _measured(series: Series) -> dict[str, list[int]]:
    """Name -> percent before training and after; one number while only one is known."""
    found = {}
    for name, percents in series.measured.items():
        first, last = min(percents), max(percents)
        found[name] = [percents[first]] if first == last else [percents[first], percents[last]]
    return found


def _detail(series: Series, silent_s: float | None) -> str:
    if silent_s is not None:
        return f"no sign of life for {format.duration(silent_s)}"
    return series.detail[:120]
