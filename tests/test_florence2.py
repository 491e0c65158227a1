"""Florence-2: each task gives the text that it stands for, in a batch or alone, until the length or a stop ends it."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Florence2Processor

from captioners import florence2
from captioners.base import Captioner, Runtime, StopAskedError
from captioners.catalog import FLORENCE_TASKS, PROMPTGEN_TASKS
from captioners.florence2 import Florence2
from captioners.florence2_tasks import TASK_TOKENS, Label, questions_of, tags_from
from captioners.generation import Drawing
from tests.florence_captioner import CPU, TASKS, config, native_folder, parts, requests, texts
from trainers.errors import AtelierError

native = pytest.fixture(scope="module")(native_folder)


@pytest.fixture(scope="module")
def captioner(native: Path) -> Captioner:
    return florence2.load(native, config(), CPU)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_caption_does_not_depend_on_its_batch(native: Path, beams: int) -> None:
    captioner = florence2.load(native, config(beams), CPU)
    asked = requests([*TASKS, "<GENERATE_TAGS>"])
    together = captioner.caption(asked)
    assert [captioner.caption([request])[0] for request in asked] == together


def test_captions_hold_neither_prompt_nor_special_tokens(captioner: Captioner) -> None:
    for text in texts(captioner):
        assert text
        assert not any(sign in text for sign in ("<s>", "</s>", "<pad>", "<image>", "CAPTION", "describe?"))


def test_captions_need_no_torchvision(captioner: Captioner) -> None:
    assert texts(captioner)
    assert not any(name.partition(".")[0] == "torchvision" for name in sys.modules)


def test_half_precision_casts_the_pictures_alone(native: Path) -> None:
    captioner = florence2.load(native, config(), Runtime(torch.device("cpu"), torch.bfloat16))
    model, _ = parts(captioner)
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert all(texts(captioner))


def test_stop_is_heard_within_a_token(native: Path) -> None:
    asked = []

    def stop_asked() -> bool:
        asked.append(1)
        return len(asked) > 2

    captioner = florence2.load(native, config(3, 200), Runtime(torch.device("cpu"), torch.float32, "none", stop_asked))
    with pytest.raises(StopAskedError):
        captioner.caption(requests())
    assert len(asked) <= 4


def test_a_captioner_that_is_dropped_frees_its_model(native: Path) -> None:
    captioner = florence2.load(native, config(), CPU)
    captioner.caption(requests())
    model = weakref.ref(parts(captioner)[0])
    del captioner
    gc.collect()
    assert model() is None


class Scripted:
    """A model that gives the answers of a list, one a call, and keeps what it was asked."""

    def __init__(self, processor: Florence2Processor, *answers: list[str]) -> None:
        self.generation_config = SimpleNamespace(eos_token_id=2)
        self._tokenizer, self._answers, self.asked = processor.tokenizer, list(answers), []

    def generate(self, input_ids: Tensor, **_: Any) -> Tensor:
        self.asked += [text.replace("<image>", "") for text in self._tokenizer.batch_decode(input_ids)]
        rows = [[2, *self._tokenizer(text).input_ids] for text in self._answers.pop(0)]
        longest = max(map(len, rows))
        return torch.tensor([row + [1] * (longest - len(row)) for row in rows])


def scripted(captioner: Any, *answers: list[str], writes_tags: bool = False) -> tuple[Florence2, Scripted]:
    processor = captioner._processor
    model = Scripted(processor, *answers)
    return Florence2(model, processor, Drawing(0.0, 1.0, 0, 1, 64), CPU, writes_tags), model


def test_tags_of_plain_florence_are_the_objects_it_finds(captioner: Captioner) -> None:
    small, large = "<loc_0><loc_0><loc_100><loc_100>", "<loc_0><loc_0><loc_900><loc_900>"
    found, asked = scripted(
        captioner,
        [f"<loc_5>{small}door{small}wheel{small}{small}car{large}", ""],
        [f"a red square{small}Car{small}{large[7:]}", ""],
    )
    results = found.caption(requests(["<GENERATE_TAGS>"] * 2))
    assert [result.text for result in results] == ["car, wheel, door, a red square", ""]
    assert [result.fault for result in results] == ["", "empty"]
    questions = ["objects with category name", "objects in the image, with their"]
    assert [question in text for question, text in zip(questions, asked.asked[::2], strict=True)] == [True, True]


def test_pictures_without_objects_are_no_sign_of_a_broken_model(captioner: Captioner) -> None:
    found, _ = scripted(captioner, ["", ""], ["", ""])
    assert [result.fault for result in found.caption(requests(["<GENERATE_TAGS>"] * 2))] == ["empty", "empty"]


def test_promptgen_writes_tags_itself(captioner: Captioner) -> None:
    found, asked = scripted(captioner, ["a red square, car\n\nwheel"], writes_tags=True)
    assert found.caption(requests(["<GENERATE_TAGS>"]))[0].text == "a red square, car\n\nwheel"
    assert asked.asked == ["<s><GENERATE_TAGS></s>"]


def test_only_promptgen_is_asked_for_tags(native: Path) -> None:
    plain = florence2.load(native, config(name="florence2-large"), CPU)
    promptgen = florence2.load(native, config(name="florence2-promptgen"), CPU)
    assert [one._writes_tags for one in (plain, promptgen)] == [False, True]


def test_a_model_that_says_nothing_at_first_is_refused(captioner: Captioner) -> None:
    found, _ = scripted(captioner, ["", ""])
    with pytest.raises(AtelierError, match="nothing at all") as refused:
        found.caption(requests(["<CAPTION>"] * 2))
    assert "tied" in refused.value.hint


def test_a_single_picture_without_words_is_a_fault_of_its_own(captioner: Captioner) -> None:
    found, _ = scripted(captioner, ["", "a car"], [""])
    assert [result.fault for result in found.caption(requests(["<CAPTION>"] * 2))] == ["empty", ""]
    assert found.caption(requests(["<CAPTION>"]))[0].fault == "empty"


def test_what_reached_the_longest_length_is_cut_off(native: Path, captioner: Captioner) -> None:
    # the end that is forced there is no end of the text
    assert all(result.truncated for result in florence2.load(native, config(1, 6), CPU).caption(requests()))
    found, _ = scripted(captioner, ["a car", "a car with wheel and door"])
    assert [result.truncated for result in found.caption(requests(["<CAPTION>"] * 2))] == [False, False]


@pytest.mark.parametrize("prompt", ["", "Describe the image.", "<CAPTION> please", "<OCR_WITH_REGION>"])
def test_words_of_ones_own_are_no_task(captioner: Captioner, prompt: str) -> None:
    with pytest.raises(AtelierError, match="no task") as refused:
        captioner.caption(requests([prompt]))
    assert "prompt.task" in refused.value.hint


def test_every_task_of_the_catalog_is_a_question() -> None:
    for task in (*FLORENCE_TASKS, *PROMPTGEN_TASKS):
        assert questions_of(TASK_TOKENS[task], writes_tags=True) == [TASK_TOKENS[task]]
    assert questions_of(" <GENERATE_TAGS>\n", writes_tags=False) == ["<OD>", "<DENSE_REGION_CAPTION>"]


def test_tags_are_ordered_by_number_then_size() -> None:
    labels = [Label("tree", 5), Label("Sky.", 90), Label("bird", 1), Label("bird", 2), Label(" ", 99), Label("sky", 1)]
    assert tags_from(labels) == "Sky, bird, tree"
    assert tags_from([]) == ""
