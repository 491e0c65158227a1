"""Jobs on a set as the page asks for them: what one would do, starting it, and how far it is."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.jobs.row import RunRow
from app.jobs.states import RESUMABLE
from app.jobs.store import Store
from app.jobs.supervisor import Supervisor
from app.monitoring.metrics import Metrics
from app.services import views
from app.services.preferences.facts import facts_of
from app.services.preferences.sets import Sets
from trainers import settings
from trainers.errors import AtelierError, ConfigError, ConfigErrors, DataError
from trainers.machine import Machine
from trainers.parameters import by_path
from trainers.preferences import preflight, resolve
from trainers.preferences.config import CONFIGS, AnyConfig, JobKind
from trainers.rundir import RunDir

BESIDE = "-proof"  # of the name of a set: pictures of a comparison are not for training
KINDS: tuple[JobKind, ...] = ("generate", "score", "compare")

Record = dict[str, Any]
Values = Mapping[str, Any]


class Jobs:
    """Safe from any thread."""

    def __init__(self, data_dir: Path, machine: Machine, sets: Sets, jobs: tuple[Store, Supervisor, Metrics]) -> None:
        self._data_dir, self._machine, self._sets = data_dir, machine, sets
        self._store, self._supervisor, self._metrics = jobs
        self._compared: dict[str, list[str]] = {}  # a comparison -> what it is for; stored configs do not change

    def check(self, kind: JobKind, values: Values, name: str) -> Record:
        """{errors: [{field, message}], toml, command, facts: what would be done, {} while that cannot be told, wants:
        what is not given yet, "" for nothing}. Raises DataError for a set that is not there."""
        found: Record = {"errors": [], "toml": "", "command": "", "facts": {}, "wants": _wants(kind, values)}
        if found["wants"]:
            self._folder(kind, name)
            return found
        try:
            config = self._config(kind, values, name)
        except (ConfigError, ConfigErrors) as error:
            return {**found, "errors": _errors(error)}
        found |= {"toml": settings.dump(config), "command": _command(config, values)}
        try:
            preflight.check(config, self._machine)
        except AtelierError as error:
            return {**found, "errors": _errors(error)}
        return {**found, "facts": self._facts(config)}

    def _facts(self, config: AnyConfig) -> Record:
        folder = Path(config.set.folder)
        if not (folder / "set.json").exists():
            return facts_of(config, None)
        with self._sets.opened(folder.name) as prefset:
            return facts_of(config, prefset)

    def _config(self, kind: JobKind, values: Values, name: str) -> AnyConfig:
        """Resolved. Raises ConfigError, ConfigErrors, DataError."""
        known = {section: dict(part) for section, part in values.items() if isinstance(part, Mapping)}
        known["set"] = {"folder": str(self._folder(kind, name))}
        known["run"] = {**known.get("run", {}), "output_dir": str(self._data_dir / "runs")}
        config: AnyConfig = settings.validate(known, CONFIGS[kind])
        return resolve.resolve(config, self._machine)

    def _folder(self, kind: JobKind, name: str) -> Path:
        """Where the pictures of a job go. Raises DataError for a set that is not there."""
        if not (self._sets.path(name) / "set.json").exists():
            raise DataError(f"There is no set named {name!r}.", "Choose another one.")
        if kind != "compare" or name.endswith(BESIDE):
            return self._sets.path(name)
        return self._sets.path(f"{name[: 80 - len(BESIDE)]}{BESIDE}")

    def start(self, kind: JobKind, values: Values, name: str) -> Record:
        """{run, errors}: the job is queued, or what stands against it."""
        try:
            config = self._config(kind, values, name)
            preflight.check(config, self._machine)
        except DataError:
            raise
        except AtelierError as error:
            return {"run": "", "errors": _errors(error)}
        run = RunDir(resolve.run_folder(config))
        try:
            run.create(settings.dump(config))
        except FileExistsError:
            message = f"a run named {config.run.name!r} exists. Choose another name."
            return {"run": "", "errors": [{"field": "run.name", "message": message}]}
        return {"run": self._supervisor.enqueue(run).id, "errors": []}

    def newest(self, name: str) -> dict[str, Record | None]:
        """Kind -> the newest job of that kind on a set, as `poll` tells it; None for none."""
        found: dict[str, Record | None] = dict.fromkeys(KINDS)
        for row in self._store.all():
            if row.kind in found and found[row.kind] is None and name in self.sets_of(row):
                found[row.kind] = self._told(row)
        return found

    def rows(self, kind: JobKind, name: str) -> list[RunRow]:
        """The jobs of a kind on a set, the newest first."""
        return [row for row in self._store.all() if row.kind == kind and name in self.sets_of(row)]

    def sets_of(self, row: RunRow) -> list[str]:
        """Names of the sets that a job is about: that of its pictures; of a comparison also the one that it is for."""
        folder = Path(row.folder) if row.folder else None
        own = [folder.name] if folder and folder.parent == self._sets.folder else []
        if row.kind != "compare":
            return own
        beside = [name.removesuffix(BESIDE) for name in own]
        return list(dict.fromkeys([*self._compared_for(row), *beside, *own]))

    def _compared_for(self, row: RunRow) -> list[str]:
        """The set whose pairs the trained model of a comparison learned from."""
        if row.id not in self._compared:
            policy = Path(str(_stored(row, "policy", "file")))
            trained = (one for one in self._store.all() if one.kind == "train" and policy.is_relative_to(one.path))
            self._compared[row.id] = [name for one in trained for name in self._trained_on(one)]
        return self._compared[row.id]

    def find(self, run_id: str) -> Record:
        """{set, kind} of a job, or of a training run on the pairs of a set; the set is "" for others."""
        row = self._store.get(run_id)
        if row is None:
            return {"set": "", "kind": "", "path": ""}
        names = self.sets_of(row) if row.kind != "train" else self._trained_on(row)
        return {"set": names[0] if names else "", "kind": row.kind, "path": row.path}

    def _trained_on(self, row: RunRow) -> list[str]:
        """The set whose pairs a training run has."""
        pairs = Path(str(_stored(row, "objective", "pairs")))
        return [part.name for part in (pairs, *pairs.parents) if part.parent == self._sets.folder]

    def poll(self, run_id: str) -> Record:
        """{run, kind, state, phase, detail, done, total, per_s, eta_s, elapsed_s, reason, resumable}; {"run": ""} for
        no job."""
        row = self._store.get(run_id)
        return self._told(row) if row and row.kind in KINDS else {"run": ""}

    def _told(self, row: RunRow) -> Record:
        live = row.id in self._supervisor.active()
        series = self._metrics.load(row.id, RunDir(Path(row.path)), live=live)
        state = self._supervisor.state(row)
        speed, total = series.seconds_per_step(), series.total or row.total_steps
        is_live = state in views.LIVE
        return {
            "run": row.id,
            "kind": row.kind,
            "state": state,
            "phase": series.phase if is_live else "",
            "detail": series.detail if is_live else "",
            "done": series.step,
            "total": total,
            "per_s": round(1 / speed, 3) if speed else None,
            "eta_s": views.eta_s(state, series.step, total, speed),
            "elapsed_s": views.elapsed_s(state, series),
            "reason": f"{row.reason} {row.hint}".strip() if not is_live else "",
            "resumable": state in RESUMABLE,
        }


def _stored(row: RunRow, section: str, key: str) -> Any:
    """A setting of a run as it is stored; "" where there is none."""
    try:
        return settings.read_toml(RunDir(Path(row.path)).config.read_text(encoding="utf-8"))[section][key]
    except (OSError, KeyError, TypeError, ConfigError, UnicodeDecodeError):
        return ""


def _errors(error: AtelierError) -> list[Record]:
    if isinstance(error, ConfigErrors):
        return [one for each in error.errors for one in _errors(each)]
    if isinstance(error, ConfigError):
        return [{"field": error.field, "message": f"{error.message} {error.hint}".strip()}]
    return [{"field": "", "message": str(error)}]


def _wants(kind: JobKind, values: Values) -> str:
    """What a form still lacks, which is no fault: "scorers", "policy", "prompts", or ""."""

    def given(section: str, *keys: str) -> bool:
        part = values.get(section)
        return isinstance(part, Mapping) and any(part.get(key) for key in keys)

    if kind == "score":
        return "" if given("scorers", "names") else "scorers"
    if kind == "compare":
        return "" if given("policy", "file") else "policy"
    return "" if given("prompts", "texts", "file", "folder") else "prompts"


def _command(config: AnyConfig, values: Values) -> str:
    """The same job as a command line."""
    known = by_path(type(config))
    wishes = [
        f"{path}={_plain(value)}"
        for section, part in values.items()
        if isinstance(part, Mapping)
        for key, value in part.items()
        if (path := f"{section}.{key}") in known
    ]
    words = ["python", "launch.py", "pairs", config.kind, f"set.folder={config.set.folder}", *wishes]
    return " ".join(shlex.quote(word) if os.name == "posix" else word for word in words)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
