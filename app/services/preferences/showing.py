"""What the voting page is told: of a pair nothing but its pictures, before the vote; everything, after it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.services.preferences.pictures import Pictures, Showing
from trainers.preferences.prefset import Pair, Picture, Prefset
from trainers.preferences.votes import Choice, Side, Vote, left_of

Record = dict[str, Any]

SIDES = ("left", "right")
TIED = 1e-9  # two scores this near are the same


def choice_of(shown: str, left: Side) -> Choice:
    """In terms of a and b, of what was chosen on the page: left, right, tie, both_bad or skip. Raises KeyError."""
    right: Side = "b" if left == "a" else "a"
    choices: dict[str, Choice] = {"left": left, "right": right, "tie": "tie", "both_bad": "both_bad", "skip": "skip"}
    return choices[shown]


def shown_of(choice: str, left: Side) -> str:
    """The other way round; what names no picture stays."""
    return choice if choice not in ("a", "b") else "left" if choice == left else "right"


def pair_item(pictures: Pictures, prefset: Prefset, annotator: str, showing: Showing, *, is_open: bool) -> Record:
    """A pair to vote on. is_open: with the scores, because the person asked for them."""
    pair = prefset.pairs[showing.pair_id]
    left, right = sides(pair, annotator, showing.repeat)
    item: Record = {
        "kind": "pair",
        "key": pictures.of_showing(prefset, showing),
        "prompt": prefset.prompts[pair.prompt_id].prompt,
        "left": pictures.of_side(prefset, showing, left),
        "right": pictures.of_side(prefset, showing, right),
        "real": _real(pictures, prefset, pair),
    }
    return item | ({"scores": scores_of(prefset, pair, left, right)} if is_open else {})


def group_item(pictures: Pictures, prefset: Prefset, annotator: str, prompt_id: str) -> Record:
    """All pictures of a prompt, in an order drawn for the person."""

    def drawn(picture: Picture) -> str:
        text = f"{prompt_id}\0{annotator}\0{picture.image_id}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    ordered = sorted(generated(prefset, prompt_id), key=drawn)
    return {
        "kind": "group",
        "key": pictures.of_group(prefset, prompt_id),
        "prompt": prefset.prompts[prompt_id].prompt,
        "pictures": [pictures.in_group(prefset, prompt_id, one.image_id) for one in ordered],
    }


def generated(prefset: Prefset, prompt_id: str) -> list[Picture]:
    """The pictures of a prompt that are to be ranked: a real one is there to compare with."""
    return [one for one in prefset.pictures_of(prompt_id) if one.source != "real"]


def sides(pair: Pair, annotator: str, repeat: bool) -> tuple[str, str]:
    """Image ids of the left and the right picture."""
    return (pair.a, pair.b) if left_of(pair.pair_id, annotator, repeat=repeat) == "a" else (pair.b, pair.a)


def _real(pictures: Pictures, prefset: Prefset, pair: Pair) -> str:
    """A real picture of the prompt to compare with; "" when there is none, or when it is one of the two."""
    real = next((one for one in prefset.pictures_of(pair.prompt_id) if one.source == "real"), None)
    if real is None or any(prefset.pictures[one].source == "real" for one in (pair.a, pair.b)):
        return ""
    return pictures.in_group(prefset, pair.prompt_id, real.image_id)


def revealed(prefset: Prefset, vote: Vote, others: Sequence[Vote]) -> Record:
    """What is behind a pair, for the one who has voted. others: standing votes of other people on it."""
    pair = prefset.pairs[vote.pair_id]
    left, right = (pair.a, pair.b) if vote.left == "a" else (pair.b, pair.a)
    auto = pair.auto
    return {
        "choice": shown_of(vote.choice, vote.left),
        "left": _made(prefset.pictures.get(left)),
        "right": _made(prefset.pictures.get(right)),
        "scores": scores_of(prefset, pair, left, right),
        "auto": {} if auto is None else {"winner": shown_of(auto.winner, vote.left), "margin": auto.margin},
        "others": Counter(shown_of(one.choice, vote.left) for one in others if one.choice != "skip"),
    }


def scores_of(prefset: Prefset, pair: Pair, left: str, right: str) -> list[Record]:
    """[{scorer, left, right, prefers}] of the scorers that have an opinion on one of the two. prefers: left | right |
    tie, "" when it speaks of one only."""
    found = []
    for scorer in prefset.scorers():
        values = [_value(prefset, scorer, pair.prompt_id, image_id) for image_id in (left, right)]
        if any(value is not None for value in values):
            found.append({"scorer": scorer, "left": values[0], "right": values[1], "prefers": _prefers(values)})
    return found


def _value(prefset: Prefset, scorer: str, prompt_id: str, image_id: str) -> float | None:
    score = prefset.scores.get((scorer, prompt_id, image_id))
    return score.v if score else None


def _prefers(values: Sequence[float | None]) -> str:
    left, right = values
    if left is None or right is None:
        return ""
    return "tie" if abs(left - right) <= TIED else "left" if left > right else "right"


def _made(picture: Picture | None) -> Record:
    """How a picture was made. Of files their names alone: the page may be open on another machine."""
    if picture is None:
        return {}
    gen = picture.gen
    adapters = gen.get("adapters") or []
    return {
        "source": picture.source,
        "size": [picture.w, picture.h],
        "seed": gen.get("seed"),
        "base": _name(gen.get("base")),
        "adapters": [_adapter(one) for one in adapters if isinstance(one, Mapping)],
        "steps": gen.get("steps"),
        "cfg": gen.get("cfg"),
    }


def _adapter(adapter: Mapping[str, Any]) -> Record:
    return {"name": _name(adapter.get("path")), "scale": adapter.get("scale")}


def _name(path: object) -> str:
    return Path(str(path)).name if path else ""
