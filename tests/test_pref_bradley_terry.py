"""Strengths from comparisons: hand-computed cases, standard errors, people who err, and orders from votes."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.voters import Person, every_pair, grid, image, make_set, put, vote
from trainers.errors import DataError
from trainers.preferences.bradley_terry import fit, probability
from trainers.preferences.prefset import make_pair, prompt_id_of
from trainers.preferences.ranking import strengths, wins_of

NEARLY_NONE = 1e-7  # a prior
CAT = prompt_id_of("a cat")


def test_two_items_without_prior_by_hand() -> None:
    """3 : 1 are odds of 3, so the strengths differ by ln 3. The difference has variance 1 / (4 * 0.75 * 0.25) = 4 / 3,
    and each centred strength, half of it, an error of sqrt(4 / 3) / 2."""
    found = fit(["x", "y"], {("x", "y"): 3, ("y", "x"): 1}, prior=NEARLY_NONE)
    assert found["x"].strength == pytest.approx(math.log(3) / 2, abs=1e-4)
    assert found["y"].strength == pytest.approx(-math.log(3) / 2, abs=1e-4)
    assert found["x"].error == found["y"].error == pytest.approx(math.sqrt(4 / 3) / 2, abs=1e-4)
    assert probability(found["x"].strength, found["y"].strength) == pytest.approx(0.75, abs=1e-4)


def test_two_items_with_prior_by_hand() -> None:
    """By symmetry p_y = 1 / p_x. 3.5 = 4 p^2 / (1 + p^2) + p / (1 + p), so 3 p^3 + p^2 - 5 p - 7 = 0."""
    p = math.exp(fit(["x", "y"], {("x", "y"): 3, ("y", "x"): 1})["x"].strength)
    assert 3 * p**3 + p**2 - 5 * p - 7 == pytest.approx(0, abs=1e-7)
    assert 1 < p < math.sqrt(3), "the prior draws towards the average"


def test_three_items_in_a_circle_by_hand() -> None:
    """All alike. Information: 2 * 0.25 + 0.25 on the diagonal, -0.25 elsewhere; its eigenvalues are 0.25 for the sum,
    which centring takes away, and 1: the error is sqrt(1 - 1 / 3)."""
    found = fit(["x", "y", "z"], {("x", "y"): 1, ("y", "z"): 1, ("z", "x"): 1})
    assert [each.strength for each in found.values()] == pytest.approx([0, 0, 0], abs=1e-9)
    assert [each.error for each in found.values()] == pytest.approx([math.sqrt(2 / 3)] * 3)


def test_three_items_in_a_row_without_prior_by_hand() -> None:
    """x beats y 2 : 1 and y beats z 2 : 1, x and z never met: ln 2 between neighbours."""
    wins = {("x", "y"): 2, ("y", "x"): 1, ("y", "z"): 2, ("z", "y"): 1}
    found = fit(["x", "y", "z"], wins, prior=NEARLY_NONE)
    assert [each.strength for each in found.values()] == pytest.approx([math.log(2), 0, -math.log(2)], abs=1e-4)


def test_tie_is_half_a_win_each() -> None:
    halves = fit(["x", "y", "z"], {("x", "y"): 0.5, ("y", "x"): 0.5, ("y", "z"): 1})
    assert halves["x"].strength < halves["y"].strength
    assert fit(["x", "y"], {("x", "y"): 0.5, ("y", "x"): 0.5})["x"].strength == pytest.approx(0, abs=1e-9)


def test_never_beaten_and_never_compared_stay_finite() -> None:
    wins = {("x", "y"): 50.0, ("p", "q"): 1.0}
    found = fit(["x", "y", "p", "q", "alone"], wins)
    assert all(math.isfinite(each.strength) and 0 < each.error < 10 for each in found.values())
    assert found["x"].strength > found["p"].strength > found["q"].strength > found["y"].strength
    assert sum(each.strength for each in found.values()) == pytest.approx(0, abs=1e-9)


def test_order_of_the_items_does_not_matter() -> None:
    wins = {("x", "y"): 3.0, ("y", "z"): 2.0, ("z", "x"): 1.0}
    one, other = fit("xyz", wins), fit("zyx", wins)
    assert all(one[item].strength == pytest.approx(other[item].strength, abs=1e-8) for item in "xyz")


def test_faults() -> None:
    assert fit([], {}) == {}
    with pytest.raises(DataError):
        fit(["x"], {("x", "y"): 1})
    with pytest.raises(ValueError):
        fit(["x"], {}, prior=0)


def test_known_strengths_are_found_within_their_errors() -> None:
    """Eight items, 60 games a pair: the truth lies within two standard errors about 19 times of 20."""
    lot = random.Random(5)
    truth = {str(n): 0.4 * n - 1.4 for n in range(8)}
    inside = 0
    for _ in range(20):
        wins: Counter[tuple[str, str]] = Counter()
        for one, other in itertools.combinations(truth, 2):
            for _ in range(60):
                won = lot.random() < probability(truth[one], truth[other])
                wins[(one, other) if won else (other, one)] += 1
        found = fit(list(truth), wins, prior=0.1)
        inside += sum(abs(found[item].strength - truth[item]) < 1.96 * found[item].error for item in truth)
    assert inside / 160 == pytest.approx(0.95, abs=0.05)


def test_people_who_err_recover_the_order(tmp_path: Path) -> None:
    """Five pictures a prompt, the lower number better; three people who err once in ten and once in four."""
    for slips, right in ((0.1, 0.95), (0.25, 0.8)):
        prefset = grid(tmp_path / f"set-{slips}", 40, 5)
        place = {image(f"{p}-{n}"): n for p in range(40) for n in range(5)}
        people = [Person(name, slips) for name in ("ann", "bob", "cho")]
        votes = [
            person.says(pair, min(pair.a, pair.b, key=place.__getitem__))
            for pair in every_pair(prefset)
            for person in people
        ]
        put(prefset, votes)
        ranked = strengths(prefset, prefset.votes.standing())
        assert len(ranked) == 40
        ordered = [
            place[better] < place[worse]
            for found in ranked.values()
            for better, worse in itertools.combinations(found, 2)
        ]
        assert sum(ordered) / len(ordered) > right, slips


def test_a_person_counts_once_for_a_pair(tmp_path: Path) -> None:
    """Who answers a then b at the second showing is half for each; "both bad" is a tie; skips say nothing."""
    prefset = make_set(tmp_path / "set", {"a cat": ["x", "y"]})
    (pair,) = every_pair(prefset)
    put(prefset, [vote(pair.pair_id, "ann", "a"), vote(pair.pair_id, "ann", "b", repeat=True)])
    put(
        prefset,
        [vote(pair.pair_id, "bob", "both_bad"), vote(pair.pair_id, "cho", "a"), vote(pair.pair_id, "dee", "skip")],
    )
    assert wins_of(prefset, prefset.votes.standing())[CAT] == {(pair.a, pair.b): 2.0, (pair.b, pair.a): 1.0}


def test_order_by_hand_becomes_that_order(tmp_path: Path) -> None:
    prefset = make_set(tmp_path / "set", {"a cat": list("pqrs")})
    ordered = [image(name) for name in "rpsq"]
    for winner, loser in itertools.combinations(ordered, 2):
        pair = make_pair(winner, loser, CAT, "queue")
        prefset.add_pairs([pair])
        put(prefset, [vote(pair.pair_id, "ann", "a" if pair.a == winner else "b")])
    assert list(strengths(prefset, prefset.votes.standing())[CAT]) == ordered
