"""Voting as the page asks for it: blind, written before it is answered, and nothing taken from the network on trust."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.services.preferences.pictures import Showing
from app.services.preferences.sets import Sets
from app.services.preferences.voting import GROUPS, Voting
from tests.preference_pictures import add
from tests.voters import every_pair, grid, put, score, vote
from tests.voting_sets import Page, ballot, draw_set
from trainers.errors import DataError
from trainers.preferences.prefset import Auto, Pair, Prefset, Score, image_id_of, make_pair
from trainers.preferences.votes import Vote, left_of

NAME = "dogs"


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path / "preferences")


@pytest.fixture
def prefset(sets: Sets) -> Prefset:
    """Four prompts of three pictures each: twelve pairs."""
    return draw_set(sets.folder / NAME, 4, 3)


@pytest.fixture
def voting(sets: Sets, prefset: Prefset) -> Voting:
    return Voting(sets)


def shown_image(voting: Voting, sets: Sets, token: str, tmp_path: Path) -> str:
    """Id of the picture that a token leads to."""
    path, media_type = voting.pictures.shown(NAME, token, tmp_path / "cache")
    assert media_type == "image/png"
    return image_id_of(path.read_bytes())


# ------------------------------------------------------------------ blind


def test_what_is_shown_before_the_vote_tells_nothing_of_the_pictures(voting: Voting, prefset: Prefset) -> None:
    score(prefset, "pickscore", {})
    told = json.dumps([voting.next(NAME, "ann", order, []) for order in ("unseen", GROUPS)])
    ids = [*prefset.pictures, *prefset.pairs, *prefset.prompts]
    assert [one for one in ids if one in told] == []
    assert not re.search(r"seed|secret|policy|score|images/|\b\d{4}\b", told)


def test_left_and_right_are_drawn_for_pair_and_person_and_votes_keep_them(
    voting: Voting, sets: Sets, prefset: Prefset, tmp_path: Path
) -> None:
    page = Page(voting, NAME)
    sides = []
    for _ in range(12):
        item = page.items[0]
        left, right = (shown_image(voting, sets, item[side], tmp_path) for side in ("left", "right"))
        page.answer("left")
        kept = prefset.votes.standing()[-1]
        pair = prefset.pairs[kept.pair_id]
        assert {left, right} == {pair.a, pair.b}
        assert left == (pair.a if kept.left == "a" else pair.b), "what stood at the left is what the log says"
        assert kept.choice == kept.left, "a vote for the left one is a vote for that picture"
        assert kept.left == left_of(pair.pair_id, "ann")
        sides.append(kept.left)
    assert len(set(sides)) == 2


def test_one_picture_has_another_address_in_every_pair_and_showing(
    voting: Voting, sets: Sets, prefset: Prefset, tmp_path: Path
) -> None:
    page = Page(voting, NAME)
    tokens: list[str] = []
    while page.items and len(tokens) < 24:
        tokens += [page.items[0]["left"], page.items[0]["right"]]
        page.answer("left")
    shown = [shown_image(voting, sets, token, tmp_path) for token in tokens]
    assert len(set(tokens)) == 24, "never the same address twice"
    assert Counter(shown) == dict.fromkeys(prefset.pictures, 2), "though every picture came in two pairs"


def test_addresses_hold_after_a_restart_and_differ_between_installations(
    voting: Voting, sets: Sets, tmp_path: Path
) -> None:
    item = Page(voting, NAME).items[0]
    again = Voting(Sets(sets.folder))
    assert shown_image(again, sets, item["left"], tmp_path) == shown_image(voting, sets, item["left"], tmp_path)
    assert (sets.folder / ".key").stat().st_mode & 0o077 == 0
    other = Voting(Sets(tmp_path / "elsewhere"))
    draw_set(tmp_path / "elsewhere" / NAME, 4, 3)
    assert {one["left"] for one in Page(other, NAME).items}.isdisjoint(one["left"] for one in Page(voting, NAME).items)


def test_scores_and_seeds_come_with_the_answer(voting: Voting, sets: Sets, prefset: Prefset) -> None:
    pair = next(iter(prefset.pairs.values()))
    values = {pair.a: 0.3, pair.b: 0.2}
    prefset.add_scores(Score(image, pair.prompt_id, "hpsv2.1", "1", v) for image, v in values.items())
    prefset.add_pairs([make_pair(pair.a, pair.b, pair.prompt_id, "auto", Auto("a", 0.5, 1.0))])
    put(prefset, [vote(pair.pair_id, "bob", "b")])
    page = Page(voting, NAME, order="margin")
    assert page.items[0]["key"] == voting.pictures.of_showing(_open(sets), _showing(pair.pair_id))
    behind = page.answer("left")["behind"]
    left = left_of(pair.pair_id, "ann")
    assert behind["choice"] == "left"
    assert behind["auto"]["winner"] == ("left" if left == "a" else "right")
    assert behind["others"] == {"left" if left == "b" else "right": 1}
    (found,) = behind["scores"]
    assert found["left"] == values[pair.a if left == "a" else pair.b]
    assert found["prefers"] == behind["auto"]["winner"]
    assert behind["left"]["base"] == "secret-base", "of a file its name alone"
    assert {behind[side]["seed"] for side in ("left", "right")} == {
        prefset.pictures[image].gen["seed"] for image in (pair.a, pair.b)
    }


def test_scores_before_the_vote_are_for_those_who_ask_and_the_log_says_so(voting: Voting, prefset: Prefset) -> None:
    item = voting.next(NAME, "ann", "unseen", [], is_open=True)["items"][0]
    assert item["scores"] == []
    voting.vote(NAME, "ann", ballot(item, "left", open=True), "unseen", [])
    assert prefset.votes.standing()[-1].aspects == {"scores_shown": "yes"}


# ------------------------------------------------------------------ the queue


def test_nothing_at_hand_is_sent_again_and_every_pair_comes(voting: Voting, prefset: Prefset) -> None:
    page = Page(voting, NAME)
    keys = []
    while page.items:
        keys.append(page.items[0]["key"])
        answered = page.answer("left")
    first = [key for key, count in Counter(keys).items() if count == 1]
    assert len(first) == len(keys) and len(prefset.votes.standing()) == len(keys) >= 12
    assert (answered["done"], answered["total"]) == (12, 12)


def test_orders_are_those_of_the_queue(voting: Voting) -> None:
    for order in ("unseen", "disagreement", "margin", "random", GROUPS):
        assert voting.next(NAME, "ann", order, [])["items"]
    with pytest.raises(DataError, match="no order"):
        voting.next(NAME, "ann", "best", [])


# ------------------------------------------------------------------ answers


def test_a_vote_is_on_the_disk_when_it_is_answered(voting: Voting, sets: Sets) -> None:
    answered = Page(voting, NAME).answer("tie")
    (line,) = (sets.folder / NAME / "votes.jsonl").read_text().splitlines()
    assert json.loads(line)["vote_id"] == answered["saved"] and json.loads(line)["choice"] == "tie"


def test_sending_a_vote_again_does_no_harm(voting: Voting, prefset: Prefset) -> None:
    item = Page(voting, NAME).items[0]
    for _ in range(3):
        answered = voting.vote(NAME, "ann", ballot(item, "left"), "unseen", [])
        assert answered["saved"] == "vote00000000" and answered["done"] == 1
    assert len(prefset.votes.events()) == 1


def test_an_undone_vote_comes_again_and_stays_undone_when_it_is_sent_again(voting: Voting, prefset: Prefset) -> None:
    item = Page(voting, NAME).items[0]
    voting.vote(NAME, "ann", ballot(item, "left"), "unseen", [])
    for _ in range(2):
        assert voting.undo(NAME, "ann", "vote00000000", "unseen") == {"undone": "vote00000000", "done": 0, "total": 12}
    voting.vote(NAME, "ann", ballot(item, "left"), "unseen", [])
    assert prefset.votes.standing() == [] and len(prefset.votes.events()) == 2
    assert item["key"] in [one["key"] for one in Page(voting, NAME).items]


def test_nobody_can_undo_what_another_said(voting: Voting, prefset: Prefset) -> None:
    Page(voting, NAME).answer("left")
    voting.undo(NAME, "bob", "vote00000001", "unseen")
    assert len(prefset.votes.standing()) == 1


def test_the_newest_vote_can_be_undone_after_a_reload(voting: Voting) -> None:
    page = Page(voting, NAME)
    assert page.found["last"] is None
    items = [page.items[0], page.items[1]]
    page.answer("left")
    page.answer("right")
    last = Page(voting, NAME).found["last"]
    assert last["vote_id"] == "vote00000002" and last["item"]["key"] == items[1]["key"]


def test_a_vote_that_waited_has_the_time_of_its_key(voting: Voting, prefset: Prefset) -> None:
    Page(voting, NAME).answer("left", age_s=600, ms=1234.5)
    kept = prefset.votes.standing()[-1]
    assert kept.ms == 1234 and abs(time.time() - 600 - kept.ts) < 5


def test_best_and_worst_become_votes_on_pairs(voting: Voting, sets: Sets, prefset: Prefset, tmp_path: Path) -> None:
    found = voting.next(NAME, "ann", GROUPS, [])
    assert found["total"] == 4 and found["done"] == 0
    item = found["items"][0]
    best, middle, worst = (shown_image(voting, sets, token, tmp_path) for token in item["pictures"])
    told = {"vote_id": "ranking00", "key": item["key"], "best": item["pictures"][0], "worst": item["pictures"][2]}
    for _ in range(2):  # the second time changes nothing
        answered = voting.vote(NAME, "ann", told, GROUPS, [])
    assert answered["done"] == 1 and item["key"] not in [one["key"] for one in answered["items"]]
    won = {(p.a, p.b) if v.choice == "a" else (p.b, p.a) for v in prefset.votes.standing() for p in [_pair(prefset, v)]}
    assert won == {(best, worst), (best, middle), (middle, worst)}
    assert Voting(sets).next(NAME, "ann", GROUPS, [])["last"]["vote_id"] == "ranking00"
    assert voting.undo(NAME, "ann", "ranking00", GROUPS)["done"] == 0
    assert prefset.votes.standing() == []


def test_a_real_picture_is_there_to_compare_with(sets: Sets, tmp_path: Path) -> None:
    prefset = Prefset.create(sets.folder / NAME)
    add(prefset, "a dog", "one"), add(prefset, "a dog", "two")
    every_pair(prefset)
    real = add(prefset, "a dog", "photo", "real")
    voting = Voting(sets)
    item = voting.next(NAME, "ann", "unseen", [])["items"][0]
    assert shown_image(voting, sets, item["real"], tmp_path) == real
    assert len(voting.next(NAME, "ann", GROUPS, [])["items"][0]["pictures"]) == 2


# ------------------------------------------------------------------ what a page would not send


@pytest.mark.parametrize("person", ["", " ", "x" * 41, "<b>", "../a", None, 7, ["ann"], "a\0b"])
def test_a_name_has_one_to_forty_letters(voting: Voting, person: object) -> None:
    with pytest.raises(DataError):
        voting.next(NAME, person, "unseen", [])


@pytest.mark.parametrize("person", ["a", "Zoë K.", "李雷", "x" * 40, "  two   words "])
def test_names_of_people_are_taken(voting: Voting, person: str) -> None:
    assert voting.next(NAME, person, "unseen", [])["items"]


@pytest.mark.parametrize("name", ["", "..", "../dogs", "no such", None, ".key", "a/b"])
def test_only_sets_are_opened(voting: Voting, name: Any) -> None:
    for act in (lambda: voting.next(name, "ann", "unseen", []), lambda: voting.stats(name)):
        with pytest.raises(DataError):
            act()
    with pytest.raises(DataError):
        voting.pictures.shown(name, "x", Path("cache"))


@pytest.mark.parametrize(
    "change",
    [
        {"choice": "a"},
        {"choice": None},
        {"choice": ["left"]},
        {"key": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"key": None},
        {"left": "AAAAAAAAAAAAAAAAAAAAAA"},
        {"vote_id": "short"},
        {"vote_id": "with.a.dot"},
        {"vote_id": 12345678},
        {"best": "x", "worst": "y"},
    ],
)
def test_an_answer_that_no_page_sends_is_refused(voting: Voting, prefset: Prefset, change: dict[str, Any]) -> None:
    item = Page(voting, NAME).items[0]
    with pytest.raises(DataError):
        voting.vote(NAME, "ann", {**ballot(item, "left"), **change}, "unseen", [])
    assert prefset.votes.events() == []


def test_a_pair_that_stood_the_other_way_round_is_refused(voting: Voting, prefset: Prefset) -> None:
    item = Page(voting, NAME).items[0]
    with pytest.raises(DataError, match="other way round"):
        voting.vote(NAME, "ann", {**ballot(item, "left"), "left": item["right"]}, "unseen", [])


@pytest.mark.parametrize("number", [True, "9", None, float("nan"), float("inf"), -5, 10**30])
def test_numbers_stay_in_their_bounds(voting: Voting, prefset: Prefset, number: object) -> None:
    item = Page(voting, NAME).items[0]
    voting.vote(NAME, "ann", ballot(item, "left", ms=number, age_s=number), "unseen", [])
    kept = prefset.votes.standing()[-1]
    assert 0 <= kept.ms <= 3_600_000 and 0 < kept.ts <= time.time()


@pytest.mark.parametrize("have", [None, "x", [1], ["x"] * 2001, {"a": 1}])
def test_what_is_at_hand_is_a_list_of_keys(voting: Voting, have: object) -> None:
    with pytest.raises(DataError):
        voting.next(NAME, "ann", "unseen", have)


# ------------------------------------------------------------------ speed, links


def test_an_answer_takes_milliseconds_with_two_thousand_pairs(sets: Sets) -> None:
    prefset = grid(sets.folder / "large", 200, 5)
    pairs = every_pair(prefset)
    put(prefset, [vote(pair.pair_id, "bob", "a") for pair in pairs])
    page = Page(Voting(sets), "large")
    assert page.found["total"] == 2000
    times = []
    for _ in range(40):
        begun = time.perf_counter()
        page.answer("left")
        times.append(time.perf_counter() - begun)
    assert sorted(times)[len(times) // 2] < 0.05, f"median {1000 * sorted(times)[20]:.1f} ms"


def test_the_link_for_labelling_holds_a_key_when_there_is_one(voting: Voting) -> None:
    assert voting.label_link(NAME) == "/label/?set=dogs"
    voting.label_token, voting.label_address = "secret", "https://others.example"
    assert voting.label_link(NAME) == "https://others.example/enter?t=secret&set=dogs"
    with pytest.raises(DataError):
        voting.label_link("../x")


def test_sets_with_pairs_are_listed(voting: Voting, sets: Sets) -> None:
    Prefset.create(sets.folder / "empty")
    assert voting.listed() == [{"name": NAME, "pairs": 12, "prompts": 4}]


def _open(sets: Sets) -> Prefset:
    with Sets(sets.folder).opened(NAME) as found:
        return found


def _showing(pair_id: str) -> Showing:
    return Showing(pair_id, False)


def _pair(prefset: Prefset, kept: Vote) -> Pair:
    prefset.refresh()
    return prefset.pairs[kept.pair_id]
