"""What is written of a model's text, and what becomes of the caption that was there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioners.config import Policy
from captioners.policy import composed, one_line, polished, wants
from captioners.resolve import validate
from trainers.errors import ConfigErrors

TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=80)


@pytest.mark.parametrize(
    ("existing", "missing", "empty", "blank", "there"),
    [
        ("skip", True, False, False, False),
        ("fill", True, True, True, False),
        ("replace", True, True, True, True),
        ("append", True, True, True, True),
        ("prepend", True, True, True, True),
        ("line", True, True, True, True),
    ],
)
def test_which_captions_are_written(existing: str, missing: bool, empty: bool, blank: bool, there: bool) -> None:
    found = [wants(existing, before) for before in (None, "", " \n", "a dog")]  # type: ignore[arg-type]
    assert found == [missing, empty, blank, there]


@pytest.mark.parametrize(
    ("existing", "before", "new", "after"),
    [
        ("replace", "old words", "a dog", "a dog"),
        ("replace", "old words\n", "a dog", "a dog\n"),
        ("append", None, "a dog", "a dog"),
        ("append", "", "a dog", "a dog"),
        ("append", "red hat, smile", "Smile, long hair", "red hat, smile, long hair"),
        ("prepend", "red hat, smile", "smile, long hair", "long hair, red hat, smile"),
        ("append", "A dog runs.", "It is brown.", "A dog runs. It is brown."),
        ("prepend", "It is brown.", "A dog runs.", "A dog runs. It is brown."),
        ("append", "one, two\nthree, four\n", "five", "one, two, five\nthree, four, five\n"),
        ("line", "one, two\n", "three", "one, two\nthree\n"),
        ("line", "one, two\nthree", "three", "one, two\nthree"),
        ("append", "smile", "smile", "smile"),
    ],
)
def test_old_and_new_text_meet(existing: str, before: str | None, new: str, after: str) -> None:
    assert composed(Policy(existing=existing), before, new) == after  # type: ignore[arg-type]


def test_the_trigger_is_in_every_line_once() -> None:
    policy = Policy(existing="line", trigger="wuzzle")
    assert composed(policy, "a red ball", "a blue wuzzle") == "wuzzle, a red ball\na blue wuzzle"
    assert composed(policy, "wuzzle, a ball", "a ball") == "wuzzle, a ball\nwuzzle, a ball"


@pytest.mark.parametrize(
    ("policy", "said", "written"),
    [
        (Policy(), "The image shows a dog.\nIt runs.", "A dog. It runs."),
        (Policy(), "the image SHOWS a dog", "A dog"),
        (Policy(), "The image shows", "The image shows"),
        (Policy(), "The image showson", "The image showson"),
        (Policy(strip_preamble=False), "The image shows a dog", "The image shows a dog"),
        (Policy(preambles=("Look,",)), "Look, a dog", "A dog"),
        (Policy(replacements=("woman => lady", "a => A")), "A woman and a Woman", "A lAdy And A lAdy"),
        (Policy(replacements=("{1girl} =>",)), "solo, {1girl}", "solo,"),
        (Policy(blacklist=("smile",)), "hat, Smile, tree", "hat, tree"),
        (Policy(blacklist=("smile",)), "A woman with a smile walks along the river bank.", None),
        (Policy(prefix="photo of", suffix=", 35mm"), "a dog", "photo of a dog, 35mm"),
        (Policy(), "<s>a dog</s><pad><|im_end|>", "a dog"),
        (Policy(), "\x00\x1b caf\u0065\u0301 \ufeff", "caf\u00e9 \ufeff"),
        (Policy(blacklist=("a",), prefix="photo"), "a", ""),
    ],
)
def test_texts_are_polished(policy: Policy, said: str, written: str | None) -> None:
    assert polished(policy, said) == (said if written is None else written)


@given(TEXTS)
def test_a_caption_is_one_line_and_stays_as_it_is(text: str) -> None:
    line = one_line(text)
    assert "\n" not in line and line == one_line(line)
    assert len(f"{line}x".splitlines()) == 1


@given(TEXTS, TEXTS, st.sampled_from(["append", "prepend", "line"]))
def test_no_word_of_the_old_caption_is_lost(before: str, said: str, existing: str) -> None:
    policy = Policy(existing=existing)  # type: ignore[arg-type]
    new = polished(policy, said) or "x"
    after = composed(policy, before, new)
    for line in before.split("\n"):
        assert line.strip() in after


def test_a_replacement_needs_an_arrow() -> None:
    with pytest.raises(ConfigErrors, match="is not of the form"):
        validate({"policy": {"replacements": ["woman lady"]}})
