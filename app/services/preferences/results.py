"""What the votes of a set say, how far they can be trusted, and what can be made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from app.services.preferences.sets import Sets
from app.services.preferences.training import made_with, terms
from trainers.preferences.deriving import Terms, decided_pairs, training_pairs
from trainers.preferences.exporting import FORMATS, export
from trainers.preferences.prefset import Prefset
from trainers.preferences.summary import summarise

Record = dict[str, Any]


def look(sets: Sets, name: str, *, use_scores: bool) -> Record:
    """The fields of `summary.Summary`, and {usable: {pairs, real, unpaired, held_out_pairs, prompts, missing}, auto:
    pairs that only the scorers decide, base, formats}. Raises DataError for no set."""
    with sets.opened(name) as prefset:
        return {
            **dataclasses.asdict(summarise(prefset)),
            "usable": _usable(prefset, terms(use_scores=use_scores)),
            "auto": len(decided_pairs(prefset, Terms(sources=("votes", "scores")))) - len(decided_pairs(prefset)),
            "base": made_with(prefset)["base"],
            "formats": list(FORMATS),
        }


def _usable(prefset: Prefset, wanted: Terms) -> dict[str, int]:
    rows = training_pairs(prefset, wanted)
    files = {side for row in rows for side in (row.chosen, row.rejected) if side}
    return {
        "pairs": sum(row.is_paired and row.source != "real" for row in rows),
        "real": sum(row.is_paired and row.source == "real" for row in rows),
        "unpaired": sum(not row.is_paired for row in rows),
        "held_out_pairs": sum(row.is_paired and row.split == "held_out" for row in rows),
        "prompts": len({row.prompt for row in rows}),
        "missing": sum(not Path(file).is_file() for file in files),
    }


def held_out_prompts(sets: Sets, name: str) -> list[str]:
    """Prompts that training on the votes of the set never sees."""
    with sets.opened(name) as prefset:
        return list(dict.fromkeys(row.prompt for row in training_pairs(prefset) if row.split == "held_out"))


def write(sets: Sets, name: str, format: str, *, use_scores: bool) -> Record:
    """Write the pairs in a format of other programs, below the set. {path, rows, missing: pictures that are not there}.

    Raises AtelierError with the remedy.
    """
    with sets.opened(name) as prefset:
        written = export(prefset, format, terms=terms(use_scores=use_scores))
    return {"path": str(written.path), "rows": written.rows, "missing": len(written.missing)}
