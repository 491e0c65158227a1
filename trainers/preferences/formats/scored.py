"""`dataset_scored.json`: a list of prompts with generated pictures, their rewards, and one pair each. Light.

A record: caption, real_image_path, generated_image_paths, resolution, meta, real_reward, gen_rewards, dpo_pair {chosen,
rejected, margin}, annotation_status. In dpo_pair the paths are right as they stand, whatever the status says: the one
who answered "swapped" had them exchanged in the file, and its margin negated. Exchanging them for the status again
would turn every correction round.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trainers.preferences.deriving import Decided
from trainers.preferences.formats.incoming import Incoming, number_of, sides_of
from trainers.preferences.formats.places import UnusableError
from trainers.preferences.prefset import Auto, Pair, Picture, Prefset, Score
from trainers.preferences.training_pairs import relative

SCORERS = {"hps_score": "hpsv2.1", "anatomy_score": "anatomy"}  # by the names that rewards have there
FACTORS = {"hpsv2.1": 20.0, "anatomy": 1.0}  # of which total_reward is the sum
TOTAL, PARTS = "total_reward", "anatomy_details"
ANSWERED = ("confirmed", "swapped")
IMPORTED = "imported"


# ---------------------------------------------------------------------- writing


def as_scored(prefset: Prefset, decided: Iterable[Decided], folder: Path) -> str:
    """The text of a file that lies in `folder`: a record for each pair, "confirmed" with the winner chosen."""
    records = [_record(prefset, one, folder) for one in decided]
    return json.dumps(records, ensure_ascii=False, indent=1) + "\n"


def _record(prefset: Prefset, one: Decided, folder: Path) -> dict[str, Any]:
    prompt_id, winner = one.pair.prompt_id, prefset.pictures[one.winner]
    pictures = prefset.pictures_of(prompt_id)
    real = next((picture for picture in pictures if picture.source == "real"), None)
    made = [picture for picture in pictures if picture.source != "real"]
    rewards = [{"path": _path(prefset, one.image_id, folder), "scores": _rewards(prefset, one)} for one in made]
    prompt = prefset.prompts.get(prompt_id)
    return {
        "caption": prompt.prompt if prompt else "",
        "real_image_path": _path(prefset, real.image_id, folder) if real else "",
        "generated_image_paths": [_path(prefset, picture.image_id, folder) for picture in made],
        "resolution": [winner.w, winner.h],
        "meta": _meta(winner),
        "real_reward": [_rewards(prefset, real)] if real else [],
        "gen_rewards": sorted(rewards, key=lambda one: -one["scores"].get(TOTAL, -math.inf)),
        "dpo_pair": {
            "chosen": _path(prefset, one.winner, folder),
            "rejected": _path(prefset, one.loser, folder),
            "margin": _margin(one),
        },
        "annotation_status": "confirmed",
    }


def _path(prefset: Prefset, image_id: str, folder: Path) -> str:
    return relative(str(prefset.path(image_id).absolute()), folder)


def _rewards(prefset: Prefset, picture: Picture) -> dict[str, float]:
    """What is known; a score that a scorer did not give has no key, as 0 would be a bad one."""
    known = {
        scorer: float(score.v)
        for scorer in sorted(prefset.scorers())
        if (score := prefset.scores.get((scorer, picture.prompt_id, picture.image_id))) and score.v is not None
    }
    parts = [FACTORS[scorer] * value for scorer, value in known.items() if scorer in FACTORS]
    names = {scorer: key for key, scorer in SCORERS.items()}
    total = {TOTAL: sum(parts)} if parts else {}
    return total | {names.get(scorer, scorer): value for scorer, value in known.items()}


def _meta(picture: Picture) -> dict[str, Any]:
    adapters = picture.gen.get("adapters") or []
    meta = {"lora_source": str(adapters[0].get("path", "")) if adapters else ""}
    names = {"steps": "steps", "cfg": "cfg_scale", "sampler": "sampler"}
    return meta | {there: picture.gen[here] for here, there in names.items() if here in picture.gen}


def _margin(one: Decided) -> float:
    """Of the scores: above 0 where they say the same as people, below where people corrected them."""
    auto = one.pair.auto
    if auto is None or auto.winner not in ("a", "b"):
        return 0.0
    return auto.margin if getattr(one.pair, auto.winner) == one.winner else -auto.margin


# ---------------------------------------------------------------------- reading


def is_scored(path: Path) -> bool:
    """Whether it is a list of records of this form."""
    records = _records(path)
    first = records[0] if records else None
    return isinstance(first, dict) and "caption" in first and bool({"dpo_pair", "generated_image_paths"} & first.keys())


def _records(path: Path) -> list[Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def read_scored(path: Path, incoming: Incoming) -> None:
    """Raises OSError."""
    for number, record in enumerate(_records(path), 1):
        name = f"{path.name}, record {number}"
        with incoming.row(name):
            if not isinstance(record, dict):
                raise UnusableError("not a record of JSON")
            if record.get("annotation_status") != "discarded":
                _Reader(record, path.parent, incoming, name).take()


class _Reader:
    """Takes over one record."""

    def __init__(self, record: dict[str, Any], base: Path, incoming: Incoming, name: str) -> None:
        self._record, self._base, self._incoming, self._name = record, base, incoming, name
        self._prompt_id = incoming.prompt(record.get("caption"))
        self._gen = _gen(record.get("meta"))

    def take(self) -> None:
        if real := self._record.get("real_image_path"):
            with self._incoming.row(self._name):
                found = self._incoming.picture(self._prompt_id, real, self._base, "real")
                self._scores(found, self._record.get("real_reward"))
        for path, rewards in self._made():
            with self._incoming.row(self._name):
                self._scores(self._generated(path), rewards)
        if isinstance(self._record.get("dpo_pair"), dict):
            self._compare(self._record["dpo_pair"])

    def _generated(self, path: Any) -> str:
        is_real = bool(path) and path == self._record.get("real_image_path")
        if is_real:
            return self._incoming.picture(self._prompt_id, path, self._base, "real")
        return self._incoming.picture(self._prompt_id, path, self._base, "generated", self._gen)

    def _made(self) -> Iterator[tuple[Any, Any]]:
        """Each generated picture with its rewards, which are listed by path, or beside the pictures in their order."""
        paths, beside = _list(self._record.get("generated_image_paths")), _list(self._record.get("generated_rewards"))
        by_path = {one.get("path"): one.get("scores") for one in _list(self._record.get("gen_rewards")) if _is(one)}
        for number, path in enumerate(paths):
            listed = by_path.get(path) if isinstance(path, str) else None
            yield path, listed or (beside[number] if number < len(beside) else None)

    def _scores(self, image_id: str, rewards: Any) -> None:
        for scorer, value in _known_scores(rewards[0] if isinstance(rewards, list) and rewards else rewards):
            self._incoming.score(Score(image_id, self._prompt_id, scorer, IMPORTED, value))

    def _compare(self, found: dict[str, Any]) -> None:
        chosen, rejected = self._generated(found.get("chosen")), self._generated(found.get("rejected"))
        margin = number_of(found.get("margin")) or 0.0
        preferred = rejected if margin < 0 else chosen  # by the scores: a correction negates the margin

        def auto(pair: Pair) -> Auto:
            return Auto(sides_of(pair, preferred)[0], abs(margin), 1.0)

        pair = self._incoming.pair(self._prompt_id, chosen, rejected, auto if margin else None)
        if self._record.get("annotation_status") in ANSWERED:
            self._incoming.vote(pair, sides_of(pair, chosen)[0], self._incoming.reading.annotator)


def _is(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("path"), str)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _known_scores(rewards: Any) -> Iterator[tuple[str, float | None]]:
    """Of one picture, by scorer. total_reward, the sum of the others, counts where it stands alone.

    0 is what such files hold for a picture that could not be scored, and for a body that is not there: no score.
    """
    found = rewards if isinstance(rewards, dict) else {}
    values = {key: value for key, given in found.items() if (value := number_of(given)) is not None}
    parts = {key: value for key, value in values.items() if key != TOTAL}
    for key, value in (parts or values).items():
        is_missing = value == 0 and (key in SCORERS or key == TOTAL)
        yield SCORERS.get(key, key), None if is_missing else value


def _gen(meta: Any) -> dict[str, Any]:
    if not isinstance(meta, dict):
        return {}
    names = {"steps": "steps", "cfg_scale": "cfg", "sampler": "sampler"}
    gen: dict[str, Any] = {here: meta[there] for there, here in names.items() if there in meta}
    return gen | ({"adapters": [{"path": meta["lora_source"]}]} if meta.get("lora_source") else {})
