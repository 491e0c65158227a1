"""Settings of jobs as the page left them, by set."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.rundir import write_atomic

log = logging.getLogger(__name__)

OWN_SECTIONS = ("prompts", "run", "set", "policy")  # of one set: another one does not start with them

Values = dict[str, Any]  # {"section": {"key": value}}


class Drafts:
    """{"sets": {set: {kind: values}}, "last": {kind: values}} in one file. Safe from any thread."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()

    def load(self, name: str, kind: str) -> Values:
        """The settings of a set; where it has none, those that another set had last."""
        with self._lock:
            found = self._read()
        values = found["sets"].get(name, {}).get(kind)
        if values is not None:
            return dict(values)
        return {section: part for section, part in found["last"].get(kind, {}).items() if section not in OWN_SECTIONS}

    def save(self, name: str, kind: str, values: Mapping[str, Any]) -> None:
        with self._lock:
            found = self._read()
            found["sets"].setdefault(name, {})[kind] = dict(values)
            found["last"][kind] = dict(values)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._file, json.dumps(found, ensure_ascii=False, indent=1))

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            return {"sets": dict(found["sets"]), "last": dict(found["last"])}
        except FileNotFoundError:
            return {"sets": {}, "last": {}}
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s): the settings of preference jobs start anew", self._file, error)
            return {"sets": {}, "last": {}}
