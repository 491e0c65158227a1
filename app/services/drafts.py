"""The configuration that is being edited; on disk, so that it survives a reload and a restart."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.config import DataSet
from trainers.rundir import write_atomic

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draft:
    """preset: name of the preset that the values started from; values: nested."""

    preset: str
    values: dict[str, Any]


def folders_of(values: Mapping[str, Any]) -> list[str]:
    """All folders that a draft names, the main one first, whatever else is wrong with it."""
    data = values.get("data")
    if not isinstance(data, Mapping):
        return []
    sets = data.get("sets")
    found = [folder_of(data), *map(folder_of, sets if isinstance(sets, list | tuple) else ())]
    return [folder for folder in found if folder]


def folder_of(one: Any) -> str:
    """The folder of a data set: a record, or the line that a form holds; "" when it names none."""
    if isinstance(one, str):
        try:
            return DataSet.parse(one)["folder"]
        except ValueError:  # half a line
            return ""
    folder = one.get("folder") if isinstance(one, Mapping) else getattr(one, "folder", "")
    return folder if isinstance(folder, str) else ""


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
