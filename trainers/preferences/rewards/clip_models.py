"""CLIP as the scorers use it: embeddings of unit length, in fp32 whatever the model works in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPModel

from trainers.data.tokens import shared
from trainers.preferences.rewards.base import Runtime
from trainers.preferences.rewards.loading import DTYPES, open_folder, ready
from trainers.preferences.rewards.pixels import normalised

CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def open_clip_folder(source: Path, runtime: Runtime) -> Clip:
    """A CLIP in transformers' layout. Raises AtelierError for a folder that holds none."""
    return Clip(open_folder(CLIPModel, source, runtime), runtime)


class Clip:
    """side: of the square that the model looks at, in pixels."""

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self._model = ready(model, runtime)
        self._device, self._dtype = torch.device(runtime.device), DTYPES[runtime.precision]
        self.side: int = model.config.vision_config.image_size
        self._context: int = min(CONTEXT, model.config.text_config.max_position_embeddings)

    @property
    def logit_scale(self) -> float:
        """The learned factor of the cosine."""
        return float(self._model.logit_scale.float().exp())

    @torch.inference_mode()
    def look(self, pixels: Sequence[Tensor]) -> Tensor:
        """pixels: each [3, side, side] in [0, 1]. Embeddings [B, D]."""
        batch = torch.stack([normalised(one) for one in pixels]).to(self._device, self._dtype)
        # transformers gives a record, whose pooled output is the projected embedding
        return normalize(self._model.get_image_features(pixel_values=batch).pooler_output.float(), dim=-1)

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> Tensor:
        """Embeddings [B, D]. A prompt that many pictures share is read once."""
        distinct = list(dict.fromkeys(texts))
        ids = torch.tensor([token_ids(text, self._context) for text in distinct], device=self._device)
        # everything behind the end is hidden from it by the causal mask, so the padding needs no mask of its own
        found = normalize(self._model.get_text_features(input_ids=ids).pooler_output.float(), dim=-1)
        return found[[distinct.index(text) for text in texts]]

    def cosines(self, pixels: Sequence[Tensor], texts: Sequence[str]) -> Tensor:
        """[B], each picture with its own text."""
        return (self.look(pixels) * self.read(texts)).sum(dim=-1)


def token_ids(text: str, context: int = CONTEXT) -> list[int]:
    """Lower-cased byte-pair tokens between start and end; a text that is too long loses its tail, never its end."""
    tokenizer = shared("clip")
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    whole = text.encode("utf-8", "replace").decode()
    words = tokenizer.encode(whole, add_special_tokens=False).ids
    # marks that a prompt happens to hold would end it for the model
    words = [one for one in words if one not in (start, end)][: context - 2]
    return [start, *words, *[end] * (context - 1 - len(words))]
