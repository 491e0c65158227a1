"""Pairs as training reads them: one JSON line each, `pairs.train.jsonl`. Light."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainers.errors import DataError
from trainers.rundir import all_records, write_atomic

Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class TrainingPair:
    """Two pictures of a prompt, of which the first is preferred; or one alone, that is wanted or not.

    chosen, rejected: absolute paths, "" for none (an unpaired row has one of them); weight: in (0, 1]; p_chosen: share
    of the votes for the chosen one; source: votes | scores | real (a real picture against a generated one) | import;
    chosen_size: width and height in pixels; split: all pairs of a prompt are on one side.
    """

    prompt: str
    chosen: str
    rejected: str
    weight: float = 1.0
    n_votes: int = 0
    p_chosen: float = 1.0
    source: str = "votes"
    chosen_size: tuple[int, int] = (0, 0)
    split: Split = "train"

    @property
    def is_paired(self) -> bool:
        return bool(self.chosen and self.rejected)


def write_training_pairs(path: Path, pairs: Iterable[TrainingPair]) -> None:
    """Paths below the file's folder's parent (the set) are written relative to the file, so that a set can be moved."""
    write_atomic(path, as_lines(pairs, path.parent))


def as_lines(pairs: Iterable[TrainingPair], folder: Path) -> str:
    """The text of a file of pairs that lies in `folder`."""
    lines = []
    for pair in pairs:
        record = dataclasses.asdict(pair)
        for side in ("chosen", "rejected"):
            record[side] = relative(record[side], folder)
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(lines)


def read_training_pairs(path: Path) -> list[TrainingPair]:
    """Raises DataError for a file that cannot be read or holds a line that is no pair."""
    if not path.is_file():
        raise DataError(f"There is no file {path}.", "Export one with `pairs export SET`.")
    found = []
    for number, record in enumerate(all_records(path), 1):
        known = {one.name: record[one.name] for one in dataclasses.fields(TrainingPair) if one.name in record}
        sides = {side: known.get(side) or "" for side in ("chosen", "rejected")}
        if not isinstance(known.get("prompt"), str) or not any(sides.values()):
            raise DataError(f"{path.name}, line {number} is no pair.", "Lines need prompt, chosen and rejected.")
        placed = {side: str(path.parent / value) if value else "" for side, value in sides.items()}
        size = tuple(known.get("chosen_size") or (0, 0))
        found.append(TrainingPair(**known | placed | {"chosen_size": size}))
    return found


def relative(path: str, folder: Path) -> str:
    """Relative to `folder` when it lies in the set around it; "" stays."""
    if path and Path(path).is_relative_to(folder.parent):
        return f"../{Path(path).relative_to(folder.parent).as_posix()}"
    return path
