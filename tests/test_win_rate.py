"""How often one of two is preferred: numbers by hand, and intervals that hold what they promise."""

from __future__ import annotations

import random

import pytest

from trainers.preferences.agreement import wilson_interval
from trainers.preferences.win_rate import Mean, independent, mean, rate, t_95


def alone(*outcomes: float) -> dict[str, list[float]]:
    """Each pair of a prompt of its own."""
    return {str(number): [outcome] for number, outcome in enumerate(outcomes)}


def test_the_interval_of_one_pair_a_prompt_is_wilsons() -> None:
    """p = 0.78, z^2 / n = 0.019208: centre (0.78 + 0.009604) / 1.019208 = 0.77472, half width
    1.96 / 1.019208 sqrt(0.78 * 0.22 / 200 + 0.019208 / 800) = 0.05711."""
    found = rate(alone(*[1.0] * 156, *[0.0] * 44))
    assert (found.win_rate, found.n, found.prompts) == (0.78, 200, 200)
    assert (found.low, found.high) == (pytest.approx(0.71761, abs=1e-5), pytest.approx(0.83183, abs=1e-5))


def test_a_tie_is_half_a_win_and_counted_as_a_tie() -> None:
    found = rate(alone(1, 0.5, 0.5, 0.5, 0))
    assert (found.win_rate, found.wins, found.ties, found.losses, found.n) == (0.5, 1, 3, 1, 5)
    assert rate(alone(1, 0.5)).win_rate == 0.75
    assert found.low == pytest.approx(1 - found.high), "ties favour nobody"


def test_without_pairs_nothing_is_claimed() -> None:
    for nothing in ({}, {"a": []}):
        found = rate(nothing)
        assert (found.win_rate, found.low, found.high, found.n, found.p) == (None, 0.0, 1.0, 0, 1.0)
        assert mean(nothing) == Mean(None, None, None)


def test_p_is_the_sign_test_of_the_prompts() -> None:
    """Five prompts of five: 2 / 2^5, however many pairs each has; ties decide nothing."""
    every = {str(number): [1.0] * 4 for number in range(5)}
    assert rate(every).p == rate(alone(1, 1, 1, 1, 1)).p == pytest.approx(2 / 32)
    assert rate({**every, "tie": [0.5], "even": [0.0, 1.0]}).p == pytest.approx(2 / 32)


# --------------------------------------------------------------------------- pairs of one prompt are alike


def test_pairs_that_are_all_alike_within_a_prompt_count_as_one() -> None:
    alike = {str(number): [float(number < 7)] * 20 for number in range(10)}
    found = rate(alike)
    assert (found.n, found.win_rate) == (200, 0.7)
    assert (found.low, found.high) == pytest.approx(wilson_interval(7, 10))


def test_where_all_are_won_the_prompts_count() -> None:
    """How alike pairs of a prompt are cannot be told then."""
    assert independent([[1.0] * 8] * 6) == 6 and independent([[1.0]] * 6) == 6
    assert independent([[0.0, 1.0, 1.0]]) == 1, "one prompt says little of others"


def test_unequal_prompts_count_by_kish() -> None:
    assert independent([[1.0] * 3, [1.0]]) == 16 / 10


def test_pairs_within_prompts_that_are_independent_keep_their_number() -> None:
    lots = random.Random(2)
    sizes = [independent([[float(lots.random() < 0.6) for _ in range(4)] for _ in range(60)]) for _ in range(100)]
    assert 0.88 * 240 < sum(sizes) / len(sizes) <= 240


def drawn(lots: random.Random, prompts: int, pairs: int) -> dict[str, list[float]]:
    """Each prompt has a win rate of its own, anything from 0 to 1: the true mean is one half."""
    shares = [lots.random() for _ in range(prompts)]
    return {str(p): [float(lots.random() < share) for _ in range(pairs)] for p, share in enumerate(shares)}


@pytest.mark.parametrize(("prompts", "pairs"), [(12, 4), (40, 8)])
def test_the_interval_covers_the_truth_as_often_as_it_says(prompts: int, pairs: int) -> None:
    lots, trials = random.Random(11), 400
    held = naive = 0
    for _ in range(trials):
        outcomes = drawn(lots, prompts, pairs)
        found = rate(outcomes)
        held += found.low <= 0.5 <= found.high
        low, high = wilson_interval(found.win_rate * found.n, found.n)  # as if all pairs were independent
        naive += low <= 0.5 <= high
    assert held / trials > 0.92 and naive / trials < 0.88


# --------------------------------------------------------------------------- differences


def test_the_interval_of_a_mean_by_hand() -> None:
    """Mean 4; residuals of the prompts -4 and 4; squared error 2 / 1 * 32 / 16 = 4; t of one degree 12.706."""
    assert mean({"a": [1, 3], "b": [5, 7]}) == Mean(4, pytest.approx(4 - 25.412), pytest.approx(4 + 25.412))


def test_a_mean_of_one_prompt_has_no_interval() -> None:
    assert mean({"a": [1, 2, 3]}) == Mean(2, None, None)


def test_no_difference_at_all_is_exactly_none() -> None:
    assert mean({key: [0.0, 0.0] for key in "abc"}) == Mean(0, 0, 0)


@pytest.mark.parametrize(("freedom", "table"), [(1, 12.706), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042)])
def test_students_t_is_that_of_the_tables(freedom: int, table: float) -> None:
    assert t_95(freedom) == pytest.approx(table, rel=0.002)
