"""Bradley-Terry: from who beat whom to one strength for each. P(i beats j) = 1 / (1 + exp(s_j - s_i))."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainers.errors import DataError

Wins = Mapping[tuple[str, str], float]  # (winner, loser) -> how often; a tie is half a win for each

CLOSE = 1e-9  # of the logarithm of a strength between two iterations
MOST_ITERATIONS = 10_000


@dataclass(frozen=True)
class Strength:
    """strength: natural logarithm of the odds against the average; error: its standard error."""

    strength: float
    error: float


def probability(one: float, other: float) -> float:
    """That the first of these strengths wins."""
    return 1 / (1 + math.exp(min(other - one, 700.0)))


def fit(items: Sequence[str], wins: Wins, *, prior: float = 1.0) -> dict[str, Strength]:
    """The strengths of the items, which add up to 0.

    Minorise-maximise iterations (Hunter 2004). Each item also plays `prior` drawn games against one of strength 0: with
    it an item that never lost, or was never compared, has a finite strength. Raises DataError for wins of an item that
    is not there, ValueError without a prior.
    """
    if prior <= 0:
        raise ValueError("without a prior an item that never lost has no strength")
    if not items:
        return {}
    won = _matrix(items, wins)
    games = won + won.T
    theta = _iterate(won.sum(axis=1) + prior / 2, games, prior)
    error = np.sqrt(np.diag(_covariance(theta, games, prior)))
    theta = theta - theta.mean()
    return {item: Strength(float(theta[n]), float(error[n])) for n, item in enumerate(items)}


def _matrix(items: Sequence[str], wins: Wins) -> np.ndarray:
    """[n, n], how often the row's item beat the column's."""
    place = {item: n for n, item in enumerate(items)}
    won = np.zeros((len(items), len(items)))
    for (winner, loser), count in wins.items():
        if winner not in place or loser not in place or winner == loser:
            raise DataError(f"{winner} against {loser} is no game between two of the {len(items)} items.")
        won[place[winner], place[loser]] += count
    return won


def _iterate(won: np.ndarray, games: np.ndarray, prior: float) -> np.ndarray:
    """log p, with p_i = W_i / (sum_j n_ij / (p_i + p_j) + prior / (p_i + 1)). won [n], games [n, n]."""
    p = np.ones(len(won))
    for _ in range(MOST_ITERATIONS):
        following = won / ((games / (p[:, None] + p[None, :])).sum(axis=1) + prior / (p + 1))
        is_close = np.abs(np.log(following / p)).max() < CLOSE
        p = following
        if is_close:
            break
    return np.log(p)


def _covariance(theta: np.ndarray, games: np.ndarray, prior: float) -> np.ndarray:
    """Of the centred strengths: the inverse of the Fisher information, whose terms are n_ij P_ij (1 - P_ij)."""
    q = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    terms = games * q * (1 - q)
    alone = 1 / (1 + np.exp(-theta))
    information = np.diag(terms.sum(axis=1) + prior * alone * (1 - alone)) - terms
    centre = np.eye(len(theta)) - 1 / len(theta)
    covariance: np.ndarray = centre @ np.linalg.inv(information) @ centre
    return covariance
