"""What a person is shown next: nothing twice but the repeats, and the pairs that tell most first."""

from __future__ import annotations

import dataclasses
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.voters import Person, every_pair, grid, image, make_set, put, score, vote
from trainers.errors import ConfigError
from trainers.preferences.agreement import self_consistency
from trainers.preferences.pairing import Rule, rebuild
from trainers.preferences.prefset import Pair, Prefset
from trainers.preferences.queue import LEAST_GAP, ORDERS, Order, Queue, Shown, upcoming
from trainers.preferences.votes import Choice, left_of


def sit_down(
    prefset: Prefset, name: str, *, order: Order = "unseen", says: Choice = "a", most: int = 10_000, overlap: int = 0
) -> list[Shown]:
    """A person answers until nothing comes, one at a time; what they saw."""
    seen: list[Shown] = []
    while len(seen) < most and (coming := upcoming(prefset, name, order, 1, overlap=overlap)):
        (shown,) = coming
        seen.append(shown)
        now = float(len(prefset.votes.events()))
        put(prefset, [vote(shown.pair.pair_id, name, says, repeat=shown.repeat, ts=now)])
    return seen


def ids(shown: list[Shown]) -> list[str]:
    return [each.pair.pair_id for each in shown]


@pytest.mark.parametrize("order", ORDERS)
def test_every_pair_is_shown_once_and_some_again_flipped(tmp_path: Path, order: Order) -> None:
    prefset = grid(tmp_path / "set", 20, 6)
    pairs = every_pair(prefset)
    seen = sit_down(prefset, "ann", order=order)
    first = [each for each in seen if not each.repeat]
    again = [each for each in seen if each.repeat]
    assert Counter(ids(first)) == Counter(pair.pair_id for pair in pairs)
    assert max(Counter(ids(again)).values()) == 1
    assert 0.02 < len(again) / len(pairs) < 0.09
    side = {each.pair.pair_id: each.left for each in first}
    assert all(each.left != side[each.pair.pair_id] for each in again)


def test_repeats_come_at_least_ten_votes_later(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 20, 6)
    every_pair(prefset)
    seen = sit_down(prefset, "ann")
    place = {each.pair.pair_id: n for n, each in enumerate(seen) if not each.repeat}
    gaps = [n - place[each.pair.pair_id] for n, each in enumerate(seen) if each.repeat]
    assert gaps and min(gaps) > LEAST_GAP and len(set(gaps)) > 3, "a fixed gap could be waited for"


def test_a_set_of_few_pairs_has_no_repeats_too_soon(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 10, 2)
    every_pair(prefset)
    assert not any(each.repeat for each in sit_down(prefset, "ann"))


def test_queue_depends_on_set_person_and_votes_alone(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 6, 4)
    every_pair(prefset)
    sit_down(prefset, "ann", most=20)
    assert upcoming(prefset, "ann", count=12) == upcoming(Prefset(prefset.folder), "ann", count=12)


def test_what_is_coming_stays_when_it_is_not_answered(tmp_path: Path) -> None:
    """The page loads ahead: what it has must not come again, and what it answers must not move the rest."""
    prefset = grid(tmp_path / "set", 10, 4)
    every_pair(prefset)
    coming = upcoming(prefset, "ann", count=6)
    put(prefset, [vote(coming[0].pair.pair_id, "ann", "a")])
    held = ids(coming[1:4])
    assert upcoming(prefset, "ann", count=2, held=held) == coming[4:6]


def test_undone_answer_comes_again(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 6, 3)
    every_pair(prefset)
    (shown,) = sit_down(prefset, "ann", most=1)
    (answer,) = prefset.votes.standing()
    assert shown not in upcoming(prefset, "ann", count=100)
    prefset.votes.undo(answer.vote_id, "ann", tombstone_id="grave", ts=2.0)
    assert upcoming(prefset, "ann", count=1) == [shown]


def test_skipped_pair_comes_once_more_at_the_very_end(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 4, 4)
    pairs = every_pair(prefset)
    skipped = sit_down(prefset, "ann", says="skip", most=3)
    rest = sit_down(prefset, "ann", most=len(pairs) - 3)
    assert not set(ids(skipped)) & set(ids(rest))
    last = sit_down(prefset, "ann", says="skip")
    assert [each for each in last if not each.repeat] == skipped, "in their order, and then never again"
    assert upcoming(prefset, "ann") == []


def test_undone_skip_does_not_count(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 1, 2)
    every_pair(prefset)
    sit_down(prefset, "ann", says="skip", most=1)
    (skip,) = prefset.votes.standing()
    prefset.votes.undo(skip.vote_id, "ann", tombstone_id="grave", ts=2.0)
    assert len(sit_down(prefset, "ann", says="skip")) == 2


def test_what_nobody_has_answered_comes_first(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 10, 3)
    every_pair(prefset)
    done = set(ids(sit_down(prefset, "ann", most=12)))
    coming = ids([each for each in upcoming(prefset, "bob", count=30) if not each.repeat])
    assert len(coming) == 30 and not done & set(coming[:18]) and set(coming[18:]) == done


def test_a_skip_is_no_answer_to_others(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 5, 2)
    every_pair(prefset)
    sit_down(prefset, "ann", says="skip", most=5)
    assert len(Queue(prefset, "bob", overlap=1).new()) == 5


def test_two_people_at_once_do_not_do_the_same(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 50, 4)
    every_pair(prefset)
    one, other = upcoming(prefset, "ann", count=30), upcoming(prefset, "bob", count=30)
    assert len(set(ids(one)) & set(ids(other))) < 10


def test_overlap_gives_each_pair_to_so_many_people(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 10, 4)
    pairs = every_pair(prefset)
    for name in ("ann", "bob", "cho", "dee"):
        sit_down(prefset, name, overlap=2, most=45)
    people = Counter(one.pair_id for one in prefset.votes.standing() if not one.repeat)
    assert people == {pair.pair_id: 2 for pair in pairs}
    assert upcoming(prefset, "eve", overlap=2) == []


def test_overlap_finishes_pairs_that_others_have_begun(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 10, 4)
    every_pair(prefset)
    begun = sit_down(prefset, "ann", overlap=2, most=10)
    assert set(ids(sit_down(prefset, "bob", overlap=2, most=9))) <= set(ids(begun))


def test_smallest_margin_comes_first(tmp_path: Path) -> None:
    prefset = make_set(tmp_path / "set", {"a cat": ["p", "q", "r", "s"]})
    grid(tmp_path / "set", 2, 3)
    score(prefset, "hps", {"p": 0.0, "q": 1.0, "r": 3.0, "s": 7.0})
    rebuild(prefset, Rule("all", margin=0))
    prefset.refresh()
    every_pair(prefset)
    coming = [each.pair for each in upcoming(prefset, "ann", "margin", 100)]
    margins = [pair.auto.margin for pair in coming if pair.auto]
    assert margins == sorted(margins) and {coming[0].a, coming[0].b} == {image("p"), image("q")}
    assert all(pair.auto for pair in coming[:6])


def test_disagreement_comes_first(tmp_path: Path) -> None:
    """People against people, then people against scorers, then scorers against scorers."""
    prefset = grid(tmp_path / "set", 30, 2)
    for scorer, step in (("hps", 1.0), ("pick", 1.0)):
        score(prefset, scorer, {f"{p}-{n}": n * step for p in range(30) for n in range(2)})
    score(prefset, "clip", {f"{p}-{n}": float(n if p != 7 else -n) for p in range(30) for n in range(2)})
    rebuild(prefset, Rule("all"))
    pairs = list(prefset.pairs.values())

    def better(pair: Pair) -> Choice:
        assert pair.auto and pair.auto.winner in ("a", "b")
        return "a" if pair.auto.winner == "a" else "b"

    def worse(pair: Pair) -> Choice:
        return "b" if better(pair) == "a" else "a"

    put(prefset, [vote(pair.pair_id, "ann", better(pair)) for pair in pairs[:5]])
    put(prefset, [vote(pairs[3].pair_id, "bob", worse(pairs[3])), vote(pairs[12].pair_id, "bob", worse(pairs[12]))])
    coming = ids(upcoming(prefset, "cho", "disagreement", 4))
    assert coming[:3] == [pairs[n].pair_id for n in (3, 12, 7)]


def test_pairs_that_the_rule_no_longer_makes_come_last(tmp_path: Path) -> None:
    prefset = make_set(tmp_path / "set", {"a cat": ["p", "q", "r"]})
    score(prefset, "hps", {"p": 1, "q": 2, "r": 3})
    rebuild(prefset, Rule("all"))
    (kept,) = rebuild(prefset, Rule("best_worst"))
    for order in ORDERS:
        coming = upcoming(prefset, "ann", order, 9)
        assert len(coming) == 3 and coming[0].pair == kept


def test_sides_are_those_that_the_vote_log_draws(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 5, 3)
    every_pair(prefset)
    for each in sit_down(prefset, "ann"):
        assert each.left == left_of(each.pair.pair_id, "ann", repeat=each.repeat)


def test_unknown_order_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unseen, disagreement"):
        upcoming(grid(tmp_path / "set", 1, 2), "ann", "best")  # type: ignore[arg-type]


def test_slips_show_in_the_repeats_of_a_long_session(tmp_path: Path) -> None:
    """A person who slips once in five contradicts themself in 2 * 0.2 * 0.8 = 0.32 of the repeats."""
    prefset = grid(tmp_path / "set", 100, 7)
    every_pair(prefset)
    person = Person("ann", 0.2)
    while coming := upcoming(prefset, "ann", count=100, repeat_share=0.3):
        put(prefset, [person.says(each.pair, each.pair.a, repeat=each.repeat) for each in coming])
    found = self_consistency(prefset.votes.standing())
    assert found.n > 500 and found.share == pytest.approx(0.68, abs=0.06)


def test_two_thousand_pairs_and_five_thousand_votes_are_fast(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 200, 5)
    pairs = every_pair(prefset)
    lot = random.Random(2)
    asked = [(name, pair) for name in ("ann", "bob", "cho") for pair in lot.sample(pairs, 1700)]
    put(prefset, [vote(pair.pair_id, name, lot.choice(("a", "b", "tie"))) for name, pair in asked[:5000]])
    assert len(pairs) == 2000 and len(prefset.votes.standing()) == 5000
    took = {}
    for order in ORDERS:
        times = []
        for _ in range(9):
            began = time.process_time()
            assert len(upcoming(prefset, "dee", order, 5)) == 5
            times.append(time.process_time() - began)
        took[order] = min(times)
    assert max(took.values()) < 0.02, took


def test_pairs_of_another_set_in_the_log_do_no_harm(tmp_path: Path) -> None:
    prefset = grid(tmp_path / "set", 1, 2)
    (pair,) = every_pair(prefset)
    strange = vote("strange", "ann", "skip")
    put(prefset, [strange, dataclasses.replace(strange, vote_id="2", choice="a", annotator="bob")])
    assert ids(upcoming(prefset, "ann", count=9)) == [pair.pair_id]
