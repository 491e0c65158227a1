"""Bringing in preferences that others made, in the background: large files take minutes."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from app.services.preferences.sets import Sets
from trainers import paths
from trainers.errors import AtelierError, DataError
from trainers.preferences.formats.incoming import Imported
from trainers.preferences.importing import import_into

log = logging.getLogger(__name__)

NAMED = 8  # of what was left out


class Imports:
    """One import at a time. Safe from any thread."""

    def __init__(self, sets: Sets) -> None:
        self._sets, self._lock = sets, threading.Lock()
        self._state: dict[str, Any] = {"state": "", "set": "", "error": "", "came": {}}

    def state(self) -> dict[str, Any]:
        """{state: "" | running | done | failed, set, error, came: {pictures, pairs, votes, faults: how many, first:
        lines of the first ones}}."""
        with self._lock:
            return dict(self._state)

    def start(self, source: str, name: str) -> None:
        """Begin; `state` tells the rest. Raises DataError for what cannot be begun."""
        folder = self._sets.path(name)
        if not source.strip():
            raise DataError("No file or folder is given.", "Give the path of one.")
        place = paths.locate(source.strip())
        if not place.exists():
            raise DataError(f"There is no {place}.", "Check the path.")
        with self._lock:
            if self._state["state"] == "running":
                raise DataError("Another import is under way.", "Wait for its end.")
            self._state = {"state": "running", "set": name, "error": "", "came": {}}
        threading.Thread(target=self._run, args=(place, folder), name="import", daemon=True).start()

    def _run(self, source: Path, folder: Path) -> None:
        came, error = {}, ""
        try:
            came = _told(import_into(folder, source))
        except (AtelierError, OSError) as failure:
            error = str(failure)
        except Exception:  # the boundary: nobody else waits for this thread
            log.exception("%s could not be imported", source)
            error = "The import failed. The terminal says why."
        with self._lock:
            self._state |= {"state": "failed" if error else "done", "error": error, "came": came}


def _told(came: Imported) -> dict[str, Any]:
    counts = {"pictures": came.pictures, "pairs": came.pairs, "votes": came.votes}
    return {**counts, "faults": len(came.faults), "first": list(came.faults[:NAMED])}
