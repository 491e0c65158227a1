"""What the page may ask of captioning. Safe to call from any thread."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.jobs.row import RunRow
from app.jobs.states import RESUMABLE
from app.jobs.store import Store
from app.jobs.supervisor import Supervisor
from app.monitoring.metrics import Metrics
from app.services import views
from app.services.captioning.cards import cards
from app.services.captioning.feed import Feed, Feeds
from app.services.captioning.trial import MOST, Trial
from app.services.gallery import Gallery
from app.services.previews import Started
from captioners import catalog, joycaption_prompts, plan, preflight, resolve
from captioners.catalog import CAPTIONERS
from captioners.config import CaptionConfig
from captioners.prompts import prompt_for
from captioners.scribe import act_of
from captioners.server_client import models
from captioners.server_endpoint import key_of
from captioners.written import Provenance, note_turn
from trainers import settings
from trainers.data.edits import set_id_of
from trainers.data.text import TextError
from trainers.errors import AtelierError, ConfigError, ConfigErrors, DataError
from trainers.machine import Machine
from trainers.parameters import Parameter, by_path, parameters
from trainers.rundir import RunDir, write_atomic

log = logging.getLogger(__name__)

Record = dict[str, Any]
Values = Mapping[str, Any]

ITEMS = 200  # of one answer
FAILED = 100
# by the tab itself; and whoever can open the page must not be able to send a secret of this machine somewhere
NOT_IN_THE_FORM = ("captioner.name", "pictures.", "run.output_dir", "server.key_env")


class Captioning:
    """Jobs and tries of one data folder. train: queues a training run of the draft behind a job, or says why not."""

    def __init__(
        self,
        data_dir: Path,
        machine: Machine,
        gallery: Gallery,
        jobs: tuple[Store, Supervisor, Metrics],
        command: tuple[str, ...],
        train: Callable[[str, str | None], Started],
    ) -> None:
        self._machine, self._gallery, self._train = machine, gallery, train
        self._store, self._supervisor, self._metrics = jobs
        self._file = data_dir / "settings" / "captioning.json"
        self._feeds = Feeds()
        self._trial = Trial(data_dir, self._feeds, lambda: bool(self._supervisor.active()), command)
        self._provenance: dict[Path, Provenance] = {}

    def close(self) -> None:
        self._trial.stop()

    def make_room(self) -> None:
        """End what holds memory."""
        self._trial.stop()

    # captioners and their settings

    def cards(self) -> list[Record]:
        """[{name, title, kind, source, licence, writes, note, params, download_gib, memory_gib, memory_nf4_gib, here,
        built_in, fits, needs, gated, page}]; see `cards`."""
        return cards(self._machine)

    def parameters(self, name: str) -> list[Parameter]:
        """The settings that a captioner reads, in the order of their declaration. Raises AtelierError."""
        spec = resolve.spec_of(settings.validate({"captioner": {"name": name}}, CaptionConfig))
        unread = catalog.ONLY_SOME_READ - catalog.READS[spec.kind]
        return [
            parameter
            for parameter in parameters(CaptionConfig)
            if parameter.path not in unread and not parameter.path.startswith(NOT_IN_THE_FORM)
        ]

    def choices(self, name: str) -> dict[str, list[str]]:
        """What may be chosen or is worth a suggestion, by path, beyond the choices of the declaration."""
        spec = CAPTIONERS[name]
        if spec.kind in ("joycaption", "joycaption_folders"):
            return {
                "prompt.caption_type": [*joycaption_prompts.CAPTION_TYPES[spec.dialect]],
                "prompt.length": [*joycaption_prompts.LENGTHS],
                "prompt.options": [*joycaption_prompts.OPTIONS[spec.dialect]],
            }
        return {"prompt.task": [*spec.tasks]} if spec.tasks else {}

    def server_models(self, url: str) -> list[str]:
        """Names of the models that a server has. Raises AtelierError, with the remedy, when it does not tell them."""
        return models(url, key_of(CaptionConfig().server.key_env))

    def draft(self) -> Record:
        """Saved settings: {section: {key: value}}."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            log.warning("%s is damaged (%s): the settings of captioning start anew", self._file, error)
            return {}
        return found if isinstance(found, dict) else {}

    def save_draft(self, values: Values) -> None:
        write_atomic(self._file, json.dumps(values, ensure_ascii=False, indent=1))

    def _config(self, values: Values, set_id: str, **pictures: Any) -> CaptionConfig:
        """Raises ConfigError, ConfigErrors, DataError."""
        folder, _ = self._gallery.folder(set_id)
        known = {section: dict(part) for section, part in values.items() if isinstance(part, Mapping)}
        known["pictures"] = {**known.get("pictures", {}), "folder": str(folder), **pictures}
        return resolve.resolve(settings.validate(known, CaptionConfig), self._machine)

    def check(self, values: Values, set_id: str) -> Record:
        """{errors: [{field, message}], toml, command, prompt: as the first picture's, pictures: {total, captioned,
        empty, to_do}, blocked: why nothing can start, or ""}."""
        nothing: Record = {"toml": "", "command": "", "prompt": "", "pictures": None, "blocked": ""}
        try:
            config = self._config(values, set_id)
            counts = self._counts(config, set_id)
            prompt = self._first_prompt(config)
        except (ConfigError, ConfigErrors) as error:
            return {"errors": _errors(error), **nothing}
        return {
            "errors": self._hindrances(config),
            "toml": settings.dump(config),
            "command": _command(config, values),
            "prompt": prompt,
            "pictures": vars(counts),
            "blocked": self._gallery.folder(set_id)[1],
        }

    def _hindrances(self, config: CaptionConfig) -> list[Record]:
        """What would end a job of this config after it started."""
        try:
            preflight.check(config)
        except ConfigError as error:
            return _errors(error)
        return []

    def _counts(self, config: CaptionConfig, set_id: str) -> plan.Counts:
        """From memory where the set is known: the page asks after every change of a setting."""
        texts = self._gallery.texts(set_id)
        return plan.count(config) if texts is None else plan.counts_of(config, texts)

    def _first_prompt(self, config: CaptionConfig) -> str:
        first = plan.targets(config)[0]
        try:
            text = first.shown(first.text()) or ""
        except (TextError, OSError):  # the job tells of it
            text = ""
        picture = Path(config.pictures.folder, first.name)
        spec = resolve.spec_of(config)
        return prompt_for(config, spec, tags=text, name=picture.stem, directory=picture.parent.name)

    # tries

    def try_out(self, values: Values, set_id: str, pids: Sequence[str]) -> None:
        """Caption at most three pictures, the first ones if none are named, and write nothing.

        What is there is never passed over: one wants to see what the captioner says. Raises AtelierError.
        """
        known = {section: dict(part) for section, part in values.items() if isinstance(part, Mapping)}
        if known.get("policy", {}).get("existing", "skip") in ("skip", "fill"):
            known["policy"] = {**known.get("policy", {}), "existing": "replace"}
        names = [self._gallery.text_of(set_id, pid)[0] for pid in pids[:MOST]]
        config = self._config(known, set_id, only=names, limit=MOST, dry_run=True)
        preflight.check(config)
        self._trial.start(config, set_id)

    def trial(self) -> Record:
        """{state, set, captioner, phase, detail, done, total, message, results: [{pid, name, thumb, before, after, raw,
        reason, seconds}]}."""
        state, message = self._trial.state()
        feed = self._feeds.load(self._trial.desk) if self._trial.desk else Feed()
        return {
            "state": state,
            "set": self._trial.set_id,
            "captioner": self._trial.captioner,
            "phase": feed.phase,
            "detail": feed.detail,
            "done": len(feed.items),
            "total": min(MOST, feed.counts["total"]) if feed.counts["total"] else MOST,
            "message": message if state in ("failed", "stopped") else "",
            "results": [self._tried(item, feed) for item in feed.items],
        }

    def _tried(self, item: list[Any], feed: Feed) -> Record:
        pid, name, _, before, after, reason = item
        return {
            "pid": pid,
            "name": name,
            "thumb": self._gallery.thumb_url(self._trial.set_id, pid),
            "before": before,
            "after": after,
            "raw": feed.said.get(name, ""),
            "reason": reason,
            "seconds": round(feed.seconds.get(name, 0.0), 2),
        }

    def stop_trial(self) -> None:
        self._trial.stop()

    # jobs

    def start(self, values: Values, set_id: str, then_train: bool) -> Record:
        """{run, train, errors}: queue the job, and behind it a training run of the draft. Raises AtelierError."""
        folder, locked = self._gallery.folder(set_id)
        if locked:
            raise DataError(locked, "Copy them to your data sets to caption them.")
        try:
            config = self._config(values, set_id)
            preflight.check(config)
        except (ConfigError, ConfigErrors) as error:
            return {"run": "", "train": "", "errors": _errors(error)}
        if then_train and (errors := self._train(str(folder), None).errors):
            return {"run": "", "train": "", "errors": [{"field": one.path, "message": one.message} for one in errors]}
        run = RunDir(resolve.run_folder(config))
        run.create(settings.dump(config))
        row = self._supervisor.enqueue(run)
        behind = self._train(str(folder), row.id) if then_train else None
        return {"run": row.id, "train": (behind.run_id or "") if behind else "", "errors": []}

    def latest(self, set_id: str) -> Record:
        """{run: id of the newest job of a set, or ""}."""
        rows = (row for row in self._store.all() if row.kind == "caption" and self._set_of(row) == set_id)
        return {"run": next((row.id for row in rows), "")}

    def poll(self, run_id: str, cursor: int) -> Record:
        """What is new of a job, for a page that has `cursor` items; {"run": ""} for no job.

        {run, set, captioner, state, phase, detail, done, total, written, skipped, failed, per_s, eta_s, elapsed_s,
        summary, reason, resumable, undone, can_undo, n, from, more, items: [[pid, name, status, before, after,
        reason]], failed_list: [[name, reason]]}.
        """
        row = self._store.get(run_id)
        if row is None or row.kind != "caption":
            return {"run": ""}
        run, state = RunDir(Path(row.path)), self._supervisor.state(row)
        feed, series = self._feeds.load(run), self._metrics.load(run_id, run, live=run_id in self._supervisor.active())
        first = cursor if 0 <= cursor <= len(feed.items) else 0
        items = feed.items[first : first + ITEMS]
        live = state in views.LIVE
        speed = series.seconds_per_step()
        undone = self._is_undone(row)
        return {
            "run": row.id,
            "set": self._set_of(row),
            "captioner": row.model,
            "state": state,
            "phase": feed.phase if live else "",
            "detail": feed.detail if live else "",
            **feed.counts,
            "per_s": round(1 / speed, 2) if speed else None,
            "eta_s": views.eta_s(state, feed.counts["done"], feed.counts["total"], speed),
            "elapsed_s": views.elapsed_s(state, series),
            "summary": str((feed.outcome or {}).get("summary") or ""),
            "reason": f"{row.reason} {row.hint}".strip() if not live else "",
            "resumable": state in RESUMABLE,
            "undone": undone is True,
            "can_undo": not live and undone is False,
            "n": len(feed.items),
            "from": first,
            "more": first + len(items) < len(feed.items),
            "items": items,
            "failed_list": feed.failed[:FAILED],
        }

    def undo(self, run_id: str) -> Record:
        """Everything back to what was there before the job; hand edits since are kept and told of in `skipped`."""
        return self._turn(run_id, undone=True)

    def redo(self, run_id: str) -> Record:
        """What the job wrote, again."""
        return self._turn(run_id, undone=False)

    def _turn(self, run_id: str, *, undone: bool) -> Record:
        row = self._store.get(run_id)
        if row is None:
            raise AtelierError("This job is gone.", "Its captions can be undone in the tab Data.")
        if run_id in self._supervisor.active():
            raise AtelierError("The job is still at work.", "Stop it first.")
        act, set_id = act_of(RunDir(Path(row.path))), self._set_of(row)
        turn = self._gallery.undo_act if undone else self._gallery.redo_act
        came = turn(set_id, act)
        note_turn(self._gallery.folder(set_id)[0], act, undone=undone)
        return came

    def _is_undone(self, row: RunRow) -> bool | None:
        act = act_of(RunDir(Path(row.path)))
        try:
            return self._gallery.is_undone(self._set_of(row), act) if act else None
        except DataError:  # the set is not in the list any more
            return None

    def _set_of(self, row: RunRow) -> str:
        return set_id_of(Path(row.folder)) if row.folder else ""

    def written(self, set_id: str, pid: str) -> Record:
        """{captioner, prompt, seed, when, edited, run} of a caption that a captioner wrote; {} for others."""
        name, text = self._gallery.text_of(set_id, pid)
        folder, _ = self._gallery.folder(set_id)
        found = self._provenance.setdefault(folder, Provenance(folder)).of(name, text)
        if found is None:
            return {}
        record, edited = found
        return {
            "captioner": record.captioner,
            "prompt": record.prompt,
            "seed": record.seed,
            "when": record.time,
            "edited": edited,
            "run": record.job,
        }

    def heard(self, run: RunDir, records: Sequence[Record]) -> None:
        """News of a worker: sets that are in memory follow what it wrote."""
        texts = {
            picture["name"]: picture["after"]
            for record in records
            if record.get("kind") == "batch_captioned"
            for picture in record["pictures"]
            if picture["status"] == "written"
        }
        if texts:
            config = resolve.load(run.config.read_text(encoding="utf-8"))
            self._gallery.captions_written(set_id_of(Path(config.pictures.folder)), texts)


def _errors(error: ConfigError | ConfigErrors) -> list[Record]:
    errors = error.errors if isinstance(error, ConfigErrors) else [error]
    return [{"field": one.field, "message": f"{one.message} {one.hint}".strip()} for one in errors]


def _command(config: CaptionConfig, values: Values) -> str:
    """The same job as a command line."""
    known = by_path(CaptionConfig)
    wishes = [
        f"{section}.{key}={_plain(value)}"
        for section, part in values.items()
        if isinstance(part, Mapping)
        for key, value in part.items()
        if (path := f"{section}.{key}") in known and path != "captioner.name" and value != known[path].default
    ]
    words = ["python", "launch.py", "caption", config.captioner.name, config.pictures.folder, *wishes]
    return " ".join(shlex.quote(word) if os.name == "posix" else word for word in words)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
