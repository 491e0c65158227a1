"""The votes of a set in numbers, for the page and the command line."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trainers.preferences import agreement
from trainers.preferences.agreement import Overlap, PositionBias, Share
from trainers.preferences.prefset import Prefset
from trainers.preferences.votes import Vote

PAUSE_S = 60.0  # who takes longer for a vote has been away


@dataclass(frozen=True)
class Annotator:
    """One person. votes: answers, without skips; per_minute: while voting, None where it cannot be told; fast: answers
    in less than 0.4 s; error_rate: see `agreement.error_rate`."""

    name: str
    votes: int
    skips: int
    per_minute: float | None
    fast: int
    consistency: Share
    position: PositionBias
    error_rate: float | None


@dataclass(frozen=True)
class Summary:
    """answered: pairs with an answer; votes = decided + ties + both_bad, with `repeats` second showings among them;
    scorers: see `agreement.auto_agreement`; label_smoothing: the measured error rate, as a value for training."""

    prompts: int
    pictures: int
    pairs: int
    answered: int
    votes: int
    decided: int
    ties: int
    both_bad: int
    skips: int
    repeats: int
    per_minute: float | None
    fast: int
    annotators: tuple[Annotator, ...]
    consistency: Share
    position: PositionBias
    overlaps: tuple[Overlap, ...]
    fleiss: float | None
    scorers: dict[str, Share]
    label_smoothing: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def summarise(prefset: Prefset) -> Summary:
    """The set as it stands, pairs that are no longer there left out."""
    standing = [vote for vote in prefset.votes.standing() if vote.pair_id in prefset.pairs]
    answers = [vote for vote in standing if vote.choice != "skip"]
    rate = agreement.error_rate(answers)
    return Summary(
        prompts=len(prefset.prompts),
        pictures=len(prefset.pictures),
        pairs=len(prefset.pairs),
        answered=len({vote.pair_id for vote in answers}),
        votes=len(answers),
        decided=sum(vote.choice in agreement.DECIDED for vote in answers),
        ties=sum(vote.choice == "tie" for vote in answers),
        both_bad=sum(vote.choice == "both_bad" for vote in answers),
        skips=len(standing) - len(answers),
        repeats=sum(vote.repeat for vote in answers),
        per_minute=votes_per_minute(standing),
        fast=len(agreement.fast_clicks(answers)),
        annotators=tuple(_annotator(name, standing) for name in sorted({vote.annotator for vote in standing})),
        consistency=agreement.self_consistency(answers),
        position=agreement.position_bias(answers),
        overlaps=tuple(agreement.overlaps(answers)),
        fleiss=agreement.fleiss_of(answers),
        scorers=agreement.auto_agreement(prefset, answers),
        label_smoothing=None if rate is None else round(rate, 3),
    )


def _annotator(name: str, standing: Iterable[Vote]) -> Annotator:
    own = [vote for vote in standing if vote.annotator == name]
    answers = [vote for vote in own if vote.choice != "skip"]
    return Annotator(
        name=name,
        votes=len(answers),
        skips=len(own) - len(answers),
        per_minute=votes_per_minute(own),
        fast=len(agreement.fast_clicks(answers)),
        consistency=agreement.self_consistency(answers),
        position=agreement.position_bias(answers),
        error_rate=agreement.error_rate(answers),
    )


def votes_per_minute(votes: Iterable[Vote]) -> float | None:
    """Of each person's time between one vote and the next, pauses of more than a minute left out."""
    times: dict[str, list[float]] = {}
    for vote in votes:
        if vote.ts > 0:
            times.setdefault(vote.annotator, []).append(vote.ts)
    gaps = [
        later - earlier
        for own in times.values()
        for earlier, later in itertools.pairwise(sorted(own))
        if later - earlier <= PAUSE_S
    ]
    return 60 * len(gaps) / sum(gaps) if sum(gaps) > 0 else None
