"""More than two pictures at once: votes from picking the best and the worst, and from all votes to an order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from trainers.errors import DataError
from trainers.preferences import bradley_terry
from trainers.preferences.bradley_terry import Strength
from trainers.preferences.prefset import Pair, Prefset, make_pair
from trainers.preferences.verdicts import verdicts
from trainers.preferences.votes import Choice, Vote


def best_and_worst(
    prefset: Prefset, prompt_id: str, pictures: Sequence[str], best: str, worst: str
) -> list[tuple[Pair, Choice]]:
    """What it says of pairs: the best beats all others, all others beat the worst. pictures: image ids of a prompt.

    Pairs that the set does not have yet are to be added to it. Raises DataError unless best and worst are two of the
    pictures.
    """
    if best == worst or best not in pictures or worst not in pictures:
        raise DataError("The best and the worst must be two of the pictures that are shown.")
    others = [image for image in dict.fromkeys(pictures) if image not in (best, worst)]
    wins = [(best, worst), *((best, image) for image in others), *((image, worst) for image in others)]
    return [_won(prefset, prompt_id, winner, loser) for winner, loser in wins]


def _won(prefset: Prefset, prompt_id: str, winner: str, loser: str) -> tuple[Pair, Choice]:
    pair = make_pair(winner, loser, prompt_id, "queue")
    pair = prefset.pairs.get(pair.pair_id, pair)
    return pair, "a" if pair.a == winner else "b"


def wins_of(prefset: Prefset, votes: Iterable[Vote]) -> dict[str, dict[tuple[str, str], float]]:
    """(winner, loser) -> how often, by prompt id; image ids. votes: those that stand.

    Each person counts once for a pair; ties and "both bad" are half a win for each.
    """
    wins: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for pair_id, verdict in verdicts(votes).items():
        if pair_id in prefset.pairs:
            pair, drawn = prefset.pairs[pair_id], (verdict.ties + verdict.bad) / 2
            wins[pair.prompt_id][pair.a, pair.b] = verdict.a + drawn
            wins[pair.prompt_id][pair.b, pair.a] = verdict.b + drawn
    return wins


def strengths(prefset: Prefset, votes: Iterable[Vote]) -> dict[str, dict[str, Strength]]:
    """By prompt id and image id, the best first, of the pictures that people have compared. votes: those that stand."""
    found = {}
    for prompt_id, wins in wins_of(prefset, votes).items():
        fitted = bradley_terry.fit(sorted({image for game in wins for image in game}), wins)
        found[prompt_id] = dict(sorted(fitted.items(), key=lambda item: -item[1].strength))
    return found
