"""Texts that are no captions, and texts that were cut off."""

from __future__ import annotations

import pytest

from captioners.faults import WORDS, cut_at_sentence, fault_of, is_refusal

LOOP = "a woman in a red dress standing in a field of tall yellow flowers under a wide and cloudless summer sky "

USABLE = (
    "A cat.",
    "1girl, solo, long hair, blue hair, blue eyes, blue dress, ^_^",
    "A sign says ha ha ha.",  # three times may happen
    "The display shows 00:00:00:00 and 1 1 1.",
    "一只黑猫坐在红色的垫子上。",
    "招牌上写着哈哈哈哈。",  # four signs alone may be laughter
    "黒猫が赤い座布団の上に座っている。",
    "1girl、ソロ、長い髪",
    "- a dog\n- a cat\n- a cow\n- a pig\n- a hen",
)
LOOPS = (
    "very very very very",
    "A very, very, very, very long road.",
    "1girl, solo, 1girl, solo, 1girl, solo, 1girl, solo",  # the last tag has no comma
    LOOP * 4,
    f"A photo. {LOOP * 3}{LOOP.strip()}.",
    "哈" * 8,
    "一只猫。" * 4,
    "这是一张照片,照片里有一只猫," * 4,
)


@pytest.mark.parametrize("text", USABLE)
def test_captions_have_no_fault(text: str) -> None:
    assert fault_of(text) == ""


@pytest.mark.parametrize("text", ["", " \n", "!!!!!!", "...", "。。。", "🙂", "| | |"])
def test_a_text_without_letter_or_digit_is_empty(text: str) -> None:
    assert fault_of(text) == "empty"


@pytest.mark.parametrize("text", LOOPS)
def test_a_phrase_four_times_in_a_row_is_a_loop(text: str) -> None:
    assert fault_of(text) == "repeats"


@pytest.mark.parametrize("times", [1, 2, 3])
def test_fewer_repeats_are_no_loop(times: int) -> None:
    assert fault_of(LOOP * times) == "" and fault_of("一只猫。" * times) == ""


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, I can\u2019t assist with this request.",
        "I am sorry, but as a model I am unable to describe people.",
        "Sorry, we cannot do that.",
        "I apologize, but I'm not able to look at it.",
        "I cannot provide a description of this image.",
        "I can't see the image. Please upload it again.",
        "I'm unable to view images directly.",
        "Unfortunately, I won't write tags for it.",
        "As an AI, I have no eyes.",
    ],
)
def test_apologies_are_refusals(text: str) -> None:
    assert fault_of(text) == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "A man holds a sign: I'm sorry, I can't help you.",
        "Sorry sign on the door of a shop.",
        "I can't believe it, a poster with red letters.",
        "We see two dogs that cannot reach a ball.",
        "An ice cream van. The owner is unable to see it.",
        "As an aircraft lands, people wave.",
        "I'm sorry, I can't say who it is, " + "but the picture shows a long street with many people, " * 8,
    ],
)
def test_captions_about_apologies_are_none(text: str) -> None:
    assert not is_refusal(text)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("A cat sits. It looks at the", "A cat sits."),
        ('A sign: "Stop!" A man walks', 'A sign: "Stop!"'),
        ("Is it a cat? It is. And", "Is it a cat? It is."),
        ("It weighs 3.5 kilograms. About 2.5", "It weighs 3.5 kilograms."),
        ("A man waves. Next to him stands Mr. Smith with a", "A man waves."),
        ("A dog. A portrait of J. R. Smith with", "A dog."),
        (
            "A woman in a long red dress, standing on a green hill, with a lo",
            "A woman in a long red dress, standing on a green hill",
        ),
        ("A woman in a red dress with a", "A woman in a red dress with a"),
        ("1girl, solo, long hair, blu", "1girl, solo, long hair"),
        ("dr. strange, solo, cape, smi", "dr. strange, solo, cape"),
        ("1girl, ._., solo, sm", "1girl, ._., solo"),
        ("1girl", "1girl"),
        (",", ","),
        ("", ""),
        ("一只黑猫坐在垫子上。它看着一", "一只黑猫坐在垫子上。"),
        ("他说「停\uff01」然后走", "他说「停\uff01」"),
        ("女孩、长发、蓝", "女孩、长发"),
        ("女孩\uff0c长发\uff0c蓝", "女孩\uff0c长发"),
        ("猫がいる。犬もいる。そし", "猫がいる。犬もいる。"),
    ],
)
def test_a_cut_off_text_ends_with_a_whole_sentence_or_tag(text: str, cut: str) -> None:
    assert cut_at_sentence(text) == cut
    assert cut_at_sentence(cut) == cut or set(cut) & set(",\uff0c\u3001")


def test_every_fault_has_words() -> None:
    assert set(WORDS) == {"empty", "repeats", "refused", "failed"}
