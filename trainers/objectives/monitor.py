"""Faults of preference training that its numbers show: each told once, and again when it has come back."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from trainers.events import Warned

WINDOW = 25  # steps: single batches say little
SUSTAINED = 2  # measurements of held-out pairs in a row
WORSE_BY = 0.01  # of the reference's error on preferred pictures
COLLAPSED_BY = 1.0  # the error has doubled
DRIFTED_BY = 4.0  # the two models differ by twice as much as the reference is wrong
OVERFIT_BY = 0.2  # of accuracy

Means = dict[str, float]  # metric -> its mean over the window


@dataclass(frozen=True)
class Alarm:
    warning: Warned
    holds: Callable[[Means], bool]


def _reference_error(means: Means) -> float:
    return means["winner_error"] - means["winner_change"]


def _is_worse(means: Means) -> bool:
    return means["winner_change"] > WORSE_BY * _reference_error(means)


def _is_collapsing(means: Means) -> bool:
    error = _reference_error(means)
    return means["winner_change"] > COLLAPSED_BY * error or means["drift"] > DRIFTED_BY * error


WORSE = Alarm(
    Warned(
        "dpo_winner_worse",
        "The model draws the preferred pictures worse than its reference does: it only learns to avoid the others.",
        "Raise objective.sft_weight or objective.beta, or lower optimizer.learning_rate.",
    ),
    _is_worse,
)
COLLAPSING = Alarm(
    Warned(
        "dpo_collapsing",
        "The model has moved so far from its reference that its pictures are breaking.",
        "Stop, and use an earlier checkpoint. Raise objective.beta (ten times) or lower optimizer.learning_rate.",
    ),
    _is_collapsing,
)
OVERFIT = Warned(
    "dpo_overfit",
    "The pairs of training are told apart much better than those that were held out: they are being memorised.",
    "Stop earlier, collect more pairs, or lower adapter.rank.",
)


def _saturated(below: float) -> Alarm:
    warning = Warned(
        "dpo_saturated",
        "Nearly all pairs are told apart with certainty, and teach nothing more.",
        "Stop here, or lower optimizer.learning_rate or objective.beta for a slower approach.",
    )
    return Alarm(warning, lambda means: means["gradient_factor"] < below)


class Monitor:
    """Fed with the means of each step; after a resume it needs a window again before it says anything."""

    def __init__(self, saturated_below: float) -> None:
        self._alarms = (WORSE, _saturated(saturated_below), COLLAPSING)
        self._recent: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._since: dict[str, int] = {}  # code -> looks since it held; absent: it never did
        self._apart = 0

    def trained(self, metrics: dict[str, float]) -> list[Warned]:
        """The warnings that are due after a step."""
        for name, value in metrics.items():
            self._recent[name].append(value)
        means = {name: sum(values) / WINDOW for name, values in self._recent.items() if len(values) == WINDOW}
        if not {"winner_change", "winner_error", "drift", "gradient_factor"} <= means.keys():
            return []
        return [alarm.warning for alarm in self._alarms if self._is_news(alarm.warning, alarm.holds(means))]

    def held_out(self, metrics: dict[str, float]) -> list[Warned]:
        """The warnings that are due after a measurement of the held-out pairs."""
        recent = self._recent["accuracy"]
        if not recent or "accuracy" not in metrics:
            return []
        apart = sum(recent) / len(recent) - metrics["accuracy"] > OVERFIT_BY
        self._apart = self._apart + 1 if apart else 0
        return [OVERFIT] if self._is_news(OVERFIT, self._apart >= SUSTAINED, SUSTAINED) else []

    def _is_news(self, warning: Warned, holds: bool, gone_after: int = WINDOW) -> bool:
        """Holds now, and did not in the last `gone_after` looks: a number on the edge must not repeat its warning."""
        since = self._since.get(warning.code, gone_after)
        self._since[warning.code] = 0 if holds else since + 1
        return holds and since >= gone_after
