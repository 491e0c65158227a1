"""Preferences for other programs, and for training. Each file is written as a whole or not at all. Light."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import DataError
from trainers.preferences.deriving import Terms, decided_pairs
from trainers.preferences.formats.hf_folder import MARK, write_hf
from trainers.preferences.formats.jsonl import as_trl
from trainers.preferences.formats.pickapic import write_pickapic
from trainers.preferences.formats.scored import as_scored
from trainers.preferences.formats.whole import whole_file, whole_folder
from trainers.preferences.prefset import Prefset
from trainers.preferences.snapshot import usable_pairs
from trainers.preferences.training_pairs import as_lines
from trainers.rundir import write_atomic


@dataclass(frozen=True)
class Exported:
    """path: the file, or the folder of `hf`; rows: pairs, or votes, in it; missing: pictures that are not there."""

    path: Path
    rows: int
    missing: tuple[str, ...] = ()


Writer = Callable[[Prefset, Path, Terms], Exported]


def export(prefset: Prefset, format: str, out: Path | None = None, terms: Terms | None = None) -> Exported:
    """Write what the set says by now. out: file, or folder of `hf`; without it the format's place in SET/export.

    Raises DataError for a format that is none, for a set in which nothing is decided and for a folder that is taken,
    MissingPackageError, OSError.
    """
    if format not in FORMATS:
        raise DataError(f"{format!r} is no format of an export.", f"There are {', '.join(FORMATS)}.")
    name, write = FORMATS[format]
    target = (out or prefset.export_dir / name).absolute()
    if target.is_dir() and format != "hf":
        target /= name
    return write(prefset, target, terms or Terms())


def _train(prefset: Prefset, path: Path, terms: Terms) -> Exported:
    rows = usable_pairs(prefset, terms)
    write_atomic(path, as_lines(rows, path.parent))
    return Exported(path, len(rows), _missing({side for row in rows for side in (row.chosen, row.rejected) if side}))


def _jsonl(prefset: Prefset, path: Path, terms: Terms) -> Exported:
    rows = usable_pairs(prefset, terms, paired=True)
    write_atomic(path, as_trl(rows, path.parent))
    return Exported(path, len(rows), _missing({side for row in rows for side in (row.chosen, row.rejected)}))


def _pickapic(prefset: Prefset, path: Path, terms: Terms) -> Exported:
    """All votes that stand; the terms, which are about training, change nothing here."""
    usable_votes = any(vote.choice != "skip" for vote in prefset.votes.standing())
    if not usable_votes:
        raise DataError(f"{prefset.folder.name} has no votes.", "Label pairs in the Preferences tab.")
    with whole_file(path) as unfinished:
        rows, missing = write_pickapic(prefset, unfinished)
    return Exported(path, rows, tuple(missing))


def _hf(prefset: Prefset, path: Path, terms: Terms) -> Exported:
    pairs = usable_pairs(prefset, terms, paired=True)
    with whole_folder(path, MARK) as unfinished:
        rows, missing = write_hf(pairs, unfinished)
    return Exported(path, rows, tuple(missing))


def _scored(prefset: Prefset, path: Path, terms: Terms) -> Exported:
    """Pairs that people decided: the form has a status for what was looked at, and no place for how many did."""
    usable_pairs(prefset, terms := dataclasses.replace(terms, sources=("votes",)), paired=True)
    decided = decided_pairs(prefset, terms)
    write_atomic(path, as_scored(prefset, decided, path.parent))
    pictures = {str(prefset.path(image_id)) for one in decided for image_id in (one.winner, one.loser)}
    return Exported(path, len(decided), _missing(pictures))


def _missing(pictures: set[str]) -> tuple[str, ...]:
    return tuple(sorted(picture for picture in pictures if not Path(picture).is_file()))


FORMATS: dict[str, tuple[str, Writer]] = {
    "train": ("pairs.train.jsonl", _train),
    "jsonl": ("pairs.jsonl", _jsonl),
    "pickapic": ("pickapic.parquet", _pickapic),
    "hf": ("hf", _hf),
    "scored": ("dataset_scored.json", _scored),
}
