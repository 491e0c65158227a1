"""Which tags are kept, in which order and spelling; numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from captioners.config import Tags
from captioners.tags import KAOMOJI, Tag, choose, mcut

KNOWN = {
    0: Tag("blue_eyes", "general"),
    1: Tag("safe", "rating"),
    2: Tag("miku_(vocaloid)", "character"),
    3: Tag("1girl", "general"),
    4: Tag("rin_(swimsuit)_(vocaloid)", "character"),
    5: Tag("^_^", "general"),
    6: Tag("explicit", "rating"),
    7: Tag("smile", "general"),
}
FOUND = (0.5, 0.7, 0.9, 0.95, 0.86, 0.4, 0.1, 0.2)


def chosen(**options: Any) -> list[str]:
    return list(choose(KNOWN, FOUND, Tags(**options)))


def test_characters_come_first_then_tags_by_probability() -> None:
    assert chosen() == ["miku (vocaloid)", "rin (swimsuit) (vocaloid)", "1girl", "blue eyes", "^_^"]


def test_without_characters_first_all_are_in_order_of_probability() -> None:
    names = chosen(character_first=False)
    assert names == ["1girl", "miku (vocaloid)", "rin (swimsuit) (vocaloid)", "blue eyes", "^_^"]


def test_probabilities_stay_with_their_tags() -> None:
    assert choose(KNOWN, FOUND, Tags(character=0.88)) == {
        "miku (vocaloid)": 0.9,
        "1girl": 0.95,
        "blue eyes": 0.5,
        "^_^": 0.4,
    }


def test_thresholds_are_the_least_probability_of_their_category() -> None:
    assert chosen(general=0.5, character=0.9) == ["miku (vocaloid)", "1girl", "blue eyes"]
    assert chosen(general=0.51, character=0.91) == ["1girl"]


@pytest.mark.parametrize(("place", "names"), [("first", ["safe", "1girl"]), ("last", ["1girl", "safe"])])
def test_the_likeliest_rating_is_written_where_it_was_wished(place: str, names: list[str]) -> None:
    assert chosen(rating=place, general=0.9, character=0.95) == names


def test_a_rating_alone_is_no_caption() -> None:
    assert chosen(rating="first", general=0.99, character=0.99) == []


def test_a_rating_that_is_a_tag_too_is_written_once() -> None:
    known = {0: Tag("general", "rating"), 1: Tag("general", "general"), 2: Tag("1girl", "general")}
    assert list(choose(known, (0.9, 0.8, 0.7), Tags(rating="last"))) == ["1girl", "general"]


def test_the_series_is_split_off_and_named_once() -> None:
    assert chosen(split_series=True, general=0.9) == ["miku", "vocaloid", "rin (swimsuit)", "1girl"]


def test_brackets_of_other_tags_are_no_series() -> None:
    known = {0: Tag("top_(clothes)", "general"), 1: Tag("a_(b_(c))", "character"), 2: Tag("(o)_(o)", "general")}
    names = list(choose(known, (0.9, 0.9, 0.8), Tags(split_series=True)))
    assert names == ["a (b (c))", "top (clothes)", "(o)_(o)"]


def test_only_the_likeliest_are_kept() -> None:
    assert chosen(at_most=2) == ["miku (vocaloid)", "1girl"]
    assert chosen(at_most=2, rating="last") == ["miku (vocaloid)", "1girl", "safe"]
    assert chosen(at_most=3, split_series=True) == ["miku", "vocaloid", "1girl"]
    assert len(chosen(at_most=50)) == 5


def test_first_tags_come_first_in_the_given_order_where_they_are_found() -> None:
    names = chosen(first=("blue_eyes", "dragon", "1GIRL"), rating="first")
    assert names == ["blue eyes", "1girl", "safe", "miku (vocaloid)", "rin (swimsuit) (vocaloid)", "^_^"]


def test_underscores_stay_where_they_are_wished() -> None:
    assert chosen(underscores=True, character=0.88) == ["miku_(vocaloid)", "1girl", "blue_eyes", "^_^"]


def test_faces_keep_their_underscores() -> None:
    assert len(KAOMOJI) == 19
    known = {place: Tag(name, "general") for place, name in enumerate(sorted(KAOMOJI))}
    assert set(choose(known, [0.9] * 19, Tags())) == KAOMOJI


def test_brackets_are_escaped_only_when_it_is_wished() -> None:
    assert chosen(escape=True, general=0.9, character=0.9) == [r"miku \(vocaloid\)", "1girl"]


def test_what_says_nothing_about_the_picture_is_left_out() -> None:
    known = {place: Tag(name, name) for place, name in enumerate(("quality", "meta", "model", "artist", "copyright"))}  # type: ignore[arg-type]
    assert list(choose(known, [0.99] * 5, Tags())) == ["copyright", "artist"]
    assert list(choose(known, [0.8] * 5, Tags())) == []  # names have the threshold of characters


@pytest.mark.parametrize(
    ("probabilities", "threshold"),
    [
        ((0.9, 0.8, 0.3, 0.1), 0.55),  # gaps 0.1, 0.5, 0.2: the middle of 0.8 and 0.3
        ((0.1, 0.3, 0.9, 0.8), 0.55),  # in any order
        ((0.75, 0.25), 0.5),
        ((0.9, 0.5, 0.1), 0.7),  # of equal gaps the upper one
        ((0.5, 0.5), 0.5),
    ],
)
def test_mcut_is_the_middle_of_the_largest_gap(probabilities: tuple[float, ...], threshold: float) -> None:
    assert mcut(probabilities) == pytest.approx(threshold)


def test_mcut_of_less_than_two_is_none() -> None:
    assert mcut(()) is None and mcut((0.4,)) is None


def test_mcut_cuts_each_category_by_itself() -> None:
    # general 0.95 0.5 0.4 0.2: gaps 0.45 0.1 0.2, cut at 0.725; characters 0.9 0.86: cut at 0.88
    assert chosen(mcut=True) == ["miku (vocaloid)", "1girl"]


def test_mcut_keeps_no_character_below_the_floor() -> None:
    known = {0: Tag("a", "character"), 1: Tag("b", "character"), 2: Tag("c", "general"), 3: Tag("d", "general")}
    # characters 0.14 0.02: cut at 0.08, floor 0.15; general: cut at 0.08
    assert list(choose(known, (0.14, 0.02, 0.14, 0.02), Tags(mcut=True))) == ["c"]
    assert list(choose(known, (0.16, 0.02, 0.14, 0.02), Tags(mcut=True))) == ["a", "c"]


def test_mcut_of_a_single_tag_is_its_threshold() -> None:
    known = {0: Tag("a", "character"), 1: Tag("c", "general")}
    assert list(choose(known, (0.9, 0.3), Tags(mcut=True))) == ["a"]


def test_nothing_is_chosen_from_zeros() -> None:
    assert choose(KNOWN, [0.0] * 8, Tags(mcut=True, rating="first")) == {}
