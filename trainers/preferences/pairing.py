"""From scores to pairs: which of a prompt's pictures the scorers prefer, and how sure they are.

Scores stay as the scorers gave them; pairs follow from them and a rule, so other weights need no scoring.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from trainers.errors import ConfigError, DataError
from trainers.preferences.prefset import Auto, Pair, Prefset, make_pair, pair_id_of

Which = Literal["best_worst", "all", "neighbours", "random"]
Column = dict[str, float]  # what one scorer says of the pictures of a prompt, by image id

# Pictures of a prompt that a scorer can hardly tell apart would be blown up to the usual distance by their own spread
# (two pictures are always 2 apart), so a spread counts at least this share of the scorer's usual one.
LEAST_SPREAD = 0.1


@dataclass(frozen=True)
class Rule:
    """How scores become pairs.

    pairs: best_worst (one a prompt), all, neighbours in the order of the scores, or random (`per_prompt` of them, drawn
    by `seed`, which need no scores); weights: by scorer, 1 where nothing is said, 0 leaves one out; margin: of the
    combined score, in spreads of a prompt, below which a pair is a tie; agree: share of the scorers with an opinion
    that must be of the winner's; keep_ties: False leaves ties out. Raises ConfigError for what cannot be.
    """

    pairs: Which = "best_worst"
    weights: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.5
    agree: float = 0.5
    keep_ties: bool = True
    per_prompt: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pairs not in get_args(Which):
            raise ConfigError("pairs", f"{self.pairs!r} is no way to pair.", f"Give {', '.join(get_args(Which))}.")
        for scorer, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"weights.{scorer}", f"{weight} is no weight.", "Give 0 or more.")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ConfigError("margin", f"{self.margin} is no margin.", "Give 0 or more; 0.5 is half a spread.")
        if not 0 <= self.agree <= 1:
            raise ConfigError("agree", f"{self.agree} is no share.", "Give 0 to 1; 0.66 asks for two scorers of three.")
        if self.per_prompt < 1:
            raise ConfigError("per_prompt", f"{self.per_prompt} pairs a prompt are none.", "Give 1 or more.")


@dataclass(frozen=True)
class Judged:
    """What the scorers say of a prompt's pictures.

    z: by scorer and image id, in spreads of the prompt; combined: weighted mean over the scorers that apply to the
    picture. A picture without any score is in neither.
    """

    z: Mapping[str, Column]
    combined: Column

    def auto(self, one: str, other: str, rule: Rule) -> Auto:
        """Of two pictures that have a combined score, whichever way round."""
        difference = self.combined[one] - self.combined[other]
        better = 1 if difference > 0 else -1
        seen = [z[one] - z[other] for z in self.z.values() if one in z and other in z and z[one] != z[other]]
        agree = sum(each * better > 0 for each in seen) / len(seen) if seen else 0.0
        is_clear = bool(seen) and difference != 0 and abs(difference) >= rule.margin and agree >= rule.agree
        winner = ("a" if (one < other) == (better > 0) else "b") if is_clear else "tie"
        return Auto(winner, round(abs(difference), 6), round(agree, 6))


def build_pairs(prefset: Prefset, rule: Rule) -> list[Pair]:
    """The pairs that the rule makes of the set as it is; nothing is written.

    Pictures are paired within their prompt. Real ones are left out: a person would know them at once, and every
    generated picture has its pair with them anyway. Raises ConfigError for a weight of a scorer that has said nothing,
    DataError when the rule needs scores and there are none.
    """
    judged = judge(prefset, rule)
    if not judged and rule.pairs != "random":
        hint = "Score them with `pairs score`, or ask for random pairs."
        raise DataError("No picture of the set has a score that counts.", hint)
    nothing = Judged({}, {})
    found = []
    for prompt_id in prefset.prompts:
        said = judged.get(prompt_id, nothing)
        for one, other in _chosen(prefset, prompt_id, said, rule):
            is_scored = one in said.combined and other in said.combined
            auto = said.auto(one, other, rule) if is_scored else None
            if rule.keep_ties or auto is None or auto.winner != "tie":
                found.append(_pair(prefset, one, other, prompt_id, auto))
    return found


def rebuild(prefset: Prefset, rule: Rule) -> list[Pair]:
    """Write the pairs of the rule, and take their winner from those that an earlier rule made and this one does not.

    Votes on such pairs count as before. Random pairs come on top of what there is.
    """
    pairs = build_pairs(prefset, rule)
    wanted = {pair.pair_id for pair in pairs}
    dropped = [
        dataclasses.replace(pair, auto=None)
        for pair in prefset.pairs.values()
        if rule.pairs != "random" and pair.origin == "auto" and pair.auto and pair.pair_id not in wanted
    ]
    prefset.add_pairs([*pairs, *dropped])
    return pairs


def judge(prefset: Prefset, rule: Rule, among: Mapping[str, Collection[str]] | None = None) -> dict[str, Judged]:
    """By prompt id, for prompts of which at least one picture has a score that counts.

    among: the image ids of each prompt that are looked at; those of all generated pictures where nothing is said.
    """
    weights = _weights(prefset, rule)
    columns = _columns(prefset, weights, among)
    usual = {scorer: _usual_spread(by_prompt.values()) for scorer, by_prompt in columns.items()}
    by_prompt: dict[str, dict[str, Column]] = defaultdict(dict)
    for scorer, found in columns.items():
        for prompt_id, column in found.items():
            by_prompt[prompt_id][scorer] = standardised(column, LEAST_SPREAD * usual[scorer])
    return {prompt_id: Judged(z, _combined(z, weights)) for prompt_id, z in by_prompt.items()}


def standardised(column: Column, least_spread: float = 0.0) -> Column:
    """(v - mean) / spread, the spread being that of the population and at least `least_spread`; 0 without spread."""
    mean, spread = _mean_and_spread(column.values())
    spread = max(spread, least_spread)
    return {image: (v - mean) / spread if spread else 0.0 for image, v in column.items()}


def _combined(z: Mapping[str, Column], weights: Mapping[str, float]) -> Column:
    sums: Column = defaultdict(float)
    total: Column = defaultdict(float)
    for scorer, column in z.items():
        for image, value in column.items():
            sums[image] += weights[scorer] * value
            total[image] += weights[scorer]
    return {image: sums[image] / total[image] for image in sums}


def _weights(prefset: Prefset, rule: Rule) -> dict[str, float]:
    """The weights of the scorers that count."""
    scorers = prefset.scorers()
    for name in rule.weights:
        if name not in scorers:
            names = ", ".join(scorers) or "none so far"
            raise ConfigError(f"weights.{name}", "this scorer has not scored the set.", f"Those that have: {names}.")
    weights = {scorer: float(rule.weights.get(scorer, 1.0)) for scorer in scorers}
    if scorers and not any(weights.values()) and rule.pairs != "random":
        raise ConfigError("weights", "all weights are 0, so no score counts.", "Give at least one scorer a weight.")
    return {scorer: weight for scorer, weight in weights.items() if weight > 0}


def _columns(
    prefset: Prefset, scorers: Iterable[str], among: Mapping[str, Collection[str]] | None
) -> dict[str, dict[str, Column]]:
    """Values by scorer, prompt id and image id. A value without another to compare it with says nothing."""
    raw: dict[str, dict[str, dict[str, tuple[str, float]]]] = {name: defaultdict(dict) for name in scorers}
    if among is None:
        among = {prompt_id: _generated(prefset, prompt_id) for prompt_id in prefset.prompts}
    for score in prefset.scores.values():
        if score.scorer in raw and score.v is not None and score.image_id in among.get(score.prompt_id, ()):
            raw[score.scorer][score.prompt_id][score.image_id] = (score.version, score.v)
    return {
        scorer: {
            prompt_id: column for prompt_id, found in by_prompt.items() if len(column := _of_one_version(found)) > 1
        }
        for scorer, by_prompt in raw.items()
    }


def _of_one_version(found: Mapping[str, tuple[str, float]]) -> Column:
    """The values of the version that most pictures have: two versions' numbers cannot be compared."""
    usual = Counter(version for version, _ in found.values()).most_common(1)[0][0]
    return {image: value for image, (version, value) in found.items() if version == usual}


def _usual_spread(columns: Iterable[Column]) -> float:
    """Root mean square of the spreads within the prompts."""
    squares = [_mean_and_spread(column.values())[1] ** 2 for column in columns]
    return math.sqrt(sum(squares) / len(squares)) if squares else 0.0


def _mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Spread: standard deviation of the population, exactly 0 where all values are the same."""
    values = list(values)
    if min(values) == max(values):
        return values[0], 0.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


def _generated(prefset: Prefset, prompt_id: str) -> list[str]:
    return [picture.image_id for picture in prefset.pictures_of(prompt_id) if picture.source != "real"]


def _chosen(prefset: Prefset, prompt_id: str, said: Judged, rule: Rule) -> list[tuple[str, str]]:
    """The pairs of image ids that the rule picks out of a prompt's pictures."""
    if rule.pairs == "random":
        return _drawn(_generated(prefset, prompt_id), prompt_id, rule)
    ordered = sorted(said.combined, key=lambda image: (-said.combined[image], image))
    if len(ordered) < 2:
        return []
    if rule.pairs == "best_worst":
        return [(ordered[0], ordered[-1])]
    if rule.pairs == "neighbours":
        return list(itertools.pairwise(ordered))
    return list(itertools.combinations(ordered, 2))


def _drawn(images: list[str], prompt_id: str, rule: Rule) -> list[tuple[str, str]]:
    """The same ones in whatever order the pictures came."""

    def lot(pair: tuple[str, str]) -> bytes:
        return hashlib.sha256(f"{rule.seed}\0{pair_id_of(*pair, prompt_id)}".encode()).digest()

    return sorted(itertools.combinations(images, 2), key=lot)[: rule.per_prompt]


def _pair(prefset: Prefset, one: str, other: str, prompt_id: str, auto: Auto | None) -> Pair:
    """Where a pair came from is kept when it was brought in or made to compare two models."""
    pair = make_pair(one, other, prompt_id, "auto" if auto else "queue", auto)
    known = prefset.pairs.get(pair.pair_id)
    if known and known.origin in ("import", "compare"):
        return dataclasses.replace(pair, origin=known.origin)
    return pair
