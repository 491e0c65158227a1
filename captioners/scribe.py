"""Writes captions: through the journal of the data set, so that the whole job is undone as one. Light."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captioners.config import CaptionConfig
from captioners.plan import Target
from captioners.policy import composed, polished
from captioners.written import Written, hash_of, note
from trainers import paths
from trainers.data.edits import Change, Journal, caption_text, journal_folder
from trainers.data.text import TextError
from trainers.events import Captioned
from trainers.rundir import RunDir, write_atomic

ACT_FILE = "act.json"
LABEL = "captioning"
NOTHING_LEFT = "nothing was left of the text"


@dataclass(frozen=True)
class Ready:
    """A text that is to be written. before: of the caption file when the question was asked."""

    target: Target
    before: str | None
    said: str
    prompt: str
    seed: int


def act_of(run: RunDir) -> str:
    """The id that the job has in the journal; "" before it wrote anything."""
    try:
        return str(json.loads((run.path / ACT_FILE).read_text())["act"])
    except (FileNotFoundError, ValueError, KeyError):
        return ""


class Scribe:
    """Writes for one job. done: names of the pictures that it wrote before it was stopped."""

    def __init__(self, run: RunDir, config: CaptionConfig, source: str, targets: Sequence[Target]) -> None:
        self._run, self._config, self._source = run, config, source
        self._folder = Path(config.pictures.folder)
        self._journal = Journal(journal_folder(paths.data_dir(), self._folder))
        self._act = act_of(run)
        if self._act and self._journal.is_undone(self._act):
            self._act = ""  # what was taken back is written anew, as another act
        self.done = self._written(targets)

    def _written(self, targets: Sequence[Target]) -> set[str]:
        """Pictures whose file holds what this job wrote, or what a person made of it since."""
        before = {change.path: change.before for change in self._journal.changes(self._act)} if self._act else {}
        names = {target.caption: target.name for target in targets if not target.shares}
        return {names[path] for path, old in before.items() if path in names and _text(path) != old}

    def write(self, ready: Sequence[Ready]) -> list[Captioned]:
        """Write the texts; one record for each, in order. Raises OSError when the journal cannot be written."""
        told: list[Captioned] = []
        changes: dict[Path, Change] = {}
        kept: list[tuple[Ready, str]] = []
        for one in ready:
            new = polished(self._config.policy, one.said)
            if not new:
                reason = NOTHING_LEFT
                told.append(Captioned(one.target.name, "failed", one.before, said=one.said, reason=reason))
                continue
            old = one.target.shown(one.before)
            after = composed(self._config.policy, old, new)
            changes[one.target.caption] = Change(one.target.caption, one.before, after)
            kept.append((one, after))
        refused = self._commit(list(changes.values())) if not self._config.pictures.dry_run else {}
        status = "shown" if self._config.pictures.dry_run else "written"
        for one, after in kept:
            reason = refused.get(one.target.caption, "")
            state = "failed" if reason else status
            told.append(Captioned(one.target.name, state, one.before, None if reason else after, one.said, reason))
        if status == "written":
            self._note([(one, after) for one, after in kept if one.target.caption not in refused])
        return told

    def _commit(self, changes: list[Change]) -> dict[Path, str]:
        """Why files were not written, by path."""
        if not changes:
            return {}
        if not self._act:
            self._act = uuid.uuid4().hex[:12]
            write_atomic(self._run.path / ACT_FILE, json.dumps({"act": self._act}))
        outcome = self._journal.extend(self._act, f"{LABEL}: {self._config.captioner.name}", changes)
        return {skipped.path: skipped.reason for skipped in outcome.skipped}

    def _note(self, kept: list[tuple[Ready, str]]) -> None:
        if not kept:
            return
        part = self._config.generate
        settings = f"temperature {part.temperature}, top_p {part.top_p}, top_k {part.top_k}, beams {part.beams}"
        note(
            self._folder,
            [
                Written(
                    name=one.target.name,
                    text=hash_of(after),
                    captioner=self._config.captioner.name,
                    source=self._source,
                    prompt=one.prompt,
                    seed=one.seed,
                    settings=settings,
                    time=round(time.time(), 3),
                    job=self._run.path.name,
                    act=self._act,
                )
                for one, after in kept
            ],
        )


def _text(path: Path) -> str | None:
    try:
        return caption_text(path)
    except (TextError, OSError):  # somebody did something to it: it is theirs
        return ""
