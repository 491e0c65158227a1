"""From votes to pairs to train on: which picture is the chosen one follows from the log, each time anew. Light.

The one place where a label gets its direction. Nothing that is stored in a set says chosen or rejected.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from trainers.errors import ConfigError
from trainers.preferences.bradley_terry import Strength, probability
from trainers.preferences.prefset import Pair, Picture, Prefset
from trainers.preferences.ranking import strengths
from trainers.preferences.training_pairs import Split, TrainingPair
from trainers.preferences.verdicts import Verdict, verdicts

PairSource = Literal["votes", "scores"]


@dataclass(frozen=True)
class Terms:
    """Which pairs are used, and how they count.

    sources: scores are asked only about pairs of which no person said anything; held_out: share of the prompts that
    validation keeps, in [0, 1); min_votes: people who must have preferred one of the two; margin: least margin of the
    scores; real: real pictures against the generated ones of their prompt; weight: where p comes from, the votes on the
    pair alone, or the strengths that follow from all votes on the pictures of the prompt; alone: each picture by
    itself, wanted or not, instead of pairs.
    """

    sources: tuple[PairSource, ...] = ("votes",)
    held_out: float = 0.1
    seed: int = 0
    min_votes: int = 1
    margin: float = 0.0
    real: bool = True
    weight: Literal["votes", "bradley_terry"] = "votes"
    alone: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if not 0 <= self.held_out < 1:
            raise ConfigError("held_out", f"{self.held_out} is no share of the prompts.", "Use 0 to 0.99, as in 0.1.")
        if self.min_votes < 1:
            raise ConfigError("min_votes", f"{self.min_votes} people decide nothing.", "Use 1 or more.")


@dataclass(frozen=True)
class Decided:
    """A pair with a winner. winner, loser: image ids; weight: |2 p - 1|, of votes with p = p_chosen, in (0, 1]."""

    pair: Pair
    winner: str
    loser: str
    weight: float
    p_chosen: float
    n_votes: int
    source: PairSource


def training_pairs(prefset: Prefset, terms: Terms | None = None) -> list[TrainingPair]:
    """What training reads: pairs that are decided, real pictures against generated ones, pictures that are all bad.

    The split goes by the text of the prompt alone, so neither the order of the votes nor a negative prompt moves it.
    """
    terms = terms or Terms()
    said = verdicts(prefset.votes.standing())
    decided = list(_decided(prefset, said, terms))
    rows = [] if terms.alone else [_row(prefset, one) for one in decided]
    if terms.real and not terms.alone:
        rows += _real_rows(prefset, said)
    rows += _alone(prefset, [*_bad(prefset, said), *(_sides(decided) if terms.alone else [])])
    return _with_split(rows, terms)


def decided_pairs(prefset: Prefset, terms: Terms | None = None) -> list[Decided]:
    """In the order of the set's pairs. Ties, and pairs that people are evenly divided about, are left out."""
    return list(_decided(prefset, verdicts(prefset.votes.standing()), terms or Terms()))


def _decided(prefset: Prefset, said: dict[str, Verdict], terms: Terms) -> Iterator[Decided]:
    fitted = strengths(prefset, prefset.votes.standing()) if terms.weight == "bradley_terry" else {}
    for pair in prefset.pairs.values():
        if not {pair.a, pair.b} <= prefset.pictures.keys():
            continue
        verdict = said.get(pair.pair_id)
        if verdict is not None:
            p_a = _p_of(pair, fitted[pair.prompt_id]) if fitted else verdict.p_a
            found = _by_votes(pair, verdict, p_a, terms) if "votes" in terms.sources else None
        else:
            found = _by_scores(pair, terms) if "scores" in terms.sources else None
        if found is not None and found.weight > 0:
            yield found


def _p_of(pair: Pair, fitted: Mapping[str, Strength]) -> float:
    return probability(fitted[pair.a].strength, fitted[pair.b].strength)


def _by_votes(pair: Pair, verdict: Verdict, p_a: float, terms: Terms) -> Decided | None:
    if verdict.are_both_bad or verdict.deciders < terms.min_votes:
        return None
    winner, loser = (pair.a, pair.b) if p_a >= 0.5 else (pair.b, pair.a)
    p = max(p_a, 1 - p_a)
    return Decided(pair, winner, loser, 2 * p - 1, p, verdict.deciders, "votes")


def _by_scores(pair: Pair, terms: Terms) -> Decided | None:
    """p = sigmoid(margin), as if the combined score were a Bradley-Terry strength; scorers that disagree weigh less."""
    auto = pair.auto
    if auto is None or auto.winner not in ("a", "b") or auto.margin < terms.margin:
        return None
    winner, loser = (pair.a, pair.b) if auto.winner == "a" else (pair.b, pair.a)
    weight = math.tanh(auto.margin / 2) * auto.agree
    return Decided(pair, winner, loser, weight, (1 + math.tanh(auto.margin / 2)) / 2, 0, "scores")


def _row(prefset: Prefset, one: Decided) -> TrainingPair:
    return TrainingPair(
        prompt=_text(prefset, one.pair.prompt_id),
        chosen=_path(prefset, one.winner),
        rejected=_path(prefset, one.loser),
        weight=one.weight,
        n_votes=one.n_votes,
        p_chosen=one.p_chosen,
        source=one.source,
        chosen_size=_size(prefset.pictures[one.winner]),
    )


def _text(prefset: Prefset, prompt_id: str) -> str:
    prompt = prefset.prompts.get(prompt_id)
    return prompt.prompt if prompt else ""


def _path(prefset: Prefset, image_id: str) -> str:
    return str(prefset.path(image_id).absolute())


def _size(picture: Picture) -> tuple[int, int]:
    return picture.w, picture.h


def _real_rows(prefset: Prefset, said: dict[str, Verdict]) -> Iterator[TrainingPair]:
    """Each real picture against each generated one of the same prompt, unless people have compared the two."""
    judged = {tuple(sorted((pair.a, pair.b))) for pair in prefset.pairs.values() if pair.pair_id in said}
    by_text: dict[str, dict[str, Picture]] = {}
    for prompt in prefset.prompts.values():
        for picture in prefset.pictures_of(prompt.prompt_id):
            by_text.setdefault(prompt.prompt, {}).setdefault(picture.image_id, picture)
    for text, pictures in by_text.items():
        for real in (one for one in pictures.values() if one.source == "real"):
            for made in (one for one in pictures.values() if one.source == "generated"):
                if tuple(sorted((real.image_id, made.image_id))) not in judged:
                    chosen, rejected = _path(prefset, real.image_id), _path(prefset, made.image_id)
                    yield TrainingPair(text, chosen, rejected, source="real", chosen_size=_size(real))


class Side(NamedTuple):
    """One picture of a pair. wanted: how much, in [-1, 1]; people: who said so."""

    prompt_id: str
    image_id: str
    wanted: float
    people: int


def _bad(prefset: Prefset, said: dict[str, Verdict]) -> Iterator[Side]:
    for pair_id, verdict in said.items():
        pair = prefset.pairs.get(pair_id)
        if pair and verdict.are_both_bad and {pair.a, pair.b} <= prefset.pictures.keys():
            share = verdict.bad / (verdict.bad + verdict.deciders + verdict.ties)
            yield from (Side(pair.prompt_id, image_id, -share, verdict.bad) for image_id in (pair.a, pair.b))


def _sides(decided: Iterable[Decided]) -> Iterator[Side]:
    for one in decided:
        yield Side(one.pair.prompt_id, one.winner, one.weight, one.n_votes)
        yield Side(one.pair.prompt_id, one.loser, -one.weight, one.n_votes)


def _alone(prefset: Prefset, sides: Iterable[Side]) -> Iterator[TrainingPair]:
    """A row for each picture; one that won here and lost there counts by the mean, and not at all if that is zero."""
    found: dict[tuple[str, str], list[Side]] = {}
    for side in sides:
        found.setdefault((_text(prefset, side.prompt_id), side.image_id), []).append(side)
    for (text, image_id), of_picture in found.items():
        mean = sum(side.wanted for side in of_picture) / len(of_picture)
        people = sum(side.people for side in of_picture)
        if abs(mean) < 1e-9:
            continue
        path, size = _path(prefset, image_id), _size(prefset.pictures[image_id])
        chosen, rejected = (path, "") if mean > 0 else ("", path)
        yield TrainingPair(text, chosen, rejected, weight=abs(mean), n_votes=people, chosen_size=size)


# ---------------------------------------------------------------------- held out


def _with_split(rows: list[TrainingPair], terms: Terms) -> list[TrainingPair]:
    sides = splits((row.prompt for row in rows), terms.held_out, terms.seed)
    return [dataclasses.replace(row, split=sides[row.prompt]) for row in rows]


def splits(prompts: Iterable[str], held_out: float, seed: int) -> dict[str, Split]:
    """The side of each prompt, by a hash of its text: a prompt stays on its side when others come.

    Of two prompts or more, one is held out and one is trained on at least, unless held_out is 0.
    """
    places = {prompt: _place(prompt, seed) for prompt in prompts}
    limit = held_out
    if held_out > 0 and len(set(places.values())) > 1:
        lowest, highest = min(places.values()), max(places.values())
        limit = min(max(held_out, math.nextafter(lowest, 1)), highest)
    return {prompt: "held_out" if place < limit else "train" for prompt, place in places.items()}


def _place(prompt: str, seed: int) -> float:
    """In [0, 1), the same for texts that differ in blanks or case alone."""
    text = " ".join(prompt.split()).casefold()
    drawn = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(drawn[:6], "big") / 2**48
