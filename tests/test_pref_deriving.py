"""Votes become pairs to train on: direction, weight, ties, both bad, real pictures, and what is held out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.preference_pictures import add, add_pair, names, png, prefer, say, side
from trainers.errors import ConfigError, DataError
from trainers.preferences import snapshot
from trainers.preferences.deriving import Terms, splits, training_pairs
from trainers.preferences.prefset import Auto, Prefset, image_id_of, make_pair
from trainers.preferences.training_pairs import read_training_pairs
from trainers.preferences.verdicts import verdicts
from trainers.preferences.votes import Vote

KNOWN = ("cat", "dog", "fox", "owl", "photo")


@pytest.fixture
def prefset(tmp_path: Path) -> Prefset:
    return Prefset.create(tmp_path / "set")


def test_the_winner_of_the_vote_is_chosen(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "dog")
    (row,) = training_pairs(prefset)
    assert names(row, KNOWN) == ("dog", "cat")
    assert (row.weight, row.p_chosen, row.n_votes, row.source) == (1.0, 1.0, 1, "votes")
    assert (row.prompt, row.chosen_size) == ("an animal", (24, 16))


def test_weight_is_the_lead_of_the_winner(prefset: Prefset) -> None:
    """Three of four people: p = 3/4, weight 2 p - 1 = 1/2."""
    pair = add_pair(prefset, "an animal", "cat", "dog")
    for person in ("p1", "p2", "p3"):
        prefer(prefset, pair, "cat", person)
    prefer(prefset, pair, "dog", "p4")
    (row,) = training_pairs(prefset)
    assert names(row, KNOWN) == ("cat", "dog")
    assert (row.weight, row.p_chosen, row.n_votes) == (0.5, 0.75, 4)


def test_repeats_count_once_a_person(prefset: Prefset) -> None:
    """p1 says cat twice and counts as one; p2 says both and is half of each: 1.5 of 2, weight 1/2."""
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "cat", "p1")
    prefer(prefset, pair, "cat", "p1", repeat=True)
    prefer(prefset, pair, "cat", "p2")
    prefer(prefset, pair, "dog", "p2", repeat=True)
    (row,) = training_pairs(prefset)
    assert (row.weight, row.p_chosen, row.n_votes) == (0.5, 0.75, 2)


def test_a_vote_that_was_taken_back_does_not_count(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "cat")
    (vote,) = prefset.votes.standing()
    prefset.votes.undo(vote.vote_id, "ann", tombstone_id="t", ts=1.0)
    assert training_pairs(prefset) == []


@pytest.mark.parametrize("choices", [["tie"], ["skip"], ["a", "b"], []], ids=["tie", "skip", "divided", "unseen"])
def test_what_decides_nothing_makes_no_pair(prefset: Prefset, choices: list) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    for number, choice in enumerate(choices):
        say(prefset, pair, choice, f"p{number}")
    assert training_pairs(prefset) == []


def test_ties_leave_the_share_of_the_others_alone(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "cat", "p1")
    say(prefset, pair, "tie", "p2")
    (row,) = training_pairs(prefset)
    assert (row.weight, row.n_votes) == (1.0, 1)


def test_both_bad_gives_two_pictures_nobody_wants(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    say(prefset, pair, "both_bad")
    rows = training_pairs(prefset)
    assert {names(row, KNOWN) for row in rows} == {("", "cat"), ("", "dog")}
    assert not any(row.is_paired for row in rows) and all(row.weight == 1 for row in rows)


def test_both_bad_of_a_minority_leaves_the_pair(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "cat", "p1")
    say(prefset, pair, "both_bad", "p2")
    assert [names(row, KNOWN) for row in training_pairs(prefset)] == [("cat", "dog")]


def test_alone_makes_each_picture_wanted_or_not(prefset: Prefset) -> None:
    """cat wins both its pairs, dog wins one and loses one and says nothing, fox loses."""
    for winner, loser in (("cat", "dog"), ("dog", "fox"), ("cat", "fox")):
        prefer(prefset, add_pair(prefset, "an animal", winner, loser), winner)
    rows = training_pairs(prefset, Terms(alone=True))
    assert sorted(names(row, KNOWN) for row in rows) == [("", "fox"), ("cat", "")]


def test_too_few_votes_make_no_pair(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "cat", "p1")
    assert training_pairs(prefset, Terms(min_votes=2)) == []
    prefer(prefset, pair, "cat", "p2")
    assert len(training_pairs(prefset, Terms(min_votes=2))) == 1


def test_scores_decide_only_where_they_are_asked_and_nobody_voted(prefset: Prefset) -> None:
    pairs = {one: add_pair(prefset, "an animal", one, other) for one, other in (("cat", "dog"), ("fox", "owl"))}
    for best, pair in pairs.items():
        auto = Auto(side(pair, best), 2.0, 1.0)
        prefset.add_pairs([make_pair(pair.a, pair.b, pair.prompt_id, "auto", auto)])
    prefer(prefset, pairs["cat"], "dog")
    assert [names(row, KNOWN) for row in training_pairs(prefset)] == [("dog", "cat")]
    by_both = training_pairs(prefset, Terms(sources=("votes", "scores")))
    assert [row.source for row in by_both] == ["votes", "scores"]
    assert [names(row, KNOWN) for row in by_both] == [("dog", "cat"), ("fox", "owl")]
    # p = sigmoid(2) = 0.880797, weight = 2 p - 1 = tanh(1) = 0.761594
    assert (by_both[1].p_chosen, by_both[1].weight) == pytest.approx((0.880797, 0.761594), abs=1e-6)
    assert [row.source for row in training_pairs(prefset, Terms(sources=("scores",)))] == ["scores"]


def test_a_tie_of_the_scores_or_a_small_margin_makes_no_pair(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog", Auto("tie", 0.1, 1.0))
    terms = Terms(sources=("votes", "scores"), margin=0.5)
    assert training_pairs(prefset, terms) == []
    for margin, count in ((0.4, 0), (0.5, 1)):
        prefset.add_pairs([make_pair(pair.a, pair.b, pair.prompt_id, "auto", Auto("a", margin, 1.0))])
        assert len(training_pairs(prefset, terms)) == count


def test_a_person_who_finds_no_difference_outvotes_the_scores(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog", Auto("a", 5.0, 1.0))
    say(prefset, pair, "tie")
    assert training_pairs(prefset, Terms(sources=("votes", "scores"))) == []


def test_real_pictures_stand_against_each_generated_one(prefset: Prefset) -> None:
    prefer(prefset, add_pair(prefset, "an animal", "cat", "dog"), "cat")
    add(prefset, "an animal", "photo", "real")
    add(prefset, "something else", "owl")
    found = {(names(row, KNOWN), row.source) for row in training_pairs(prefset)}
    real = {(("photo", "cat"), "real"), (("photo", "dog"), "real")}
    assert found == {(("cat", "dog"), "votes")} | real
    assert len(training_pairs(prefset, Terms(real=False))) == 1


def test_people_may_prefer_the_generated_picture(prefset: Prefset) -> None:
    real, made = add(prefset, "an animal", "photo", "real"), add(prefset, "an animal", "cat")
    pair = make_pair(real, made, next(iter(prefset.prompts)), "auto")
    prefset.add_pairs([pair])
    prefer(prefset, pair, "cat")
    assert [(names(row, KNOWN), row.source) for row in training_pairs(prefset)] == [(("cat", "photo"), "votes")]


def test_real_pictures_meet_those_of_another_negative_prompt(prefset: Prefset) -> None:
    add(prefset, "an animal", "photo", "real")
    (other,) = prefset.add_prompts([("an animal", "blurry")])
    made = add(prefset, "scratch", "cat")
    prefset.add_pictures([prefset.pictures[made].__class__(made, other.prompt_id, prefset.pictures[made].path, 24, 16)])
    assert [names(row, KNOWN) for row in training_pairs(prefset) if row.prompt == "an animal"] == [("photo", "cat")]


def test_strengths_can_weigh_a_pair(prefset: Prefset) -> None:
    """Two votes on the pair are split, and the picture that beat a third wins it by the strengths."""
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "cat", "p1")
    prefer(prefset, pair, "dog", "p2")
    prefer(prefset, add_pair(prefset, "an animal", "cat", "fox"), "cat")
    prefer(prefset, add_pair(prefset, "an animal", "fox", "dog"), "fox")
    by_strength = training_pairs(prefset, Terms(weight="bradley_terry"))
    assert len(training_pairs(prefset)) == 2 and len(by_strength) == 3
    row = next(row for row in by_strength if names(row, KNOWN) == ("cat", "dog"))
    assert 0.5 < row.p_chosen < 1 and row.weight == pytest.approx(2 * row.p_chosen - 1)


# ---------------------------------------------------------------------- held out


def test_no_prompt_is_on_both_sides(prefset: Prefset) -> None:
    for number in range(60):
        for one, other in (("x", "y"), ("y", "z")):
            prefer(prefset, add_pair(prefset, f"prompt {number}", f"{one}{number}", f"{other}{number}"), f"y{number}")
    sides: dict[str, set[str]] = {}
    for row in training_pairs(prefset):
        sides.setdefault(row.prompt, set()).add(row.split)
    assert len(sides) == 60 and all(len(found) == 1 for found in sides.values())


def test_another_negative_prompt_blanks_and_case_stay_on_the_same_side(prefset: Prefset) -> None:
    texts = [f"prompt {number}" for number in range(50)]
    found = splits([*texts, *(f"  {text.upper()} " for text in texts)], 0.5, 0)
    assert all(found[text] == found[f"  {text.upper()} "] for text in texts)


def test_the_share_that_is_held_out_is_as_asked() -> None:
    texts = [f"prompt {number}" for number in range(5000)]
    share = list(splits(texts, 0.1, 0).values()).count("held_out") / len(texts)
    assert share == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / 5000) ** 0.5)


def test_the_split_does_not_depend_on_order_or_company() -> None:
    texts = [f"prompt {number}" for number in range(200)]
    found = splits(texts, 0.2, 3)
    shuffled = random.Random(0).sample(texts, len(texts))
    assert splits(shuffled, 0.2, 3) == found
    assert splits(texts[:100], 0.2, 3) == {text: found[text] for text in texts[:100]}
    assert splits(texts, 0.2, 4) != found


@pytest.mark.parametrize("held_out", [0.001, 0.1, 0.999])
def test_few_prompts_have_both_sides(held_out: float) -> None:
    assert set(splits(["one", "two"], held_out, 0).values()) == {"train", "held_out"}


def test_nothing_is_held_out_of_one_prompt_or_when_not_wanted() -> None:
    assert splits(["one", "two"], 0.0, 0) == {"one": "train", "two": "train"}
    assert set(splits([f"prompt {number}" for number in range(30)], 0.0, 0).values()) == {"train"}


def test_weights_of_many_people_show_their_rate_of_slips() -> None:
    """With slips of probability e the expected share of the better picture is 1 - e, so p_a averages 1 - e."""
    rate, drawn = 0.2, random.Random(0)
    votes = [
        Vote(f"{pair} {person}", f"pair {pair}", f"p{person}", "b" if drawn.random() < rate else "a", "a")
        for pair in range(120)
        for person in range(9)
    ]
    shares = [verdict.p_a for verdict in verdicts(votes).values()]
    assert sum(shares) / len(shares) == pytest.approx(1 - rate, abs=4 * (rate * (1 - rate) / (120 * 9)) ** 0.5)


@pytest.mark.parametrize("given", [{"held_out": 1.0}, {"held_out": -0.1}, {"min_votes": 0}])
def test_terms_that_make_no_sense_are_refused_by_name(given: dict) -> None:
    with pytest.raises(ConfigError) as raised:
        Terms(**given)
    assert raised.value.field in given and raised.value.hint


# ---------------------------------------------------------------------- pinned


def test_a_pinned_file_never_changes(prefset: Prefset) -> None:
    pair = add_pair(prefset, "an animal", "cat", "dog")
    prefer(prefset, pair, "cat", "p1")
    first = snapshot.pin(prefset.folder)
    content, changed = first.read_bytes(), first.stat().st_mtime_ns
    assert snapshot.pin(prefset.folder) == first and first.stat().st_mtime_ns == changed
    prefer(prefset, pair, "dog", "p2")
    prefer(prefset, pair, "dog", "p3")
    second = snapshot.pin(prefset.folder)
    assert second != first and first.read_bytes() == content
    assert [names(row, KNOWN) for row in read_training_pairs(first)] == [("cat", "dog")]
    assert [names(row, KNOWN) for row in read_training_pairs(second)] == [("dog", "cat")]


def test_a_pinned_set_can_be_moved(prefset: Prefset, tmp_path: Path) -> None:
    prefer(prefset, add_pair(prefset, "an animal", "cat", "dog"), "cat")
    name = snapshot.pin(prefset.folder).name
    prefset.folder.rename(tmp_path / "moved")
    (row,) = read_training_pairs(tmp_path / "moved" / "export" / name)
    assert names(row, KNOWN) == ("cat", "dog")
    assert snapshot.pin(tmp_path / "moved").name == name


def test_a_file_is_pinned_as_it_is(tmp_path: Path) -> None:
    assert snapshot.pin(tmp_path / "pairs.train.jsonl") == tmp_path / "pairs.train.jsonl"


def test_a_set_in_which_nothing_is_decided_cannot_be_pinned(prefset: Prefset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 pairs and 0 votes") as raised:
        snapshot.pin(prefset.folder)
    assert "pairs build" in raised.value.hint
    say(prefset, add_pair(prefset, "an animal", "cat", "dog", Auto("a", 1.0, 1.0)), "tie")
    add(prefset, "an animal", "photo", "real")  # real pictures alone are no preference of anyone
    with pytest.raises(DataError, match="1 pairs and 1 votes") as raised:
        snapshot.pin(prefset.folder)
    assert "Label" in raised.value.hint and "scores" in raised.value.hint
    with pytest.raises(DataError, match="holds no preference set"):
        snapshot.pin(tmp_path)
    assert not prefset.export_dir.exists()


def test_summary_counts_what_training_would_read(prefset: Prefset) -> None:
    prefer(prefset, add_pair(prefset, "an animal", "cat", "dog"), "cat")
    say(prefset, add_pair(prefset, "a bird", "fox", "owl"), "both_bad")
    add(prefset, "an animal", "photo", "real")
    prefset.path(image_id_of(png("dog"))).unlink()
    expected = {"pairs": 1, "real": 2, "unpaired": 2, "prompts": 2, "pictures": 5, "missing": 1}
    for path in (prefset.folder, snapshot.pin(prefset.folder)):
        counts = snapshot.summary(path)
        assert counts.pop("held_out") in (2, 3) and counts == expected
