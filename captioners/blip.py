"""BLIP: one short sentence for a picture. A prompt is the beginning of the sentence, and stays in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BlipForConditionalGeneration, BlipProcessor

from captioners.base import Captioner, Request, Result, Runtime
from captioners.config import CaptionConfig
from captioners.faults import fault_of
from captioners.folders import opening, read_config
from captioners.generation import Drawing, generate, is_cut_off
from captioners.loading import check_complete, to_device

REPETITION_PENALTY = 1.5  # without it the model likes to say the same again
# BLIP large learned these from captions on the web; they mean nothing
_ARTEFACT = re.compile(r"\b(?:(?P<article>an?) )?araff?e(?:d|s)?\b ?(?P<next>\w?)", re.IGNORECASE)


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> Captioner:
    """See `captioners.base.Load`."""
    read_config(source, ("blip",))
    with opening(source):
        model, info = BlipForConditionalGeneration.from_pretrained(
            source, dtype=runtime.dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
        check_complete(info, source)
        processor = BlipProcessor.from_pretrained(source)
    return Blip(to_device(model, runtime), processor, Drawing.of(config), runtime)


class Blip:
    """Prompts of one length are captioned together: the decoder counts its places from the left, padding included."""

    def __init__(self, model: Any, processor: Any, drawing: Drawing, runtime: Runtime) -> None:
        self._model, self._processor = model, processor
        self._drawing, self._runtime = drawing, runtime

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        prompts = [self._processor.tokenizer(request.prompt).input_ids for request in requests]
        results: dict[int, Result] = {}
        for rows in rows_by_length(prompts):
            found = self._continue([requests[row] for row in rows], torch.tensor([prompts[row] for row in rows]))
            results.update(zip(rows, found, strict=True))
        return [results[row] for row in range(len(requests))]

    def _continue(self, requests: Sequence[Request], prompts: Tensor) -> list[Result]:
        """prompts [B, P], each from the start token to the end token, which the model takes off itself."""
        pixels = self._processor.image_processor([request.image for request in requests], return_tensors="pt")
        inputs = {
            "pixel_values": pixels["pixel_values"].to(self._runtime.device, self._runtime.dtype),
            "input_ids": prompts.to(self._runtime.device),
            "attention_mask": torch.ones_like(prompts, device=self._runtime.device),
        }
        seeds = [request.seed for request in requests]
        ids = generate(self._model, inputs, self._drawing, seeds, self._runtime, repetition_penalty=REPETITION_PENALTY)
        texts = self._processor.batch_decode(ids[:, 1:], skip_special_tokens=True)  # the start token is no word of it
        new = ids[:, prompts.shape[1] - 1 :]
        ends = {self._model.config.text_config.sep_token_id}
        cut = [is_cut_off(row, ends, self._drawing.max_tokens) for row in new]
        return [_result(text, was_cut) for text, was_cut in zip(texts, cut, strict=True)]


def rows_by_length(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Places of the prompts that are equally long, so that none of them has to be padded."""
    groups: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts):
        groups.setdefault(len(prompt), []).append(row)
    return list(groups.values())


def without_artefacts(text: str) -> str:
    """ "an arafed man with a hat" is a man with a hat; the article fits the word that follows."""

    def mended(found: re.Match[str]) -> str:
        article, following = found["article"], found["next"]
        if not article or not following:
            return following
        return f"{article[0]}{'n' if following.lower() in 'aeiou' else ''} {following}"

    return _ARTEFACT.sub(mended, text).strip()


def _result(text: str, cut: bool) -> Result:
    text = without_artefacts(text)
    return Result(text, fault=fault_of(text), truncated=cut)
