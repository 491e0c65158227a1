"""How often one of two is preferred, and how sure that is. Light: arithmetic alone.

Outcomes are 1 (preferred), 0.5 (no difference) and 0. They come by prompt: pairs of one prompt are alike, so many pairs
of few prompts say less than as many prompts would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainers.preferences.agreement import Z_95, binomial_p, wilson_interval

ByPrompt = Mapping[str, Sequence[float]]

T_95 = (12.706, 4.303, 3.182, 2.776)  # of Student's t with 1 to 4 degrees of freedom


@dataclass(frozen=True)
class Rate:
    """win_rate: of n pairs, a tie as half a win; None without pairs. low, high: 95 % interval. p: of a result as uneven
    as this or more, were neither preferred; of the prompts that decide, each counted once."""

    win_rate: float | None
    low: float
    high: float
    n: int
    wins: int
    ties: int
    losses: int
    prompts: int
    p: float


@dataclass(frozen=True)
class Mean:
    """low, high: 95 % interval, None where it cannot be told."""

    mean: float | None
    low: float | None
    high: float | None


def rate(outcomes: ByPrompt) -> Rate:
    """Of outcomes 1, 0.5 and 0."""
    groups = [list(group) for group in outcomes.values() if group]
    every = [outcome for group in groups for outcome in group]
    n, size = len(every), independent(groups)
    share = math.fsum(every) / n if n else None
    low, high = wilson_interval((share or 0.0) * size, size)
    means = [math.fsum(group) / len(group) for group in groups]
    won, lost = sum(mean > 0.5 for mean in means), sum(mean < 0.5 for mean in means)
    return Rate(
        win_rate=share,
        low=low,
        high=high,
        n=n,
        wins=sum(outcome > 0.5 for outcome in every),
        ties=sum(outcome == 0.5 for outcome in every),
        losses=sum(outcome < 0.5 for outcome in every),
        prompts=len(groups),
        p=binomial_p(won, won + lost),
    )


def independent(groups: Sequence[Sequence[float]]) -> float:
    """So many independent pairs would say as much: p (1 - p) / se^2 (Korn and Graubard 1998).

    Between n, and what is left where all pairs of a prompt come out alike: n^2 / sum of n_c^2 (Kish 1965). The latter
    too where all outcomes are the same, which leaves the likeness within prompts unknown.
    """
    n = sum(map(len, groups))
    if not n:
        return 0.0
    least = n * n / sum(len(group) ** 2 for group in groups)
    p = math.fsum(map(math.fsum, groups)) / n
    if p in (0.0, 1.0) or len(groups) == 1:
        return least
    variance = _squared_error(groups, p)
    return min(float(n), max(least, p * (1 - p) / variance)) if variance else float(n)


def mean(values: ByPrompt) -> Mean:
    """Mean of the values, with the t interval of prompts; without one for a single prompt."""
    groups = [list(group) for group in values.values() if group]
    n = sum(map(len, groups))
    if not n:
        return Mean(None, None, None)
    middle = math.fsum(map(math.fsum, groups)) / n
    if len(groups) == 1:
        return Mean(middle, None, None)
    half = t_95(len(groups) - 1) * math.sqrt(_squared_error(groups, middle))
    return Mean(middle, middle - half, middle + half)


def _squared_error(groups: Sequence[Sequence[float]], middle: float) -> float:
    """Squared standard error of the mean of all values, where groups are independent and their members are not:
    C / (C - 1) * sum over groups (sum of c - n_c mean)^2 / n^2 (linearised ratio)."""
    n, count = sum(map(len, groups)), len(groups)
    squares = math.fsum((math.fsum(group) - middle * len(group)) ** 2 for group in groups)
    return count / (count - 1) * squares / n**2


def t_95(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t; from 5 degrees of freedom on by Fisher's expansion, within 0.2 %."""
    if freedom <= len(T_95):
        return T_95[freedom - 1]
    z, v = Z_95, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
