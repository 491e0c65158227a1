"""How far votes can be trusted: with each other, with themselves, with the scorers. Votes are those that stand."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainers.preferences.prefset import Prefset
from trainers.preferences.votes import RANKED, Vote

Z_95 = 1.96
FAST_MS = 400  # nobody has looked at two pictures in less
DECIDED = ("a", "b")


@dataclass(frozen=True)
class Share:
    """How many of how many, with a 95 % interval (Wilson). hits may hold halves; without cases share is None."""

    hits: float
    n: int
    share: float | None
    low: float
    high: float


@dataclass(frozen=True)
class PositionBias:
    """How often the picture at the left won. p: of this or a more uneven count, were the side without influence."""

    left: int
    n: int
    p: float


@dataclass(frozen=True)
class Overlap:
    """Two people on the pairs that both have answered. kappa: None where it cannot be told."""

    one: str
    other: str
    n: int
    kappa: float | None


def wilson_interval(successes: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """Bounds of a share (Wilson 1927); (0, 1) without cases."""
    if n == 0:
        return 0.0, 1.0
    p, over = successes / n, z * z / n
    centre = (p + over / 2) / (1 + over)
    half = z / (1 + over) * math.sqrt(p * (1 - p) / n + over / (4 * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def share_of(hits: float, n: int) -> Share:
    return Share(hits, n, hits / n if n else None, *wilson_interval(hits, n))


def binomial_p(successes: int, n: int) -> float:
    """Exact two-sided p of a fair coin: of a count as far from n / 2 as this one, or farther."""
    if 2 * successes == n:
        return 1.0
    least = min(successes, n - successes)
    log_all = n * math.log(2)
    tail = math.fsum(
        math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - log_all) for k in range(least + 1)
    )
    return min(1.0, 2 * tail)


def cohen_kappa(labels: Sequence[tuple[str, str]]) -> float | None:
    """(observed - expected) / (1 - expected) of two people's labels; None when both give one and the same, or nothing.

    Cohen 1960.
    """
    if not labels:
        return None
    n = len(labels)
    observed = sum(one == other for one, other in labels) / n
    ones, others = Counter(one for one, _ in labels), Counter(other for _, other in labels)
    expected = sum(ones[label] * others[label] for label in ones) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float | None:
    """Of any number of people. counts [items, labels]: how many gave the item this label; items with one are left out.

    Fleiss 1971; items need not have the same number of people. None where it cannot be told.
    """
    rated = [row for row in counts if sum(row) > 1]
    if not rated:
        return None
    agreed = [sum(c * (c - 1) for c in row) / (sum(row) * (sum(row) - 1)) for row in rated]
    observed = sum(agreed) / len(agreed)
    total = sum(map(sum, rated))
    expected = sum((sum(column) / total) ** 2 for column in zip(*rated, strict=True))
    return None if expected == 1 else (observed - expected) / (1 - expected)


def first_labels(votes: Iterable[Vote]) -> dict[str, dict[str, str]]:
    """Pair id -> annotator -> choice, of first showings that were answered."""
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    for vote in votes:
        if not vote.repeat and vote.choice != "skip":
            labels[vote.pair_id][vote.annotator] = vote.choice
    return labels


def overlaps(votes: Iterable[Vote]) -> list[Overlap]:
    """Of every two people who have answered pairs in common, by name."""
    both: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for by_person in first_labels(votes).values():
        for one, other in itertools.combinations(sorted(by_person), 2):
            both[one, other].append((by_person[one], by_person[other]))
    return [Overlap(one, other, len(labels), cohen_kappa(labels)) for (one, other), labels in sorted(both.items())]


def fleiss_of(votes: Iterable[Vote]) -> float | None:
    """Fleiss' kappa of all people over a, b, tie and both bad."""
    found = first_labels(votes).values()
    choices = ("a", "b", "tie", "both_bad")
    return fleiss_kappa([[list(labels.values()).count(choice) for choice in choices] for labels in found])


def twice(votes: Iterable[Vote]) -> list[tuple[str, str]]:
    """The two choices of a person on a pair that came again, skips left out."""
    first: dict[tuple[str, str], str] = {}
    again: dict[tuple[str, str], str] = {}
    for vote in votes:
        if vote.choice != "skip":
            (again if vote.repeat else first)[vote.annotator, vote.pair_id] = vote.choice
    return [(first[key], again[key]) for key in again if key in first]


def self_consistency(votes: Iterable[Vote]) -> Share:
    """How many of the repeated pairs got the same answer again."""
    choices = twice(votes)
    return share_of(sum(one == other for one, other in choices), len(choices))


def error_rate(votes: Iterable[Vote]) -> float | None:
    """Share e of the decided votes that are slips, from pairs decided twice: 2 e (1 - e) of them disagree.

    Slips alone: what somebody always gets wrong in the same way does not show. None without repeats, at most 0.5.
    """
    decided = [each for each in twice(votes) if each[0] in DECIDED and each[1] in DECIDED]
    if not decided:
        return None
    disagree = sum(one != other for one, other in decided) / len(decided)
    return (1 - math.sqrt(max(0.0, 1 - 2 * disagree))) / 2


def position_bias(votes: Iterable[Vote]) -> PositionBias:
    """Votes that one look at all pictures of a prompt gave had no sides."""
    decided = [vote for vote in votes if vote.choice in DECIDED and RANKED not in vote.aspects]
    left = sum(vote.choice == vote.left for vote in decided)
    return PositionBias(left, len(decided), binomial_p(left, len(decided)))


def fast_clicks(votes: Iterable[Vote]) -> list[Vote]:
    """Votes that came too fast to have looked; those without a time are none."""
    return [vote for vote in votes if 0 < vote.ms < FAST_MS]


def auto_agreement(prefset: Prefset, votes: Iterable[Vote]) -> dict[str, Share]:
    """For each scorer, how many of people's decided votes its own two scores prefer too; a scorer's tie is half a hit.

    Second showings do not count, nor pairs of which the scorer has not scored both pictures.
    """
    decided = [vote for vote in votes if vote.choice in DECIDED and not vote.repeat and vote.pair_id in prefset.pairs]
    found = {}
    for scorer in prefset.scorers():
        hits: list[float] = []
        for vote in decided:
            pair = prefset.pairs[vote.pair_id]
            a, b = (prefset.scores.get((scorer, pair.prompt_id, image)) for image in (pair.a, pair.b))
            if a and b and a.v is not None and b.v is not None and a.version == b.version:
                hits.append(0.5 if a.v == b.v else float((a.v > b.v) == (vote.choice == "a")))
        found[scorer] = share_of(sum(hits), len(hits))
    return found
