"""The sandbox captioner: a Llava of three quarters of a million parameters that knows the drawn scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from captioners.base import Request, Result, Runtime
from captioners.config import CaptionConfig
from captioners.faults import fault_of
from captioners.generation import Drawing, end_ids, generate, is_cut_off
from captioners.loading import open_weights, require_files, to_device


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> SandboxCaptioner:
    """source: what `captioners.sandbox.build` wrote. Raises AtelierError for another folder and for other weights."""
    require_files(source, "config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
    model = open_weights(LlavaForConditionalGeneration, source, dtype=runtime.dtype)
    return SandboxCaptioner(to_device(model, runtime), open_processor(source), Drawing.of(config), runtime)


def open_processor(source: Path) -> LlavaProcessor:
    """Pictures are resized by Pillow, as in training, whether torchvision is installed or not."""
    pictures = SiglipImageProcessorPil.from_pretrained(source, local_files_only=True)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source, local_files_only=True)
    processor: LlavaProcessor = LlavaProcessor.from_pretrained(
        source, image_processor=pictures, tokenizer=tokenizer, local_files_only=True
    )
    return processor


class SandboxCaptioner:
    """See `captioners.base.Captioner`."""

    def __init__(self, model: Any, processor: LlavaProcessor, drawing: Drawing, runtime: Runtime) -> None:
        self._model, self._processor, self._drawing, self._runtime = model, processor, drawing, runtime

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        inputs = self._inputs(requests)
        seeds = [request.seed for request in requests]
        ids = generate(self._model, inputs, self._drawing, seeds, self._runtime)
        return [self._result(row) for row in ids[:, inputs["input_ids"].shape[1] :]]

    def _inputs(self, requests: Sequence[Request]) -> dict[str, Tensor]:
        """input_ids, attention_mask [B, L] padded on the left; pixel_values [B, 3, 64, 64]."""
        inputs = self._processor(
            images=[request.image for request in requests],
            text=[self._turn(request.prompt) for request in requests],
            padding=True,
            return_tensors="pt",
        ).to(self._runtime.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._runtime.dtype)
        return dict(inputs)

    def _turn(self, prompt: str) -> str:
        text: str = self._processor.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        return text

    def _result(self, ids: Tensor) -> Result:
        """ids [L]: the new tokens of one row."""
        text = self._processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
        cut = is_cut_off(ids, end_ids(self._model), self._drawing.max_tokens)
        return Result(text, fault=fault_of(text), truncated=cut)
