"""Comparisons of a trained model with its reference: their numbers as scores and votes are now, and their pictures."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.jobs.row import RunRow
from app.services.preferences.sets import Sets
from app.services.preferences.shelf import Shelf, picture_url, thumb_url
from trainers.errors import DataError
from trainers.preferences.duels import ROLES, duels_of
from trainers.preferences.report import FILE, read_report
from trainers.rundir import RunDir

SAMPLES = 60
KEPT = 100  # reports in memory

Record = dict[str, Any]


class Proof:
    """Safe from any thread."""

    def __init__(self, sets: Sets, shelf: Shelf) -> None:
        self._sets, self._shelf = sets, shelf
        self._lock = threading.Lock()
        self._reports: dict[str, tuple[tuple[int, str], Record | None]] = {}

    def comparisons(self, rows: Sequence[RunRow]) -> list[Record]:
        """[{run, name, set: where its pictures lie, "" for one that the page does not know, result: see
        `trainers.preferences.report`}] of the jobs that have a result."""
        return [
            {"run": row.id, "name": row.name, "set": self._set_of(row), "result": result}
            for row in rows
            if (result := self._report(row))
        ]

    def samples(self, row: RunRow | None) -> list[Record]:
        """[{prompt, reference: [thumb, url], policy: [thumb, url]}] of what a comparison drew.

        Raises DataError for what is no comparison, or has no set here.
        """
        if row is None or row.kind != "compare":
            raise DataError("This comparison is gone.")
        name = self._set_of(row)
        with self._sets.opened(name) as prefset:
            duels = [one for one in duels_of(RunDir(Path(row.path)), prefset) if not one.is_same]
            return [
                {"prompt": prefset.prompts[duel.prompt_id].prompt}
                | {role: _addresses(name, getattr(duel, role)) for role in ROLES}
                for duel in duels[:SAMPLES]
            ]

    def _set_of(self, row: RunRow) -> str:
        folder = Path(row.folder)
        return folder.name if folder.parent == self._sets.folder and (folder / "set.json").exists() else ""

    def _report(self, row: RunRow) -> Record | None:
        """Counted again when its set has other scores or votes; None while there is none."""
        run, name = RunDir(Path(row.path)), self._set_of(row)
        try:
            changed = (run.path / FILE).stat().st_mtime_ns, self._shelf.card(name)["rev"] if name else ""
        except FileNotFoundError:
            return None
        with self._lock:
            known = self._reports.get(row.id)
        if known and known[0] == changed:
            return known[1]
        found = self._read(run, name)
        with self._lock:
            while len(self._reports) >= KEPT:
                self._reports.pop(next(iter(self._reports)))
            self._reports[row.id] = (changed, found)
        return found

    def _read(self, run: RunDir, name: str) -> Record | None:
        if not name:
            return read_report(run)
        with self._sets.opened(name) as prefset:
            return read_report(run, prefset)


def _addresses(name: str, image_id: str) -> list[str]:
    return [thumb_url(name, image_id), picture_url(name, image_id)]
