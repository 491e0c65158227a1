"""From the lines of a caption file to the texts that visits see."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import properties
from trainers.config import Captions
from trainers.data.captions import draw, is_random, live, preserved, stand_in, variants, written
from trainers.data.wildcards import choose, has_choices

tags = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


def config_of(**values: Any) -> Captions:
    return Captions(**values)


def one(text: str, **values: Any) -> str:
    """The only form of a caption in which nothing is random."""
    (found,) = variants((text,), config_of(**values), "")
    return found


# --------------------------------------------------------------------------- what a picture's captions are


@pytest.mark.parametrize(
    ("fallback", "concept", "expected"),
    [
        ("concept", "dog", "dog"),
        ("concept", "", "sks"),
        ("folder", "", "holiday"),
        ("folder", "dog", "dog"),
        ("trigger", "dog", "sks"),
        ("empty", "dog", ""),
    ],
)
def test_missing_caption_has_a_stand_in(fallback: Any, concept: str, expected: str) -> None:
    assert stand_in(concept, "holiday", config_of(fallback=fallback, trigger="sks")) == expected


@pytest.mark.parametrize(
    ("lines", "expected"), [("draw", ("one", "two", "three")), ("first", ("one",)), ("join", ("one two three",))]
)
def test_several_lines_are_what_the_setting_says(lines: Any, expected: tuple[str, ...]) -> None:
    assert written(("one", "two", "three"), config_of(lines=lines), "") == expected


@pytest.mark.parametrize("lines", [None, ()])
def test_missing_and_empty_captions_get_the_stand_in_and_the_trigger(lines: Any) -> None:
    assert written(lines, config_of(), "dog") == ("dog",)
    assert variants(lines, config_of(trigger="sks"), "dog") == ("sks, dog",)
    assert variants(lines, config_of(trigger="sks"), "sks") == ("sks",)
    assert variants(lines, config_of(), "") == ("",)


# --------------------------------------------------------------------------- one caption as written


@pytest.mark.parametrize("text", ["a ,b,, c ,", "  two  spaces", "{a}", "{{a|b}}", "a | b", "{a|b", "ein 图片, 狗"])
def test_caption_without_anything_random_stays_byte_for_byte(text: str) -> None:
    assert one(text) == text
    assert live((text,), config_of(), "", 1) == text


@pytest.mark.parametrize("text", ["a dog on grass", "a dog, on grass"])
def test_shuffling_what_cannot_move_changes_nothing(text: str) -> None:
    assert one(text, shuffle=True, keep_tokens=1) == text


def test_trigger_word_goes_in_front_of_captions_that_lack_it() -> None:
    assert one("a dog", trigger="sks") == "sks, a dog"
    assert one("a photo of SKS dog", trigger="sks") == "a photo of SKS dog"
    assert one("a dog", trigger="sks", prefix="photo of sks:") == "photo of sks: a dog"


@pytest.mark.parametrize("text", ["a dog", "photo, a dog", "a dog, best", "photo, a dog, best"])
def test_prefix_and_suffix_stand_once(text: str) -> None:
    assert one(text, prefix="photo,", suffix=", best") == "photo, a dog, best"


def test_prefix_and_suffix_stand_apart_from_words() -> None:
    assert one("a dog", prefix="photo of", suffix="on grass") == "photo of a dog on grass"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, b ||| c ,d", "a, b, c ,d"),
        ("a, ||| b, ||| c", "a, b, c"),
        ("||| a", "a"),
        ("a ||| b ||| c ||| d", "a, b, c, d"),
    ],
)
def test_marks_of_kept_tags_are_removed(text: str, expected: str) -> None:
    assert one(text) == expected
    assert one(text, keep_separator="") == text


# --------------------------------------------------------------------------- tags


def test_shuffle_keeps_the_first_tags_and_loses_none() -> None:
    found = variants(("a, b, c, d, e",), config_of(shuffle=True, keep_tokens=2), "")
    assert found[0] == "a, b, c, d, e" and len(set(found)) > 3
    assert all(text.startswith("a, b, ") and sorted(text.split(", ")) == list("abcde") for text in found)


def test_mark_decides_what_stays_and_not_the_number() -> None:
    found = variants(("a, b ||| c, d, e ||| f, g",), config_of(shuffle=True, keep_tokens=0), "")
    assert len(set(found)) > 3
    assert all(text.startswith("a, b, ") and text.endswith(", f, g") for text in found)
    assert all(sorted(text.split(", ")) == list("abcdefg") for text in found)


def test_trigger_prefix_and_suffix_are_never_shuffled() -> None:
    config = config_of(shuffle=True, keep_tokens=0, trigger="sks", prefix="photo of", suffix=", best")
    found = variants(("a, b, c, d",), config, "")
    assert len(set(found)) > 3
    assert all(text.startswith("photo of sks, ") and text.endswith(", best") for text in found)


@properties
@given(tags, st.integers(0, 4), st.integers(1, 16), st.floats(0, 1), st.booleans(), st.integers())
def test_tags_are_kept_dropped_or_moved_and_never_made(
    tags: list[str], keep: int, number: int, share: float, shuffle: bool, key: int
) -> None:
    config = config_of(keep_tokens=keep, variants=number, tag_dropout=share, shuffle=shuffle)
    found = variants((", ".join(tags),), config, "")
    assert found == variants((", ".join(tags),), config, "")
    assert found[0] == ", ".join(tags)
    assert len(found) in (1, number)
    for text in (*found, live((", ".join(tags),), config, "", key)):
        left = text.split(", ")
        assert left[: min(keep, len(tags))] == tags[:keep]
        assert left[0] and set(left) <= set(tags) and len(set(left)) == len(left)
        if not shuffle:
            assert left == [tag for tag in tags if tag in left]
        if not share:
            assert sorted(left) == sorted(tags)


def test_tag_with_the_trigger_word_is_never_dropped() -> None:
    config = config_of(tag_dropout=0.9, keep_tokens=0, trigger="sks", variants=64)
    found = variants(("a, b, my SKS dog, c",), config, "")
    assert all("my SKS dog" in text for text in found)
    assert any("a" not in text.split(", ") for text in found)


def test_tags_drop_their_share() -> None:
    config = config_of(tag_dropout=0.25, keep_tokens=1)
    seen = Counter(tag for key in range(2000) for tag in live(("a, b, c, d",), config, "", key).split(", "))
    assert seen["a"] == 2000
    assert all(0.71 < seen[tag] / 2000 < 0.79 for tag in "bcd")


def test_another_separator_splits_and_joins() -> None:
    found = variants(("a, b; c; d; e",), config_of(shuffle=True, separator=";", trigger="sks"), "")
    assert found[0] == "sks; a, b; c; d; e" and len(set(found)) > 2
    assert all(text.startswith("sks; a, b; ") for text in found)


# --------------------------------------------------------------------------- choices


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a {red|blue} dog", {"a red dog", "a blue dog"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{{a|b}|c}", {"a", "b", "c"}),
        ("{a|b} {c|d}", {"a c", "a d", "b c", "b d"}),
        ("{a|}", {"a", ""}),
        ("{x {a|b}}", {"{x a}", "{x b}"}),
        ("{{a|b}} {c|d}", {"{{a|b}} c", "{{a|b}} d"}),
        ("{a {b|c}", {"{a b", "{a c"}),
        ("b} {c|d}", {"b} c", "b} d"}),
    ],
)
def test_each_choice_becomes_one_of_its_options(text: str, options: set[str]) -> None:
    assert has_choices(text)
    config = config_of(variants=64)
    assert set(variants((text,), config, "")) == options
    assert {live((text,), config, "", key) for key in range(64)} == options
    assert one(text, wildcards=False) == text


@properties
@given(st.text("{}| a", max_size=30), st.integers(0, 5))
def test_any_text_with_braces_is_read(text: str, option: int) -> None:
    found = choose(text, lambda _, number: option % number)
    assert len(found) <= len(text)
    assert has_choices(text) or found == text


def test_variants_show_every_option_when_there_are_enough() -> None:
    found = variants(("{a|b|c|d|e|f|g|h}",), config_of(variants=8), "")
    assert found[0] == "a" and sorted(found) == list("abcdefgh")


def test_choices_are_made_before_tags_are_split() -> None:
    found = variants(("{a, b|c}, d, e",), config_of(keep_tokens=2, shuffle=True, variants=32), "")
    assert {text.split(", ")[0] for text in found} == {"a", "c"}
    assert all("b" not in text or text.startswith("a, b, ") for text in found)


# --------------------------------------------------------------------------- visits


def test_lines_are_equally_likely_however_many_variants_they_have() -> None:
    texts = variants(("plain", "a {red|blue} dog"), config_of(variants=8), "")
    drawn = Counter(draw(texts, 0, key) for key in range(4000))
    assert 0.46 < drawn["plain"] / 4000 < 0.54
    assert 0.21 < drawn["a red dog"] / 4000 < 0.29


def test_every_line_has_at_most_the_number_of_variants() -> None:
    assert len(variants(("a, b, c", "{d|e}"), config_of(shuffle=True, variants=3), "")) == 6
    assert variants(("a, b, c",), config_of(shuffle=True, variants=1), "") == ("a, b, c",)


def test_dropout_drops_its_share() -> None:
    drawn = [draw(("text",), 0.25, 1, visit) for visit in range(4000)]
    assert 0.22 < drawn.count("") / 4000 < 0.28


def test_dropout_does_not_decide_which_line_is_drawn_live() -> None:
    lines = [line for key in range(4000) if (line := draw((live(("a", "b"), config_of(), "", key),), 0.5, key))]
    assert 0.46 < lines.count("a") / len(lines) < 0.54


def test_live_draws_follow_from_their_keys_and_know_no_limit() -> None:
    config = config_of(shuffle=True, keep_tokens=0, variants=1)
    found = [live(("a, b, c, d, e",), config, "", 7, visit) for visit in range(100)]
    assert found == [live(("a, b, c, d, e",), config, "", 7, visit) for visit in range(100)]
    assert len(set(found)) > 40


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("a, b, c", {}, False),
        ("a, b, c", {"shuffle": True}, True),
        ("a, b", {"shuffle": True, "keep_tokens": 1}, False),
        ("a, b", {"tag_dropout": 0.1, "keep_tokens": 1}, True),
        ("a", {"tag_dropout": 0.1, "keep_tokens": 1}, False),
        ("{a|b}", {}, True),
        ("{a|b}", {"wildcards": False}, False),
    ],
)
def test_captions_that_have_several_forms_are_known(text: str, values: dict[str, Any], expected: bool) -> None:
    config = config_of(**values)
    assert is_random(config, (text,)) is expected
    assert (len(variants((text,), config, "")) > 1) is expected


def test_preserved_words_take_the_triggers_place() -> None:
    assert preserved("a Zota on grass", "zota", ("dog", "cat")) == ("a dog on grass", "a cat on grass")
    assert preserved("a zota", "zota", ()) == ("",)
    assert preserved("a picture", "zota", ("dog",)) == ("",)
    assert preserved(r"a zota", "zota", (r"\1",)) == (r"a \1",)  # words are not patterns
