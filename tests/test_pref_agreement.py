"""Numbers about votes, against values worked out by hand and people whose slips are known."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from tests.voters import Person, every_pair, grid, image, make_set, put, score, vote
from trainers.preferences import agreement
from trainers.preferences.prefset import Prefset
from trainers.preferences.summary import summarise, votes_per_minute
from trainers.preferences.votes import Choice, Vote


def test_cohen_kappa_by_hand() -> None:
    """20 both a, 5 a and b, 10 b and a, 15 both b: observed 35 / 50 = 0.7; a by 25 and 30 of 50, b by 25 and 20:
    expected 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5 = 0.4."""
    labels = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    assert agreement.cohen_kappa(labels) == pytest.approx(0.4)


def test_cohen_kappa_at_its_ends() -> None:
    assert agreement.cohen_kappa([("a", "a"), ("b", "b")]) == 1
    assert agreement.cohen_kappa([("a", "b"), ("b", "a")]) == -1
    assert agreement.cohen_kappa([]) is None
    assert agreement.cohen_kappa([("a", "a")] * 9) is None, "nothing but one label cannot be told from chance"


def test_fleiss_kappa_by_hand() -> None:
    """Two people, four items: they agree on three, 0.75. Labels 5 and 3 of 8: expected (25 + 9) / 64 = 0.53125;
    (0.75 - 0.53125) / 0.46875 = 7 / 15."""
    assert agreement.fleiss_kappa([[2, 0], [1, 1], [0, 2], [2, 0]]) == pytest.approx(7 / 15)


def test_fleiss_kappa_of_the_published_table() -> None:
    """Fourteen people, ten items, five labels: 0.210."""
    table = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    assert agreement.fleiss_kappa(table) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_leaves_out_items_of_one_person() -> None:
    assert agreement.fleiss_kappa([[2, 0], [1, 1], [0, 2], [2, 0], [1, 0], [0, 0]]) == pytest.approx(7 / 15)
    assert agreement.fleiss_kappa([[1, 0], [0, 1]]) is None


def test_wilson_interval_by_hand() -> None:
    """7 of 10, z^2 = 3.8416: centre (0.7 + 0.19208) / 1.38416 = 0.64449; half
    1.96 / 1.38416 * sqrt(0.021 + 0.009604) = 0.24772."""
    assert agreement.wilson_interval(7, 10) == pytest.approx((0.39677, 0.89221), abs=1e-5)
    assert agreement.wilson_interval(0, 0) == (0, 1)
    assert agreement.wilson_interval(0, 5)[0] == 0 and agreement.wilson_interval(5, 5)[1] == 1


def test_wilson_interval_holds_the_truth_as_often_as_it_says() -> None:
    lot = random.Random(1)
    held = 0
    for _ in range(1000):
        low, high = agreement.wilson_interval(sum(lot.random() < 0.7 for _ in range(60)), 60)
        held += low <= 0.7 <= high
    assert held / 1000 == pytest.approx(0.95, abs=0.025)


def test_binomial_p_by_hand() -> None:
    """8 of 10 or farther: 2 * (45 + 10 + 1) / 1024."""
    assert agreement.binomial_p(8, 10) == pytest.approx(112 / 1024)
    assert agreement.binomial_p(2, 10) == agreement.binomial_p(8, 10)
    assert agreement.binomial_p(5, 10) == agreement.binomial_p(0, 0) == 1
    assert agreement.binomial_p(3, 5) == pytest.approx(1)
    assert agreement.binomial_p(10, 10) == pytest.approx(2 / 1024)
    assert 0 < agreement.binomial_p(5200, 10_000) == pytest.approx(math.erfc(199.5 / 100 / math.sqrt(2) * 2), rel=0.02)


def of_two(said: list[tuple[Choice, Choice]], annotator: str = "ann") -> list[Vote]:
    """Votes on pairs that were shown twice."""
    return [
        vote(f"pair {number}", annotator, choice, repeat=repeat)
        for number, both in enumerate(said)
        for repeat, choice in enumerate(both)
        for repeat in [bool(repeat)]
    ]


def test_self_consistency_counts_equal_answers_of_one_person() -> None:
    votes = of_two([("a", "a"), ("a", "b"), ("tie", "tie"), ("tie", "a"), ("a", "skip"), ("skip", "b")])
    found = agreement.self_consistency(votes)
    assert (found.hits, found.n, found.share) == (2, 4, 0.5)
    stranger = [vote("pair 9", "ann", "a"), vote("pair 9", "bob", "b", repeat=True)]
    assert agreement.self_consistency(stranger).n == 0


def test_error_rate_follows_from_disagreement_with_oneself() -> None:
    """2 * 0.1 * 0.9 = 0.18; ties say nothing of slips."""
    votes = of_two([("a", "a")] * 50 + [("b", "b")] * 32 + [("a", "b")] * 18 + [("tie", "a")] * 9)
    assert agreement.error_rate(votes) == pytest.approx(0.1)
    assert agreement.error_rate(of_two([("a", "b")] * 3 + [("a", "a")])) == 0.5
    assert agreement.error_rate([vote("pair", "ann", "a")]) is None


def test_position_bias_counts_the_side_and_not_the_picture() -> None:
    votes = [Vote(str(n), str(n), "ann", "a" if n % 2 else "b", "a" if n % 2 else "b") for n in range(10)]
    assert agreement.position_bias(votes) == agreement.PositionBias(10, 10, pytest.approx(2 / 1024))
    undecided: list[Choice] = ["tie", "both_bad", "skip"]
    assert agreement.position_bias([vote("p", "ann", choice) for choice in undecided]).n == 0


def test_rankings_have_no_sides() -> None:
    ranked = Vote("1", "1", "ann", "a", "a", aspects={"ranked": "4"})
    assert agreement.position_bias([ranked]).n == 0


def test_fast_clicks_are_those_with_a_time() -> None:
    votes = [vote(str(ms), "ann", "a", ms=ms) for ms in (0, 1, 399, 400, 2000)]
    assert [one.ms for one in agreement.fast_clicks(votes)] == [1, 399]


def test_votes_per_minute_leaves_out_pauses() -> None:
    """Two votes after 2 s each, lunch, two more: 4 gaps of 2 s are 30 a minute."""
    times = [100.0, 102.0, 104.0, 4000.0, 4002.0, 4004.0]
    assert votes_per_minute([vote(str(ts), "ann", "a", ts=ts) for ts in times]) == pytest.approx(30)
    both = [vote(str(ts), name, "a", ts=ts) for ts in times for name in ("ann", "bob")]
    assert votes_per_minute(both) == pytest.approx(30), "two people at once are not twice as fast"
    assert votes_per_minute([vote("p", "ann", "a", ts=5.0)]) is None
    assert votes_per_minute([vote(str(n), "import", "a", ts=5.0) for n in range(3)]) is None


@pytest.mark.parametrize("slips", [0.0, 0.1, 0.3])
def test_kappa_of_people_with_known_slips(tmp_path: Path, slips: float) -> None:
    """Both right or both wrong: 1 - 2 e (1 - e); by chance 0.5; so kappa = (1 - 2 e)^2."""
    prefset = grid(tmp_path / "set", 200, 5)
    people = [Person(name, slips, seed=1) for name in ("ann", "bob", "cho")]
    lot = random.Random(3)
    for pair in every_pair(prefset):
        better = lot.choice((pair.a, pair.b))
        put(prefset, [person.says(pair, better) for person in people])
    votes = prefset.votes.standing()
    expected = (1 - 2 * slips) ** 2
    found = agreement.overlaps(votes)
    assert [(one.one, one.other, one.n) for one in found] == [
        ("ann", "bob", 2000),
        ("ann", "cho", 2000),
        ("bob", "cho", 2000),
    ]
    assert [one.kappa for one in found] == pytest.approx([expected] * 3, abs=0.06)
    assert agreement.fleiss_of(votes) == pytest.approx(expected, abs=0.04)


def test_error_rate_of_people_with_known_slips(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 200, 5)
    person = Person("ann", 0.12)
    votes = [person.says(pair, pair.a, repeat=repeat) for pair in every_pair(prefset) for repeat in (False, True)]
    put(prefset, votes)
    summary = summarise(prefset)
    assert summary.label_smoothing == pytest.approx(0.12, abs=0.02)
    assert summary.annotators[0].error_rate == pytest.approx(0.12, abs=0.02)
    assert summary.consistency.share == pytest.approx(1 - 2 * 0.12 * 0.88, abs=0.03)


def two_scorers(folder: Path) -> Prefset:
    """Four prompts with a pair each: the sharp picture is better for `right`, the blurred one for `wrong`."""
    names = {f"prompt {n}": [f"sharp {n}", f"blurred {n}"] for n in range(4)}
    prefset = make_set(folder / "set", names)
    every_pair(prefset)
    for n in range(4):
        score(prefset, "right", {f"sharp {n}": 2.0, f"blurred {n}": 1.0})
        score(prefset, "wrong", {f"sharp {n}": 1.0, f"blurred {n}": 2.0})
        score(prefset, "even", {f"sharp {n}": 1.0, f"blurred {n}": 1.0})
        score(prefset, "seldom", {f"sharp {n}": 1.0, f"blurred {n}": 0.0 if n == 0 else None})
    return prefset


def test_agreement_with_each_scorer(tmp_path: Path) -> None:
    prefset = two_scorers(tmp_path)
    person = Person("ann", 0.0)
    for n, pair in enumerate(prefset.pairs.values()):
        put(prefset, [person.says(pair, image(f"sharp {n}")), vote(pair.pair_id, "bob", "tie")])
    found = agreement.auto_agreement(prefset, prefset.votes.standing())
    assert {name: (share.hits, share.n) for name, share in found.items()} == {
        "right": (4, 4),
        "wrong": (0, 4),
        "even": (2, 4),
        "seldom": (1, 1),
    }
    assert found["right"].low == pytest.approx(0.5101, abs=1e-4) and found["right"].high == 1


def test_summary_counts_what_stands(tmp_path: Path) -> None:
    prefset = two_scorers(tmp_path)
    one, two, three, four = prefset.pairs
    put(
        prefset,
        [
            vote(one, "ann", "a", ts=1000.0, ms=300),
            vote(one, "ann", "a", ts=1060.0, repeat=True),
            vote(two, "ann", "tie", ts=1010.0),
            vote(three, "ann", "skip", ts=1020.0),
            vote(four, "bob", "both_bad", ts=1030.0),
            vote(one, "bob", "b", ts=1040.0),
            vote("of another set", "bob", "a", ts=1050.0),
        ],
    )
    undone = prefset.votes.standing()[2]
    prefset.votes.undo(undone.vote_id, "ann", tombstone_id="grave", ts=1011.0)
    found = summarise(prefset)
    assert (found.prompts, found.pictures, found.pairs, found.answered) == (4, 8, 4, 2)
    assert (found.votes, found.decided, found.ties, found.both_bad, found.skips, found.repeats) == (4, 3, 0, 1, 1, 1)
    assert found.fast == 1 and [person.name for person in found.annotators] == ["ann", "bob"]
    assert [(person.votes, person.skips, person.fast) for person in found.annotators] == [(2, 1, 1), (2, 0, 0)]
    assert [(each.one, each.other, each.n) for each in found.overlaps] == [("ann", "bob", 1)]
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["scorers"]["right"]["n"] == 2


def test_summary_of_nothing(tmp_path: Path) -> None:
    found = summarise(grid(tmp_path / "set", 1, 1))
    assert found.votes == 0 and found.per_minute is None and found.fleiss is None and found.label_smoothing is None
    assert found.position.p == 1 and found.consistency.share is None
    json.dumps(found.as_dict(), allow_nan=False)
