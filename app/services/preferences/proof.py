"""Comparisons of a trained model with its reference, as their jobs left them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.jobs.row import RunRow
from app.services.preferences.sets import Sets
from app.services.preferences.shelf import picture_url, thumb_url
from trainers import settings
from trainers.errors import ConfigError, DataError
from trainers.rundir import RunDir

log = logging.getLogger(__name__)

RESULT = "compare.json"
SAMPLES = 60

Record = dict[str, Any]


def comparisons(rows: Sequence[RunRow], sets: Sets) -> list[Record]:
    """[{run, name, policy, reference, set: where its pictures lie, result}] of the jobs that have a result."""
    found = []
    for row in rows:
        if result := _result(Path(row.path)):
            values = _values(Path(row.path))
            folder = Path(row.folder)
            found.append(
                {
                    "run": row.id,
                    "name": row.name,
                    "policy": _name(values, "policy"),
                    "reference": _name(values, "reference"),
                    "set": folder.name if folder.parent == sets.folder else "",
                    "result": result,
                }
            )
    return found


def samples(row: RunRow, sets: Sets) -> list[Record]:
    """[{prompt, reference: [thumb, url], policy: [thumb, url]}] of the pictures that a comparison drew."""
    name = Path(row.folder).name
    with sets.opened(name) as prefset:
        found = []
        for pair in prefset.pairs.values():
            there = [one for one in (pair.a, pair.b) if one in prefset.pictures]
            roles = {str(prefset.pictures[one].gen.get("role")): one for one in there}
            if pair.origin == "compare" and {"reference", "policy"} <= roles.keys():
                sides = {role: [thumb_url(name, roles[role]), picture_url(name, roles[role])] for role in roles}
                found.append({"prompt": prefset.prompts[pair.prompt_id].prompt, **sides})
    return found[:SAMPLES]


def _result(run: Path) -> Record | None:
    """None while there is none."""
    try:
        found = json.loads((run / RESULT).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and {"win_rate", "low", "high", "n"} <= found.keys() else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: %s", run / RESULT, error)
        return None


def _values(run: Path) -> Record:
    try:
        return settings.read_toml(RunDir(run).config.read_text(encoding="utf-8"))
    except (OSError, ConfigError, UnicodeDecodeError) as error:
        log.warning("%s: %s", run, error)
        return {}


def _name(values: Record, section: str) -> str:
    file = Path(str(values.get(section, {}).get("file") or ""))
    return file.stem if file.suffix else file.name


def compare_row(row: RunRow | None) -> RunRow:
    """Raises DataError for what is no comparison."""
    if row is None or row.kind != "compare":
        raise DataError("This comparison is gone.")
    return row
