"""BLIP-2: a picture's tokens in front of a frozen language model, OPT or FLAN-T5. One short sentence, or an answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, Blip2ForConditionalGeneration

from captioners.base import Captioner, Request, Result, Runtime
from captioners.blip import REPETITION_PENALTY, rows_by_length
from captioners.config import CaptionConfig
from captioners.faults import fault_of
from captioners.folders import opening, read_config
from captioners.generation import Drawing, end_ids, generate, is_cut_off
from captioners.loading import check_complete, check_quantized, quantization, to_device

KEEP = ("vision_model", "qformer", "language_projection", "lm_head")


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> Captioner:
    """See `captioners.base.Load`.

    Blip2Processor is not used: it fails on a tokenizer that declares its word for pictures.
    """
    read_config(source, ("blip-2",))
    with opening(source):
        model, info = Blip2ForConditionalGeneration.from_pretrained(
            source, output_loading_info=True, ignore_mismatched_sizes=True, **quantization(runtime, KEEP)
        )
        check_complete(info, source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        pictures = AutoImageProcessor.from_pretrained(source)
    check_quantized(model, runtime, inside="language_model", keep=("lm_head", "wo"))
    _complete_settings(model, tokenizer)
    return Blip2(to_device(model, runtime), tokenizer, pictures, Drawing.of(config), runtime)


def _complete_settings(model: Any, tokenizer: Any) -> None:
    """Fill what older files leave out."""
    config, settings = model.config, model.generation_config
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"):
        if getattr(settings, name) is None:
            setattr(settings, name, getattr(config.text_config, name, None))
    if config.image_token_index is None:
        # any word does whose places the picture takes and that no prompt holds; prompts are not padded here
        config.image_token_index = tokenizer.pad_token_id


class Blip2:
    """Prompts of one length are captioned together, so that no padding comes between picture and words."""

    def __init__(self, model: Any, tokenizer: Any, pictures: Any, drawing: Drawing, runtime: Runtime) -> None:
        self._model, self._tokenizer, self._pictures = model, tokenizer, pictures
        self._drawing, self._runtime = drawing, runtime

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        prompts = [self._words(request.prompt) for request in requests]
        results: dict[int, Result] = {}
        for rows in rows_by_length(prompts):
            found = self._continue([requests[row] for row in rows], torch.tensor([prompts[row] for row in rows]))
            results.update(zip(rows, found, strict=True))
        return [results[row] for row in range(len(requests))]

    def _words(self, prompt: str) -> list[int]:
        """The picture's places come even before the start token."""
        config = self._model.config
        start = config.text_config.bos_token_id
        words: list[int] = self._tokenizer(prompt).input_ids
        if not words or (words[0] != start and not config.text_config.is_encoder_decoder):
            words = [start, *words]  # OPT writes nonsense without it, and not every tokenizer file asks for it
        return [*[config.image_token_index] * config.num_query_tokens, *words]

    def _continue(self, requests: Sequence[Request], prompts: Tensor) -> list[Result]:
        """prompts [B, P]."""
        pixels = self._pictures([request.image for request in requests], return_tensors="pt")["pixel_values"]
        inputs = {
            "pixel_values": pixels.to(self._runtime.device, self._runtime.dtype),
            "input_ids": prompts.to(self._runtime.device),
            "attention_mask": torch.ones_like(prompts, device=self._runtime.device),
        }
        seeds = [request.seed for request in requests]
        ids = generate(self._model, inputs, self._drawing, seeds, self._runtime, repetition_penalty=REPETITION_PENALTY)
        # OPT repeats the prompt in front of what it writes; T5 begins with a start token
        new = ids[:, 1:] if self._model.language_model.config.is_encoder_decoder else ids[:, prompts.shape[1] :]
        texts = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        ends, longest = end_ids(self._model), self._drawing.max_tokens
        return [_result(text.strip(), is_cut_off(row, ends, longest)) for text, row in zip(texts, new, strict=True)]


def _result(text: str, cut: bool) -> Result:
    return Result(text, fault=fault_of(text), truncated=cut)
