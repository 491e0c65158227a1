"""What a configuration will come to, told while it is being edited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.folder import speed_key_of
from app.services import format
from app.services.pictures import Scans, StillScanning
from trainers import preflight, resolve
from trainers.config import DataSet, TrainConfig
from trainers.data import folder
from trainers.data.sources import gather
from trainers.errors import AtelierError, ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.plan import Plan
from trainers.preflight import Finding

PREVIEW_PATIENCE_S = 1.0
START_PATIENCE_S = 0.2


@dataclass(frozen=True)
class FieldError:
    """What is wrong with a setting, and the remedy. path: dotted."""

    path: str
    message: str


@dataclass(frozen=True)
class Started:
    """run_id: of the run that now waits or runs; None when there are errors."""

    run_id: str | None
    errors: list[FieldError]


@dataclass(frozen=True)
class Preview:
    """config: resolved, None while there are errors; line: one sentence, always there."""

    config: TrainConfig | None
    errors: list[FieldError]
    findings: tuple[Finding, ...]
    plan: Plan | None
    toml: str
    line: str
    scan: folder.Scan | None = None

    def count(self, one: DataSet) -> int | None:
        """Pictures of one of its data sets; None while they are not known."""
        if self.config is None or self.scan is None:
            return None
        opened, _ = gather(self.config.data.model_copy(update={"folder": one.folder, "sets": ()}))
        folders = {source.folder for source in opened}
        return sum(len(found.pictures) for found in self.scan.folders if found.folder in folders)


class Previews:
    """Checks configurations against this machine. measured_step_s: seconds per step of earlier runs of a kind."""

    def __init__(self, machine: Machine, data_dir: Path, measured_step_s: Callable[[str], float | None]) -> None:
        self._machine, self._data_dir, self._measured_step_s = machine, data_dir, measured_step_s
        self._scans = Scans()

    def preview(self, values: dict[str, Any], patience_s: float = PREVIEW_PATIENCE_S) -> Preview:
        """Raises nothing: whatever is wrong is in the answer."""
        try:
            config = self.resolve(values)
        except (ConfigError, ConfigErrors) as error:
            errors = field_errors(error)
            return Preview(None, errors, (), None, "", f"Cannot say yet: {errors[0].path}: {errors[0].message}")
        toml = resolve.dump(config)
        try:
            measured = self._measured_step_s(speed_key_of(config))
            scanner, pair_scanner = self._scans.scanner(patience_s), self._scans.pair_scanner(patience_s)
            report = preflight.check(
                config, self._machine, measured_step_s=measured, scanner=scanner, pair_scanner=pair_scanner
            )
        except StillScanning as error:
            return Preview(config, [], (), None, toml, error.message)
        except (OSError, AtelierError) as error:
            field = "objective.pairs" if config.objective.kind == "dpo" else "data.folder"
            return Preview(config, [FieldError(field, str(error))], (), None, toml, f"Cannot say yet: {error}")
        return Preview(config, [], report.findings, report.plan, toml, self._line(report), report.scan)

    def resolve(self, values: dict[str, Any]) -> TrainConfig:
        """The resolved config, with this data folder's places. Raises ConfigError or ConfigErrors."""
        config = resolve.validate(values)
        places = {}
        if config.run.output_dir == "auto":
            places["run"] = {"output_dir": str(self._data_dir / "runs")}
        if config.data.cache_dir == "auto":
            places["data"] = {"cache_dir": str(self._data_dir / "cache")}
        return resolve.resolve(resolve.with_changes(config, places), self._machine)

    def _line(self, report: preflight.Report) -> str:
        if report.plan is None:
            first = report.problems[0]
            return f"Cannot say yet: {first.message}"
        plan = report.plan
        memory = f"peak about {plan.memory_gib:.1f} of {self._machine.memory_gib:.1f} GB"
        return f"{format.count(plan.steps, 'step')}, about {format.duration(plan.seconds)}, {memory}"


def field_errors(error: ConfigError | ConfigErrors) -> list[FieldError]:
    faults = error.errors if isinstance(error, ConfigErrors) else [error]
    return [FieldError(fault.field, f"{fault.message} {fault.hint}".strip()) for fault in faults]


def problems(findings: tuple[Finding, ...]) -> list[FieldError]:
    """Findings that forbid a start, as errors."""
    return [FieldError(f.field or f.code, f"{f.message} {f.hint}".strip()) for f in findings if f.level == "problem"]
