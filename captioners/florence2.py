"""Florence-2: a task in, a caption or tags out. Both layouts of its files load into the class of transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import Florence2ForConditionalGeneration, Florence2Processor

from captioners.base import Captioner, Request, Result, Runtime
from captioners.catalog import CAPTIONERS, PROMPTGEN_TASKS
from captioners.config import CaptionConfig
from captioners.faults import fault_of
from captioners.florence2_legacy import generation_of, is_legacy, load_legacy
from captioners.florence2_tasks import LABEL_TASKS, Label, questions_of, tags_from
from captioners.folders import opening, read_config
from captioners.generation import Drawing, end_ids, generate, is_cut_off
from captioners.loading import check_complete, to_device
from trainers.errors import AtelierError

SPECIAL = re.compile("<s>|</s>|<pad>")
MUTE = "This Florence-2 answers with nothing at all."
MUTE_HINT = (
    "Its output layer is not tied to its embeddings, or it is a copy from before they were mended. Download it again, "
    "or choose florence2-large."
)


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> Captioner:
    """See `captioners.base.Load`. Either layout: that of transformers, or the one that Microsoft published first."""
    known = read_config(source, ("florence2",))
    with opening(source):
        if is_legacy(known):
            model, processor = load_legacy(source, known, runtime)
        else:
            model, info = Florence2ForConditionalGeneration.from_pretrained(
                source, dtype=runtime.dtype, output_loading_info=True, ignore_mismatched_sizes=True
            )
            check_complete(info, source)
            processor = Florence2Processor.from_pretrained(source)
        model.generation_config = generation_of(source)
    language = model.model.language_model
    tables = [model.lm_head, language.encoder.embed_tokens, language.decoder.embed_tokens]
    if any(table.weight is not language.shared.weight for table in tables):
        raise AtelierError(f"{source} is not tied: {MUTE}", MUTE_HINT)
    return Florence2(to_device(model, runtime), processor, Drawing.of(config), runtime, _writes_tags(config))


@dataclass(frozen=True)
class _Answer:
    """Of one task. text: as it was written, for a task of labels with the places of boxes; cut: it reached the longest
    length."""

    text: str
    cut: bool


class Florence2:
    """The prompt of a request is a task. writes_tags: the model has one for tags; otherwise they are what it finds."""

    def __init__(
        self, model: Any, processor: Any, drawing: Drawing, runtime: Runtime, writes_tags: bool = False
    ) -> None:
        self._model, self._processor, self._writes_tags = model, processor, writes_tags
        self._drawing, self._runtime = drawing, runtime
        self._spoke = False

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        tasks = [self._questions(request.prompt) for request in requests]
        answers: list[list[_Answer]] = [[] for _ in requests]
        for turn in range(max(map(len, tasks), default=0)):
            rows = [row for row, mine in enumerate(tasks) if turn < len(mine)]
            asked = [(requests[row], tasks[row][turn]) for row in rows]
            for row, answer in zip(rows, self._answer(asked), strict=True):
                answers[row].append(answer)
        self._listen(tasks, answers)
        return [
            self._result(request.image, mine, said)
            for request, mine, said in zip(requests, tasks, answers, strict=True)
        ]

    def _questions(self, prompt: str) -> list[str]:
        if found := questions_of(prompt, self._writes_tags):
            return found
        raise AtelierError(f"{prompt!r} is no task of Florence-2.", "Choose one with prompt.task.")

    def _answer(self, asked: Sequence[tuple[Request, str]]) -> list[_Answer]:
        """One answer each; tasks may differ from row to row."""
        inputs = self._processor(
            text=[task for _, task in asked],
            images=[request.image for request, _ in asked],
            padding=True,
            return_tensors="pt",
        ).to(self._runtime.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._runtime.dtype)
        seeds = [request.seed for request, _ in asked]
        ids = generate(self._model, dict(inputs), self._drawing, seeds, self._runtime)
        texts = self._processor.batch_decode(ids, skip_special_tokens=False)
        pairs = zip(texts, ids, strict=True)
        return [_Answer(SPECIAL.sub("", text).strip(), self._is_cut_off(row)) for text, row in pairs]

    def _is_cut_off(self, ids: Tensor) -> bool:
        """ids [L]: begins with the start token, which is also the end token; a last end token was forced there."""
        longest = self._drawing.max_tokens
        return is_cut_off(ids[1:longest], end_ids(self._model), longest - 1)

    def _listen(self, tasks: Sequence[Sequence[str]], answers: Sequence[Sequence[_Answer]]) -> None:
        """Raises AtelierError for a first batch of captions without a word: every further one would be like that."""
        said = [
            answer.text
            for mine, all_said in zip(tasks, answers, strict=True)
            for task, answer in zip(mine, all_said, strict=True)
            if task not in LABEL_TASKS  # a picture without objects is described by nothing
        ]
        if said and not self._spoke and not any(said):
            raise AtelierError(MUTE, MUTE_HINT)
        self._spoke = self._spoke or any(said)

    def _result(self, image: Image.Image, tasks: Sequence[str], answers: Sequence[_Answer]) -> Result:
        cut = any(answer.cut for answer in answers)
        if tasks[0] in LABEL_TASKS:
            pairs = zip(tasks, answers, strict=True)
            text = tags_from([label for task, answer in pairs for label in self._labels(image, task, answer.text)])
        else:
            read = self._processor.post_process_generation(answers[0].text, task=tasks[0], image_size=image.size)
            text = str(read[tasks[0]])
        return Result(text, fault=fault_of(text), truncated=cut)

    def _labels(self, image: Image.Image, task: str, text: str) -> list[Label]:
        found = self._processor.post_process_generation(text, task=task, image_size=image.size)[task]
        labels = []
        for name, (left, top, right, bottom) in zip(found["labels"], found["bboxes"], strict=True):
            if ">" not in name:  # places without a name are read as one: "loc_12>"
                labels.append(Label(name, (right - left) * (bottom - top)))
        return labels


def _writes_tags(config: CaptionConfig) -> bool:
    """Whether it is PromptGen, the only one with a task for tags; no file of a model says so, its other tasks do."""
    spec = CAPTIONERS.get(config.captioner.name)
    return spec is not None and set(spec.tasks) >= set(PROMPTGEN_TASKS)
