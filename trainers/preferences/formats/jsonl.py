"""Lines of JSON with a prompt, a chosen and a rejected picture: what TRL reads, and Atelier's own pairs.train.jsonl.

Also the metadata.jsonl of a Hugging Face image folder, whose keys end in _file_name. Light.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from trainers.preferences.formats.incoming import Incoming, number_of, sides_of
from trainers.preferences.formats.places import UnusableError
from trainers.preferences.prefset import Auto, Pair
from trainers.preferences.training_pairs import TrainingPair, relative

PROMPT_KEYS = ("prompt", "caption", "text")
MAX_PEOPLE = 1000
FIRST_LINES = 20


def as_trl(pairs: Iterable[TrainingPair], folder: Path) -> str:
    """The text of a file that lies in `folder`: the pairs that have both pictures, and how much each counts."""
    lines = []
    for pair in pairs:
        if pair.is_paired:
            paths = {"chosen": relative(pair.chosen, folder), "rejected": relative(pair.rejected, folder)}
            lines.append(json.dumps({"prompt": pair.prompt, **paths, **facts(pair)}, ensure_ascii=False) + "\n")
    return "".join(lines)


def facts(pair: TrainingPair) -> dict[str, Any]:
    """What a line says besides prompt and pictures."""
    return {"weight": pair.weight, "n_votes": pair.n_votes, "p_chosen": pair.p_chosen, "source": pair.source}


def is_jsonl(path: Path) -> bool:
    """Whether one of the first lines names a chosen or a rejected picture."""
    records = (record for _, record in islice(_records(path), FIRST_LINES))
    return any(
        isinstance(record, dict) and (_side(record, "chosen") or _side(record, "rejected")) for record in records
    )


def read_jsonl(path: Path, incoming: Incoming) -> None:
    """Raises OSError."""
    rows = list(_records(path))
    # real pictures first: that their rivals were generated is said by their rows alone
    for wants_real in (True, False):
        for number, record in rows:
            is_real = isinstance(record, dict) and record.get("source") == "real"
            if is_real == wants_real:
                with incoming.row(f"{path.name}, line {number}"):
                    _take(record, path.parent, incoming)


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """None for a line that is no JSON."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError):
                    yield number, None


def _side(record: dict[str, Any], side: str) -> Any:
    return record.get(side) or record.get(f"{side}_file_name")


def _take(record: Any, base: Path, incoming: Incoming) -> None:
    if not isinstance(record, dict):
        raise UnusableError("not a record of JSON")
    chosen, rejected = _side(record, "chosen"), _side(record, "rejected")
    if not chosen or not rejected:
        raise UnusableError("a picture alone, and a set compares two")
    prompt_id = incoming.prompt(next((record[key] for key in PROMPT_KEYS if record.get(key)), None))
    source = record.get("source")
    winner = incoming.picture(prompt_id, chosen, base, "real" if source == "real" else "external")
    loser = incoming.picture(prompt_id, rejected, base, "generated" if source == "real" else "external")
    if source == "scores":
        incoming.pair(prompt_id, winner, loser, lambda pair: _auto(pair, winner, record))
    elif source != "real":
        _vote(incoming, incoming.pair(prompt_id, winner, loser), winner, record)


def _auto(pair: Pair, winner: str, record: dict[str, Any]) -> Auto:
    """The scores' opinion of which p_chosen and weight were made: p = sigmoid(margin)."""
    p, weight = _number(record, "p_chosen", 1.0), _number(record, "weight", 1.0)
    p = min(max(p, 0.5), 1 - 1e-9)
    agree = min(weight / (2 * p - 1), 1.0) if p > 0.5 else 1.0
    return Auto(sides_of(pair, winner)[0], math.log(p / (1 - p)), agree)


def _vote(incoming: Incoming, pair: Pair, winner: str, record: dict[str, Any]) -> None:
    """As many people as the line counts, of whom as many as it says are for the chosen one; one, if it says nothing."""
    chosen, rejected = sides_of(pair, winner)
    people = _people(record)
    halves = round(2 * people * min(max(_number(record, "p_chosen", 1.0), 0.0), 1.0))
    for number in range(people):
        name = incoming.reading.annotator + (f"-{number + 1}" if number else "")
        mine = min(max(halves - 2 * number, 0), 2)  # 1: said one thing at first, and the other when it came again
        for choice in {2: (chosen,), 1: (chosen, rejected), 0: (rejected,)}[mine]:
            incoming.vote(pair, choice, name)


def _people(record: dict[str, Any]) -> int:
    people = record.get("n_votes") or 1
    if isinstance(people, bool) or not isinstance(people, int) or not 0 < people <= MAX_PEOPLE:
        raise UnusableError(f"n_votes is not a number from 1 to {MAX_PEOPLE}")
    return people


def _number(record: dict[str, Any], key: str, default: float) -> float:
    value = number_of(record.get(key, default))
    if value is None:
        raise UnusableError(f"{key} is not a number")
    return value
