"""What a run trains on never changes: a set is written down as it is now, under the digest of its pairs. Light."""

from __future__ import annotations

import hashlib
from pathlib import Path

from trainers.errors import DataError
from trainers.preferences.deriving import Terms, training_pairs
from trainers.preferences.prefset import Prefset
from trainers.preferences.training_pairs import TrainingPair, as_lines, read_training_pairs
from trainers.rundir import write_atomic


def pin(path: Path, terms: Terms | None = None) -> Path:
    """The file of pairs to train on: the given one, or SET/export/pairs-DIGEST.train.jsonl for the folder of a set.

    Raises DataError when nothing in the set is decided, OSError.
    """
    if not path.is_dir():
        return path
    prefset = Prefset(path)
    text = as_lines(usable_pairs(prefset, terms), prefset.export_dir.absolute())
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    pinned = prefset.export_dir / f"pairs-{digest}.train.jsonl"
    if not pinned.exists() or pinned.read_bytes() != text.encode():
        write_atomic(pinned, text)
    return pinned


def usable_pairs(prefset: Prefset, terms: Terms | None = None, *, paired: bool = False) -> list[TrainingPair]:
    """The pairs to train on. paired: without pictures that stand alone.

    Raises DataError, with the counts and the remedy, when nobody has decided any.
    """
    rows = [row for row in training_pairs(prefset, terms) if row.is_paired or not paired]
    if any(row.source != "real" for row in rows):
        return rows
    pairs, votes = len(prefset.pairs), len(prefset.votes.standing())
    message = f"{prefset.folder.name} has {pairs} pairs and {votes} votes, and no pair that is decided."
    if not pairs:
        raise DataError(message, "Make pairs first, with `pairs build`, and label them in the Preferences tab.")
    hint = "Label some in the Preferences tab"
    if any(pair.auto and pair.auto.winner != "tie" for pair in prefset.pairs.values()):
        hint += ", or let the scores decide: `pairs export SET sources=votes,scores` writes a file to train on"
    raise DataError(message, f"{hint}.")


def summary(path: Path) -> dict[str, int]:
    """Counts of a set's folder or of a file of pairs: pairs (those of people or scores, with both pictures), real,
    unpaired, held_out (of all rows), prompts, pictures, missing (pictures whose file is not there).

    Raises DataError for what is neither. A set in which nothing is decided gives zeros.
    """
    rows = training_pairs(Prefset(path)) if path.is_dir() else read_training_pairs(path)
    pictures = {side for row in rows for side in (row.chosen, row.rejected) if side}
    return {
        "pairs": sum(row.is_paired and row.source != "real" for row in rows),
        "real": sum(row.is_paired and row.source == "real" for row in rows),
        "unpaired": sum(not row.is_paired for row in rows),
        "held_out": sum(row.split == "held_out" for row in rows),
        "prompts": len({row.prompt for row in rows}),
        "pictures": len(pictures),
        "missing": sum(not Path(picture).is_file() for picture in pictures),
    }
