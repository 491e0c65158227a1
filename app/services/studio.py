"""Everything that the pages can ask for or do. Safe to call from any thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.jobs.process import CAPTION_COMMAND, PREFERENCE_COMMAND, WORKER_COMMAND
from app.jobs.row import RunRow
from app.jobs.states import RESUMABLE
from app.jobs.store import Store, database_url
from app.jobs.supervisor import Supervisor
from app.jobs.tester import TESTER_COMMAND, Testers
from app.monitoring.gpu import Sampler
from app.monitoring.metrics import Metrics, Series
from app.services import datasets, library, views
from app.services.captioning import Captioning
from app.services.datasets import Added, Dropped
from app.services.drafts import Draft, Drafts, folders_of
from app.services.gallery import Context, Gallery
from app.services.library import ModelCard
from app.services.parts import Parts, parts_of_model
from app.services.preferences.service import Preferences
from app.services.previews import START_PATIENCE_S, FieldError, Preview, Previews, Started, problems
from app.services.storage import Storage
from app.services.trials import Trials
from app.services.views import FileInfo, RunDetail, RunSummary, SampleInfo, Shown
from trainers import paths, resolve
from trainers.errors import AtelierError, ConfigError, ConfigErrors
from trainers.machine import Machine, detect
from trainers.preflight import Finding
from trainers.presets import PresetInfo, presets
from trainers.rundir import COMMANDS, Command, RunDir

__all__ = [
    "Draft",
    "FieldError",
    "FileInfo",
    "Finding",
    "ModelCard",
    "PresetInfo",
    "Preview",
    "RunDetail",
    "RunSummary",
    "SampleInfo",
    "Started",
    "Studio",
]

log = logging.getLogger(__name__)

DEFAULT_PRESET = "sandbox"
LOG_BYTES = 16_384
CANCELLED = "Taken out of the queue."


class Studio:
    """The composition root: store, supervisor, metrics and sampler of one data folder."""

    def __init__(
        self,
        data_dir: Path,
        *,
        machine: Machine | None = None,
        worker_command: list[str] | None = None,
        caption_command: list[str] | None = None,
        preference_command: list[str] | None = None,
        tester_command: list[str] | None = None,
    ) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        (self.data_dir / "runs").mkdir(parents=True, exist_ok=True)
        self.machine = machine or detect()
        self._store = Store(database_url(self.data_dir))
        self._metrics = Metrics()
        command = tuple(worker_command) if worker_command else WORKER_COMMAND
        self._testers = Testers(
            self.data_dir,
            self._run_dirs,
            lambda: bool(self._supervisor.active()),
            tuple(tester_command) if tester_command else TESTER_COMMAND,
        )
        captioner = tuple(caption_command) if caption_command else CAPTION_COMMAND
        judge = tuple(preference_command) if preference_command else PREFERENCE_COMMAND
        self._supervisor = Supervisor(
            self._store,
            self._metrics,
            self.data_dir,
            command,
            caption_command=captioner,
            preference_command=judge,
            make_room=self._make_room,
            heard=lambda run, records: self.captioning.heard(run, records),
        )
        self._sampler = Sampler()
        self._previews = Previews(self.machine, self.data_dir, self._store.measured_step_s)
        self._drafts = Drafts(self.data_dir / "settings" / "draft.json")
        self._starting = threading.Lock()
        self.gallery = Gallery(self.data_dir, self._data_context, self._data_folders)
        jobs = (self._store, self._supervisor, self._metrics)
        self.captioning = Captioning(self.data_dir, self.machine, self.gallery, jobs, captioner, self._train_behind)
        self.preferences = Preferences(self.data_dir, self.machine, self.gallery, jobs, self.models)
        self.trials = Trials(self.run_dir, self._testers)
        self.storage = Storage(self.data_dir / "cache", self._working_since)

    def start(self) -> None:
        """Read the run folders, adopt workers that live, start the threads."""
        self._sampler.start()
        self._supervisor.start()

    def close(self) -> None:
        """End the threads; workers live on."""
        self.captioning.close()
        self.gallery.close()
        self._supervisor.close()
        self._sampler.close()
        self._store.close()

    def _make_room(self) -> None:
        """Before a worker starts: what else holds memory ends."""
        self._testers.end_all()
        self.captioning.make_room()

    def active_runs(self) -> list[str]:
        """Ids of the runs that workers work on."""
        return self._supervisor.active()

    def _working_since(self) -> float | None:
        """When the oldest of the runs that go on was started, in seconds since 1970."""
        rows = [row for run_id in self._supervisor.active() if (row := self._store.get(run_id))]
        return min((row.started or row.created for row in rows), default=None)

    # configuration

    def presets(self) -> list[PresetInfo]:
        return presets(self.data_dir / "presets")

    def models(self) -> list[ModelCard]:
        return library.models(self.machine)

    def draft(self) -> Draft:
        """The saved draft, or the default preset."""
        saved = self._drafts.load()
        if saved:
            return saved
        values = next((preset.values for preset in self.presets() if preset.name == DEFAULT_PRESET), {})
        return Draft(DEFAULT_PRESET, values)

    def save_draft(self, preset: str, values: dict[str, Any]) -> None:
        self._drafts.save(Draft(preset, values))

    def _data_context(self) -> Context:
        """What the saved draft says that pictures are looked at with; the defaults while it has faults."""
        try:
            return Context.of(self._previews.resolve(self.draft().values))
        except (ConfigError, ConfigErrors):
            return Context.of(self._previews.resolve({}))

    def _data_folders(self) -> list[str]:
        """The folders of the saved draft, whatever else is wrong with it."""
        return folders_of(self.draft().values)

    def preview(self, values: dict[str, Any]) -> Preview:
        """What a run with these values will be. A large folder is read in the background; ask again then."""
        return self._previews.preview(values)

    def parts(self, values: dict[str, Any]) -> Parts:
        """The files of the base in these values, whatever else is wrong with them."""
        try:
            return parts_of_model(self._previews.resolve({"model": values.get("model", {})}).model)
        except (ConfigError, ConfigErrors):
            return Parts([], by_hand=False, models="")

    def start_run(self, values: dict[str, Any], after: str | None = None) -> Started:
        """Queue a run. Answers at once: pictures of a large new folder are checked by the worker.

        after: the run that has to end well before it starts.
        """
        with self._starting:
            preview = self._previews.preview(values, START_PATIENCE_S)
            errors = preview.errors + problems(preview.findings)
            if errors or preview.config is None:
                return Started(None, errors)
            run = RunDir(Path(preview.config.run.output_dir) / preview.config.run.name)
            try:
                run.create(resolve.dump(resolve.pinned(preview.config)))
            except FileExistsError:
                message = f"a run named {preview.config.run.name!r} exists. Choose another name."
                return Started(None, [FieldError("run.name", message)])
            except OSError as error:
                return Started(None, [FieldError("run.output_dir", f"{error.strerror or error}.")])
            except AtelierError as error:
                return Started(None, [FieldError("objective.pairs", f"{error.message} {error.hint}".strip())])
            return Started(self._supervisor.enqueue(run, after).id, [])

    def _train_behind(self, folder: str, after: str | None) -> Started:
        """Queue a run of the draft behind a captioning job of its pictures; without one, say what stands against it."""
        values = self.draft().values
        if folder not in {str(paths.locate(known)) for known in folders_of(values)}:
            message = "the draft trains on other pictures. Choose Train on these in the tab Data first."
            return Started(None, [FieldError("data.folder", message)])
        if after is None:
            preview = self._previews.preview(values, START_PATIENCE_S)
            return Started(None, preview.errors + problems(preview.findings))
        return self.start_run(values, after)

    def add_pictures(self, dropped: Sequence[Dropped], chosen: str, caption_endings: str) -> Added:
        """Copy dropped files into a folder of `datasets`; see `datasets.add`. Raises DataError with the remedy."""
        return datasets.add(dropped, self.data_dir / "datasets", chosen, caption_endings)

    # runs

    def runs(self, search: str = "", state: str = "") -> list[RunSummary]:
        """Newest first. search: part of a name or model; state: only runs in it."""
        wanted = search.casefold().strip()
        found = [views.summary_of(row, self._state(row)) for row in self._store.all()]
        return [
            run
            for run in found
            if (not state or run.state == state)
            and (not wanted or wanted in f"{run.name} {run.model} {run.family}".casefold())
        ]

    def run(self, run_id: str) -> RunDetail | None:
        row = self._store.get(run_id)
        if row is None:
            return None
        run = RunDir(Path(row.path))
        state = self._state(row)
        return RunDetail(
            summary=views.summary_of(row, state),
            path=row.path,
            toml=run.config.read_text(encoding="utf-8") if run.config.is_file() else "",
            files=views.file_infos(run_id, run),
            samples=self.samples(run_id),
            resumable=state in RESUMABLE,
            resume_step=views.step_of(run.latest_checkpoint()),
        )

    def poll(self, run_id: str, cursor: int) -> dict[str, Any]:
        """What is new of a run, for a page that has `cursor` step points; {"run": "", "state": "unknown"} for no run.

        points: [step, loss, learning rate, grad norm, seconds, memory in GiB], at most 400, from index `from` on; `n`:
        how many there are. The next cursor is `from` + len(points); while `more` is true, ask at once. `from` is 0 when
        the cursor is larger than `n`: the page then starts anew.
        stride: every stride-th step is kept, because a long series is thinned to 4,000 points at most; all viewers see
        the same thinned series. rev grows when points that a page may have went away (thinning, or a return to an
        earlier checkpoint): a page that sees another rev than before starts anew from cursor 0.
        val: [step, loss]; marks: [step, kind, text if any]. Both go from the step of the page's last point on, so the
        newest may come again: each is there once.
        measured: name -> percents before and after training.
        gpu: [use in percent, memory used, memory in all, degrees Celsius] or None; cpu: [percent, used, in all]; GiB.
        """
        row = self._store.get(run_id)
        if row is None:
            return {"run": "", "state": "unknown"}
        state, series = self._state(row), self._series(row)
        return views.poll_payload(row, state, series, cursor, self._sampler.latest(), self._supervisor.silent_s(run_id))

    def use(self, run_id: str) -> list[list[float | None]]:
        """How busy the machine was while the run went on, an hour back: what a page lacks when it is opened.

        [seconds of work, graphics card in percent or None, processor in percent]; empty for a run that has ended.
        """
        row = self._store.get(run_id)
        state = self._state(row) if row else "done"
        if row is None or state not in views.LIVE:
            return []
        return views.use_history(state, self._series(row), self._sampler.history())

    def header(self) -> dict[str, Any]:
        """The run that goes on, or that ended last; the queue; the machine. attention: tabs with a dot."""
        reading = self._sampler.latest()
        rows = self._store.all()
        active = next((row for run_id in self._supervisor.active() for row in rows if row.id == run_id), None)
        payload: dict[str, Any] = {
            "run": "",
            "name": "",
            "state": "",
            "percent": 0,
            "eta_s": None,
            "waiting": sum(row.state == "queued" for row in rows),
            "gpu": views.gpu_numbers(reading),
            "cpu": views.cpu_numbers(reading),
            "attention": ["runs"] if rows and rows[0].state in ("failed", "interrupted") else [],
        }
        if active:
            state, series = self._state(active), self._series(active)
            total = series.total or active.total_steps
            eta = views.eta_s(state, series.step, total, series.seconds_per_step())
            percent = round(100 * series.step / total) if total else 0
            payload |= {"run": active.id, "name": active.name[:40], "state": state, "percent": percent, "eta_s": eta}
        return payload

    def samples(self, run_id: str) -> list[SampleInfo]:
        row = self._store.get(run_id)
        return views.sample_infos(run_id, RunDir(Path(row.path)), self._series(row)) if row else []

    def log(self, run_id: str, offset: int) -> dict[str, Any]:
        """Text of the worker's log from byte `offset` on; at most the last 16 kB. Ask next with the returned offset."""
        row = self._store.get(run_id)
        try:
            with (RunDir(Path(row.path)).log if row else Path("")).open("rb") as file:
                end = file.seek(0, 2)
                start = max(offset if 0 <= offset <= end else 0, end - LOG_BYTES)
                file.seek(start)
                text = file.read(end - start)
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            return {"offset": 0, "text": ""}
        return {"offset": end, "text": text.decode("utf-8", errors="replace")}

    def command(self, run_id: str, command: Command) -> str:
        """Ask a run for something; the sentence says what happens. Raises AtelierError for an unknown command."""
        if command not in COMMANDS:
            raise AtelierError(f"There is no command {command!r}.", f"Commands: {', '.join(COMMANDS)}.")
        if command == "stop" and self._supervisor.cancel(run_id):
            return CANCELLED
        return self._supervisor.send(run_id, command)

    def resume_run(self, run_id: str) -> Started:
        """Queue a run that ended early; it goes on from its newest checkpoint, or starts again when there is none."""
        if self._supervisor.requeue(run_id):
            return Started(run_id, [])
        return Started(None, [FieldError("run", "Only a run that was stopped, failed or interrupted can go on.")])

    def cancel(self, run_id: str) -> str:
        """Take a run out of the queue; the sentence says so. Raises AtelierError when it does not wait."""
        if not self._supervisor.cancel(run_id):
            raise AtelierError("This run does not wait in the queue.", "Stop it instead.")
        return CANCELLED

    def delete_run(self, run_id: str) -> str:
        """Move the run's folder into the folder `trash`. Raises AtelierError while it runs or waits."""
        row = self._store.get(run_id)
        if row is None:
            raise AtelierError("This run is gone already.")
        self._testers.end(RunDir(Path(row.path)))
        target = self.data_dir / "trash" / f"{Path(row.path).name}-{time.strftime('%Y%m%d-%H%M%S')}-{run_id[:4]}"
        if not self._supervisor.remove(run_id, target):
            raise AtelierError("A run cannot be deleted while it runs or waits.", "Stop it first.")
        return f"Moved to {target}."

    def run_dir(self, run_id: str) -> RunDir | None:
        """The folder of a run, for routes that serve its files."""
        row = self._store.get(run_id)
        return RunDir(Path(row.path)) if row else None

    def _run_dirs(self) -> list[RunDir]:
        return [RunDir(Path(row.path)) for row in self._store.all()]

    def _state(self, row: RunRow) -> Shown:
        state = self._supervisor.state(row)
        return views.shown(state, self._series(row)) if state == "running" else state

    def _series(self, row: RunRow) -> Series:
        live = row.id in self._supervisor.active()
        return self._metrics.load(row.id, RunDir(Path(row.path)), live=live)
