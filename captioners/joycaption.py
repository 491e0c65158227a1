"""JoyCaption (Alpha Two and Beta One) as a Llava folder: SigLIP, a projector and Llama 3.1."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from captioners.base import Captioner, Request, Result, Runtime
from captioners.config import CaptionConfig
from captioners.faults import fault_of
from captioners.folders import read_config
from captioners.generation import Drawing, end_ids, generate, is_cut_off
from captioners.loading import check_quantized, open_weights, quantization, require_files, to_device
from trainers.errors import AtelierError

SYSTEM = "You are a helpful image captioner."
KEEP = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
LANGUAGE = "model.language_model"
END_OF_TURN = "<|eot_id|>"


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> Captioner:
    """Raises AtelierError for a folder of something else, and for weights that do not fit."""
    require_files(source, "config.json", "tokenizer.json", "tokenizer_config.json")
    read_config(source, ("llava",))
    model = open_weights(LlavaForConditionalGeneration, source, **quantization(runtime, KEEP))
    check_quantized(model, runtime, LANGUAGE)
    return JoyCaption(to_device(model, runtime), open_tokenizer(source), config, runtime)


class JoyCaption:
    """See `captioners.base.Captioner`."""

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        config: CaptionConfig,
        runtime: Runtime,
    ) -> None:
        self._model, self._tokenizer, self._runtime = model, tokenizer, runtime
        self._system = config.prompt.system.strip() or SYSTEM
        self._drawing = Drawing.of(config)
        self._ends = end_ids(model) | turn_ends(tokenizer)

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        rows = [self._ids(request.prompt) for request in requests]
        told = self._tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        size = self._model.config.vision_config.image_size
        pixels = to_pixels([request.image for request in requests], size)
        inputs = {name: told[name].to(self._runtime.device) for name in ("input_ids", "attention_mask")}
        inputs["pixel_values"] = pixels.to(self._runtime.device, self._runtime.dtype)
        seeds = [request.seed for request in requests]
        ids = generate(
            self._model,
            inputs,
            self._drawing,
            seeds,
            self._runtime,
            suppress_tokens=None,
            eos_token_id=sorted(self._ends),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        new = ids[:, told["input_ids"].shape[1] :]
        return [result_of(row, self._tokenizer, self._ends, self._drawing.max_tokens) for row in new]

    def _ids(self, prompt: str) -> list[int]:
        """Tokens of the whole chat, one image token for each patch. Raises AtelierError when it cannot be read."""
        ids = encode_chat(self._tokenizer, chat(self._tokenizer, self._system, prompt))
        config = self._model.config
        found = ids.count(config.image_token_id)
        if found != 1:
            raise AtelierError(
                f"The chat of JoyCaption has {found} places for a picture instead of one.",
                "Take special tokens out of the prompt; if there are none, download the model's files again.",
            )
        place = ids.index(config.image_token_id)
        return ids[:place] + [config.image_token_id] * _patches(config) + ids[place + 1 :]


def _patches(config: LlavaConfig) -> int:
    """How many features the vision tower gives, whatever `image_seq_length` of the file says."""
    vision = config.vision_config
    return (vision.image_size // vision.patch_size) ** 2 - (config.vision_feature_select_strategy == "default")


def open_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Pads on the left, so that new tokens follow the prompt. Raises AtelierError for one without a chat template."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    older = folder / "chat_template.json"  # of the processor, which knows where the picture goes
    if older.is_file():
        tokenizer.chat_template = json.loads(older.read_text("utf-8"))["chat_template"]
    if not tokenizer.chat_template or not tokenizer.bos_token or not tokenizer.pad_token:
        raise AtelierError(f"The tokenizer in {folder} is not that of a chat model.", "Download its files again.")
    return tokenizer


def chat(tokenizer: PreTrainedTokenizerFast, system: str, prompt: str) -> str:
    """The text that the model was trained to answer, in the words of the folder's own template."""
    turns = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def encode_chat(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Tokens with exactly one that begins a text: templates of some folders write it, tokenizers of others add it, and
    with two of them captions are poor without any sign of it. Raises AtelierError."""
    written = text.startswith(str(tokenizer.bos_token))
    ids: list[int] = tokenizer.encode(text, add_special_tokens=not written)
    found = ids.count(tokenizer.bos_token_id)
    if found != 1:
        raise AtelierError(
            f"The chat begins {found} times with {tokenizer.bos_token} instead of once.",
            "Take special tokens out of the prompt; if there are none, download the model's files again.",
        )
    return ids


def turn_ends(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    """The tokens that end an answer, whatever the generation config has."""
    vocabulary = tokenizer.get_vocab()
    return {vocabulary[token] for token in (END_OF_TURN, tokenizer.eos_token) if token in vocabulary}


def to_pixels(images: Sequence[Image.Image], size: int) -> Tensor:
    """[B, 3, size, size] in [-1, 1]. Squashed, not cropped, by Pillow: JoyCaption's author finds captions better than
    with the processor of the library."""
    squashed = [image.resize((size, size), Image.Resampling.LANCZOS) for image in images]
    stacked = torch.from_numpy(np.stack([np.asarray(image, dtype=np.float32) for image in squashed]))
    return (stacked / 255.0 - 0.5).div(0.5).permute(0, 3, 1, 2).contiguous()


def result_of(ids: Tensor, tokenizer: PreTrainedTokenizerFast, ends: set[int], max_tokens: int) -> Result:
    """ids [L]: the new tokens of one row, with what follows its end."""
    kept = list(takewhile(lambda token: token not in ends, ids.tolist()))
    text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
    return Result(text, fault_of(text), truncated=is_cut_off(ids, ends, max_tokens))
