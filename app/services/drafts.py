"""The configuration that is being edited; on disk, so that it survives a reload and a restart."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.rundir import write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draft:
    """preset: name of the preset that the values started from; values: nested."""

    preset: str
    values: dict[str, Any]


class Drafts:
    """One draft in one file."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()

    def load(self) -> Draft | None:
        """The saved draft; None when there is none, or when its file is damaged."""
        try:
            with self._lock:
                record = json.loads(self._file.read_text(encoding="utf-8"))
            preset, values = record["preset"], record["values"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s): the draft starts anew", self._file, error)
            return None
        return Draft(preset, values) if isinstance(preset, str) and isinstance(values, dict) else None

    def save(self, draft: Draft) -> None:
        with self._lock:
            write_atomic(self._file, json.dumps({"preset": draft.preset, "values": draft.values}, ensure_ascii=False))
