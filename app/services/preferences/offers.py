"""What the forms of the Preferences tab offer for a choice: base models, adapters of runs, data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.jobs.row import RunRow
from app.services.gallery import Gallery
from app.services.library import ModelCard
from trainers.rundir import RunDir

MOST = 60  # runs; older ones can be named by their path

Offer = tuple[str, str]  # value, its words


class Offers:
    """rows: of all runs, the newest first; models: the table of base models."""

    def __init__(
        self, rows: Callable[[], list[RunRow]], models: Callable[[], list[ModelCard]], gallery: Gallery
    ) -> None:
        self._rows, self._models, self._gallery = rows, models, gallery

    def of(self) -> dict[str, list[Offer]]:
        """Path of a setting -> what is offered for it."""
        runs = [(row.path, f"{row.name} ({row.model})") for row in self.trained()]
        sets = [(one["path"], f"{one['name']} ({one['pictures'] or 0})") for one in self._gallery.sets()]
        return {
            "model.base": [(card.name, card.title) for card in self._models()],
            "prompts.folder": sets,
            **dict.fromkeys(("adapter.file", "policy.file", "reference.file"), runs),
        }

    def trained(self) -> list[RunRow]:
        """Training runs that have an adapter, the newest first."""
        rows = [row for row in self._rows() if row.kind == "train"][:MOST]
        return [row for row in rows if RunDir(Path(row.path)).adapter_files()]
