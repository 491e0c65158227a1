"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL, through their native classes and without torchvision.

Their published processors also read videos, for which transformers wants torchvision; pictures need none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from captioners.base import Request, Result, Runtime
from captioners.config import CaptionConfig
from captioners.faults import fault_of
from captioners.folders import read_config
from captioners.generation import Drawing, end_ids, generate, is_cut_off
from captioners.loading import check_complete, check_quantized, quantization, to_device
from captioners.preflight import overflows
from trainers.errors import ConfigError

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
# 1280 tokens of 28 x 28 pixels, where the makers see no gain for whole pictures; a photo of 24 MP would be 24,000
MOST_PIXELS = 1280 * 28 * 28
LONGEST_STRIP = 200  # ratio of the sides that the processor takes
THOUGHT, THOUGHT_END = "<think>", "</think>"


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> QwenVL:
    """source: folder as published. Raises ConfigError for fp16, AtelierError for weights of another model."""
    if runtime.dtype == torch.float16:
        raise overflows()
    read_config(source, KINDS)
    model, info = AutoModelForImageTextToText.from_pretrained(
        source,
        **quantization(runtime, keep=("model.visual", "lm_head")),
        output_loading_info=True,
        local_files_only=True,
    )
    check_complete(info, source)
    check_quantized(model, runtime, inside="model.language_model")
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    processor = Qwen2VLImageProcessorPil.from_pretrained(source, local_files_only=True)
    drawing = Drawing.of(config)
    return QwenVL(
        to_device(model, runtime), tokenizer, processor, _template(source), config.prompt.system, drawing, runtime
    )


def _template(source: Path) -> str | None:
    """Of chat_template.json, where older processors keep it; None: the tokenizer knows it."""
    file = source / "chat_template.json"
    if (source / "chat_template.jinja").exists() or not file.exists():
        return None
    return str(json.loads(file.read_text(encoding="utf-8"))["chat_template"])


class QwenVL:
    """A loaded model. template: of the chat, None for the tokenizer's; system: "" for none of one's own."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        processor: Any,
        template: str | None,
        system: str,
        drawing: Drawing,
        runtime: Runtime,
    ) -> None:
        self._model, self._tokenizer, self._processor = model, tokenizer, processor
        self._template, self._system, self._drawing, self._runtime = template, system, drawing, runtime

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        chats = [self._chat(request.prompt) for request in requests]
        inputs = self._inputs(chats, [request.image for request in requests])
        ids = generate(self._model, inputs, self._drawing, [request.seed for request in requests], self._runtime)
        new = ids[:, inputs["input_ids"].shape[1] :]
        return [self._result(row, chat) for row, chat in zip(new, chats, strict=True)]

    def _chat(self, prompt: str) -> str:
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
        ]
        if self._system:
            turns.insert(0, {"role": "system", "content": self._system})
        chat: str = self._tokenizer.apply_chat_template(
            turns,
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # templates that know no thinking pass it over
        )
        return chat

    def _inputs(self, chats: Sequence[str], images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Ids, mask and mm_token_type_ids [B, L]; pixel_values [patches of all pictures, D]; image_grid_thw [B, 3]."""
        limits = self._processor.size
        size = {"shortest_edge": limits.shortest_edge, "longest_edge": min(limits.longest_edge, MOST_PIXELS)}
        seen = self._processor([_widened(image) for image in images], size=size, return_tensors="pt")
        tokens_of = seen["image_grid_thw"].prod(-1) // self._processor.merge_size**2
        texts = [self._expanded(chat, int(count)) for chat, count in zip(chats, tokens_of, strict=True)]
        read = self._tokenizer(texts, padding=True, padding_side="left", add_special_tokens=False, return_tensors="pt")
        inputs = {
            "input_ids": read.input_ids,
            "attention_mask": read.attention_mask,
            # where the picture is, for the three-dimensional positions
            "mm_token_type_ids": (read.input_ids == self._model.config.image_token_id).long(),
            "pixel_values": seen["pixel_values"].to(self._runtime.dtype),
            "image_grid_thw": seen["image_grid_thw"],
        }
        return {name: tensor.to(self._runtime.device) for name, tensor in inputs.items()}

    def _expanded(self, chat: str, count: int) -> str:
        """The chat with so many tokens of the picture at its place."""
        place: str = self._tokenizer.convert_ids_to_tokens(self._model.config.image_token_id)
        if chat.count(place) != 1:
            what = f"the chat has {chat.count(place)} places for the picture."
            raise ConfigError("prompt.text", what, f"Take {place} out of prompts and captions.")
        return chat.replace(place, place * count)

    def _result(self, ids: Tensor, chat: str) -> Result:
        text = self._tokenizer.decode(ids, skip_special_tokens=True).strip()
        truncated = is_cut_off(ids, end_ids(self._model), self._drawing.max_tokens)
        thinks = text.startswith(THOUGHT) or chat.rstrip().endswith(THOUGHT)
        _, end, rest = text.rpartition(THOUGHT_END)
        if thinks and not end:
            return Result("", "empty", "the model was still thinking at generate.max_tokens", truncated)
        return Result(rest.strip(), fault_of(rest), truncated=truncated)


def _widened(image: Image.Image) -> Image.Image:
    """A strip that is too narrow for the processor, on white."""
    width, height = image.size
    if max(width, height) <= LONGEST_STRIP * min(width, height):
        return image
    least = -(-max(width, height) // LONGEST_STRIP)
    return ImageOps.pad(image, (max(width, least), max(height, least)), color="white")
