"""Edits of captions: what they do, what they leave alone, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data import operations, tags
from trainers.data.operations import parse


def done(caption: str, /, **values: Any) -> str:
    return operations.apply(parse(values), caption)


CASES = [
    ("a cat, a Cat", {"kind": "replace", "find": "cat", "with": "dog"}, "a dog, a dog"),
    ("a cat, a Cat", {"kind": "replace", "find": "cat", "with": "dog", "case": True}, "a dog, a Cat"),
    ("a.c abc", {"kind": "replace", "find": "a.c", "with": "x"}, "x abc"),
    ("a.c abc", {"kind": "replace", "find": "a.c", "with": "x", "regex": True}, "x x"),
    ("red hat", {"kind": "replace", "find": r"(\w+) (\w+)", "with": r"\2 \1", "regex": True}, "hat red"),
    ("a cat", {"kind": "replace", "find": "cat", "with": r"\1"}, r"a \1"),
    ("a cat", {"kind": "prefix", "text": "photo of"}, "photo of a cat"),
    ("a cat", {"kind": "prefix", "text": "photo, "}, "photo, a cat"),
    ("photo of a cat", {"kind": "prefix", "text": "photo of"}, "photo of a cat"),
    ("a cat", {"kind": "suffix", "text": ", 4k"}, "a cat, 4k"),
    ("a cat", {"kind": "suffix", "text": "at night"}, "a cat at night"),
    ("", {"kind": "prefix", "text": "photo"}, "photo"),
    ("a cat", {"kind": "trigger", "text": "ohwx"}, "ohwx, a cat"),
    ("a cat, OHWX", {"kind": "trigger", "text": "ohwx"}, "a cat, OHWX"),
    ("", {"kind": "trigger", "text": "ohwx"}, "ohwx"),
    ("b, c", {"kind": "add", "tag": "a", "at": "first"}, "a, b, c"),
    ("b, c", {"kind": "add", "tag": "a", "at": "last"}, "b, c, a"),
    ("b, c", {"kind": "add", "tag": "a", "at": 1}, "b, a, c"),
    ("b, A", {"kind": "add", "tag": "a", "at": "first"}, "b, A"),
    ("", {"kind": "add", "tag": "a"}, "a"),
    ("a, b, A ,c", {"kind": "remove", "tag": "a"}, "b, c"),
    ("a ||| b, c", {"kind": "remove", "tag": "c"}, "a ||| b"),
    ("a ||| b, c", {"kind": "add", "tag": "x"}, "a ||| b, c, x"),
    ("a, b, c", {"kind": "rename", "tag": "b", "to": "x"}, "a, x, c"),
    ("x, a, b", {"kind": "rename", "tag": "b", "to": "x"}, "x, a"),
    ("c, B, a", {"kind": "sort"}, "a, B, c"),
    ("c, b ||| z, y", {"kind": "sort"}, "b, c ||| y, z"),
    ("a, b, A, c, b", {"kind": "dedupe"}, "a, b, c"),
    (" a ,, b  b , ", {"kind": "trim"}, "a, b b"),
    ("long_hair, ^_^, o_o", {"kind": "spaces"}, "long hair, ^_^, o_o"),
    ("long hair, cat", {"kind": "underscores"}, "long_hair, cat"),
    ("a cat", {"kind": "set", "text": "two\nlines"}, "two\nlines"),
    ("a cat", {"kind": "clear"}, ""),
    ("{red, big|blue} hat, cat", {"kind": "remove", "tag": "cat"}, "{red, big|blue} hat"),
]


@pytest.mark.parametrize(("text", "values", "expected"), CASES)
def test_operation(text: str, values: dict[str, Any], expected: str) -> None:
    assert done(text, **values) == expected


@pytest.mark.parametrize(("text", "values", "expected"), CASES)
def test_most_operations_do_nothing_the_second_time(text: str, values: dict[str, Any], expected: str) -> None:
    if values["kind"] != "replace":
        assert operations.edited(parse(values), expected).changes == 0


def test_each_line_is_edited_and_none_is_lost() -> None:
    assert done("b, a\n\nd, c\n", kind="sort") == "a, b\n\nc, d\n"
    assert done("one\ntwo", kind="prefix", text="a") == "a one\na two"
    assert done("a\na, b", kind="remove", tag="a") == "\nb"


def test_by_frequency_the_frequent_tags_come_first() -> None:
    often = tags.frequencies(["a, b", "b, c", "b, c"])
    assert operations.apply(parse({"kind": "sort", "by": "frequency"}), "a, c, b", often) == "b, c, a"


def test_changes_are_counted_by_place() -> None:
    assert operations.edited(parse({"kind": "replace", "find": "a", "with": "b"}), "a a\na").changes == 3


@given(st.text(alphabet="ab ,_|\n{}", max_size=40))
def test_what_has_nothing_to_do_changes_no_letter(text: str) -> None:
    for values in ({"kind": "remove", "tag": "x"}, {"kind": "rename", "tag": "x", "to": "y"}):
        assert done(text, **values) == text


@given(st.text(alphabet="abc ,\n", max_size=40), st.sampled_from(["sort", "dedupe", "trim", "spaces", "underscores"]))
def test_tags_survive_being_put_in_order(text: str, kind: str) -> None:
    def key(caption: str) -> set[str]:
        return {" ".join(tag.replace("_", " ").split()) for tag in tags.tags_in(caption)}

    assert key(done(text, kind=kind)) == key(text)
    assert done(text, kind=kind).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "explode"}, "no operation"),
        ({}, "no operation"),
        ({"kind": "replace", "find": ""}, "what to look for"),
        ({"kind": "replace", "find": "(", "regex": True}, "expression"),
        ({"kind": "replace", "find": "a", "with": r"\2", "regex": True}, "expression"),
        ({"kind": "prefix", "text": " "}, "which text"),
        ({"kind": "prefix", "text": "a\nb"}, "one line"),
        ({"kind": "add", "tag": "a, b"}, "comma"),
        ({"kind": "add", "tag": "a", "at": True}, "at"),
        ({"kind": "rename", "tag": "a"}, "becomes"),
        ({"kind": "sort", "by": "colour"}, "alphabet"),
        ({"kind": "trim", "force": True}, "force"),
        ({"kind": "set", "text": 3}, "text"),
    ],
)
def test_a_bad_operation_is_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        parse(values)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    "text", ["1girl, solo, long hair, dr. stone", "cat", "", "ohwx, red hat\nblue hat", "猫, 帽子"]
)
def test_tags_are_known_as_tags(text: str) -> None:
    assert tags.is_tags(text)


@pytest.mark.parametrize(
    "text",
    [
        "A dog sits on the grass, looking at the camera.",
        "a photo of a cat wearing a red hat on a chair",
        "cat, dog\nThe sky is blue. It rains.",
        "一只戴着红色帽子的猫坐在椅子上",
    ],
)
def test_sentences_are_known_as_sentences(text: str) -> None:
    assert not tags.is_tags(text)
