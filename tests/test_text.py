"""Texts as editors of all systems write them: read to the letter, or refused with a guess."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import properties
from trainers.data.text import TextError, decoded, lines_of, read_text

CAPTION = "a dog, 一只狗, café 🐕"


def written(folder: Path, content: bytes) -> Path:
    file = folder / "caption.txt"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    "content",
    [
        CAPTION.encode(),
        CAPTION.encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + CAPTION.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + CAPTION.encode("utf-16-be"),
    ],
)
def test_utf_8_and_marked_utf_16_give_the_same_text_without_the_mark(tmp_path: Path, content: bytes) -> None:
    assert read_text(written(tmp_path, content)) == CAPTION


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_all_systems_are_one_lf(tmp_path: Path, end: str) -> None:
    assert read_text(written(tmp_path, f"one{end}{end}two{end}".encode())) == "one\n\ntwo\n"


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("一只狗在阳光下奔跑", "gb18030", "GBK"),
        ("犬が走っている", "shift_jis", "Shift JIS"),
        ("a café in a side street", "cp1252", "Windows-1252"),
        ("two cafés", "cp1252", "Windows-1252"),
    ],
)
def test_another_encoding_is_refused_and_guessed(tmp_path: Path, text: str, codec: str, name: str) -> None:
    content = text.encode(codec)
    with pytest.raises(TextError) as raised:
        read_text(written(tmp_path, content))
    assert raised.value.reason == str(raised.value) == f"its caption is not UTF-8 (perhaps {name})"
    assert raised.value.guesses[0] == codec
    assert content.decode(raised.value.guesses[0]) == text


def test_a_guess_survives_a_letter_cut_in_two_by_the_end_of_the_sample() -> None:
    with pytest.raises(TextError) as raised:
        decoded(b"a" + ("狗" * 100_000).encode("gb18030"))
    assert raised.value.guesses[0] == "gb18030"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a\0b", "is not a text"),
        (codecs.BOM_UTF32_LE + "a dog".encode("utf-32-le"), "is not UTF-8"),
        (codecs.BOM_UTF16_LE + b"a\0b", "is UTF-16 that is cut off"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_without_a_guess(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(TextError) as raised:
        read_text(written(tmp_path, content), "the list")
    assert raised.value.reason == f"the list {reason}"
    assert raised.value.guesses == ()


def test_lines_are_stripped_and_empty_ones_left_out() -> None:
    assert lines_of(" a dog \n\n\t\n two dogs\n") == ("a dog", "two dogs")
    assert lines_of(" \n ") == ()


def test_a_line_may_hold_separators_that_are_no_line_ends() -> None:
    assert lines_of("a\x0bb\u2028c\x85d") == ("a\x0bb\u2028c\x85d",)


@properties
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")))
def test_every_text_comes_back_from_utf_8_and_utf_16(text: str) -> None:
    text = text.removeprefix("\ufeff")  # which would be the mark itself
    assert decoded(text.encode()) == decoded(text.encode("utf-16")) == text


@properties
@given(st.binary())
def test_bytes_are_read_in_full_or_refused(content: bytes) -> None:
    try:
        text = decoded(content)
    except TextError as error:
        assert all(content.decode(codec) for codec in error.guesses)
    else:
        assert "\ufffd" not in text or "\ufffd".encode() in content or content[:2] in (b"\xff\xfe", b"\xfe\xff")
