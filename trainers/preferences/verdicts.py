"""What people say of a pair, each of them counted once. Light."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainers.preferences.votes import Choice, Vote


@dataclass(frozen=True)
class Verdict:
    """a, b: people for each picture, who need not be whole (half of someone who said both at different times); ties,
    bad: people who could not say, and who found both bad."""

    a: float = 0.0
    b: float = 0.0
    ties: int = 0
    bad: int = 0

    @property
    def deciders(self) -> int:
        """People who preferred one of the two."""
        return round(self.a + self.b)

    @property
    def p_a(self) -> float:
        """Share of the deciders who are for a; a half when there are none."""
        return self.a / (self.a + self.b) if self.a + self.b else 0.5

    @property
    def are_both_bad(self) -> bool:
        """More people found both bad than preferred one."""
        return self.bad > self.deciders


def verdicts(standing: Iterable[Vote]) -> dict[str, Verdict]:
    """By pair id, in the order of the votes. A pair that everyone skipped has none."""
    choices: dict[str, dict[str, list[Choice]]] = {}
    for vote in standing:
        if vote.choice != "skip":
            choices.setdefault(vote.pair_id, {}).setdefault(vote.annotator, []).append(vote.choice)
    return {pair_id: _verdict(people.values()) for pair_id, people in choices.items()}


def _verdict(people: Iterable[list[Choice]]) -> Verdict:
    a = b = 0.0
    ties = bad = 0
    for said in people:
        decided = [choice for choice in said if choice in ("a", "b")]
        if decided:
            share = decided.count("a") / len(decided)
            a, b = a + share, b + 1 - share
        elif "both_bad" in said:
            bad += 1
        else:
            ties += 1
    return Verdict(a, b, ties, bad)
