"""Captions that a text encoder does not read to their end, told without counting all of them."""

from __future__ import annotations

import random
import time

import pytest

from trainers.config import Captions
from trainers.data import lengths, tokens
from trainers.data.lengths import too_long

WORDS = ["a", "photo", "of", "wuzzle", "½", "日本", "🐶", "red,", "table;", "...", "1/2"]
T5 = tokens.encoders("flux-schnell", "flux")[-1]
TINY = tokens.encoders("sandbox", "flux")[-1]


def random_captions(count: int, most: int) -> list[tuple[str, ...]]:
    rng = random.Random(3)
    return [(" ".join(rng.choices(WORDS, k=rng.randrange(1, most))),) for _ in range(count)]


@pytest.mark.parametrize(("encoder", "most"), [(T5, 400), (TINY, 40)])
def test_what_is_not_counted_is_short_enough(encoder: tokens.Encoder, most: int) -> None:
    found = random_captions(300, most)
    counted = [place for place, (text,) in enumerate(found) if encoder.lengths([text])[0] > encoder.limit]
    assert too_long(found, Captions(), encoder) == counted
    assert 0 < len(counted) < 300


def test_pictures_without_caption_are_not_too_long() -> None:
    assert too_long([None, (), ("a cat",)], Captions(prefix="a photo of"), T5) == []


def test_captions_count_as_training_sees_them() -> None:
    full, fits = " ".join(["cat"] * T5.limit), "a cat"
    assert too_long([(full,)], Captions(), T5) == []
    assert too_long([(full,)], Captions(suffix="on grass"), T5) == [0]
    assert too_long([(fits, f"{full} cat")], Captions(), T5) == [0]
    assert too_long([(fits, f"{full} cat")], Captions(lines="first"), T5) == []
    assert too_long([(full, fits)], Captions(lines="join"), T5) == [0]
    choices = f"{{cat|{full} cat}}"
    assert too_long([(choices,)], Captions(), T5) == [] and too_long([(choices,)], Captions(wildcards=False), T5) == [0]


def test_of_very_many_captions_the_longest_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    full = " ".join(["cat"] * T5.limit)
    found = [(f"{full}{' cat' * number}",) for number in range(10)]
    monkeypatch.setattr(lengths, "MOST_COUNTED", 3)
    assert too_long(found, Captions(), T5) == [7, 8, 9]


def test_many_captions_are_looked_at_quickly() -> None:
    """Most have fewer letters than the encoder reads tokens, and are not counted at all."""
    found = [(f"number {number}: " + "a wuzzle on a red table, " * 8,) for number in range(20_000)]
    begun = time.monotonic()
    assert too_long(found, Captions(), T5) == []
    assert time.monotonic() - begun < 2
