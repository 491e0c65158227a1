"""Preference pairs and their pictures, read without torch: what a file or a set holds, and what of it is whole."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainers.data.folder import BadFile, Picture
from trainers.data.index import Entry, Progress, listed
from trainers.errors import DataError
from trainers.preferences.prefset import Prefset
from trainers.preferences.snapshot import usable_pairs
from trainers.preferences.training_pairs import TrainingPair, read_training_pairs


@dataclass(frozen=True)
class PairScan:
    """rows: every line, with paths in their shortest form; pictures: by path, those that can be read; bad: the others,
    and why; content: whether pictures were decoded."""

    path: Path
    rows: tuple[TrainingPair, ...]
    pictures: Mapping[str, Picture]
    bad: tuple[BadFile, ...]
    content: bool = True

    def is_whole(self, row: TrainingPair) -> bool:
        """Whether all pictures of a row can be read."""
        return all(path in self.pictures for path in sides(row))


def sides(row: TrainingPair) -> tuple[str, ...]:
    """Paths of a row's pictures: two, or one."""
    return tuple(path for path in (row.chosen, row.rejected) if path)


def rows_of(path: Path) -> list[TrainingPair]:
    """The lines of a pairs.train.jsonl, or what the votes of a set say now. Raises DataError."""
    rows = usable_pairs(Prefset(path)) if path.is_dir() else read_training_pairs(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row.weight, int | float) or not 0 < row.weight <= 1:
            message = f"{path.name}, line {number} has a weight of {row.weight!r}."
            raise DataError(message, "Weights of pairs are above 0 and at most 1.")
    return [dataclasses.replace(row, chosen=_short(row.chosen), rejected=_short(row.rejected)) for row in rows]


def _short(path: str) -> str:
    """Without dots: the same picture must not count as two."""
    return os.path.normpath(path) if path else ""


def scan_pairs(path: Path, index_dir: Path, *, content: bool = True, progress: Progress | None = None) -> PairScan:
    """Every picture of the pairs. What is known of files that have not changed is not read again.

    path: a file or a set; index_dir: where files are remembered; content: decode pictures that never were; progress:
    is told (pictures done, pictures in all). Raises DataError for what holds no pairs at all.
    """
    rows = rows_of(path)
    wanted = sorted({side for row in rows for side in sides(row)})
    if not wanted:
        raise DataError(f"{path} holds no pairs.", "Label some in the Preferences tab, and export them again.")
    pictures, bad = {}, []
    store = index_dir / f"{_store_name(wanted[0])}.jsonl"
    for entry in listed(map(Path, wanted), store, content=content, progress=progress):
        if entry.error:
            bad.append(BadFile(Path(entry.name), entry.error))
        else:
            pictures[os.path.normpath(entry.name)] = _picture(entry)
    return PairScan(path, tuple(rows), pictures, tuple(bad), content)


def _store_name(first: str) -> str:
    """One store for all files of pairs of a set: they show the same pictures."""
    key = f"{os.path.dirname(first)}\npairs".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(key, digest_size=16).hexdigest()


def _picture(entry: Entry) -> Picture:
    root, name = os.path.split(entry.name)
    return Picture(
        root=root,
        name=name,
        width=entry.width,
        height=entry.height,
        size=entry.size,
        alpha=entry.alpha,
        frames=entry.frames,
        digest=entry.digest,
        dhash=entry.dhash,
        sharpness=entry.sharpness,
    )
