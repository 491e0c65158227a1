"""Text from a language model: greedy, by beams, or drawn with a random generator of each row's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from captioners.base import Runtime, StopAskedError
from captioners.config import CaptionConfig


@dataclass(frozen=True)
class Drawing:
    """How words are chosen. temperature 0: the likeliest; top_k 0: of all."""

    temperature: float
    top_p: float
    top_k: int
    beams: int
    max_tokens: int

    @classmethod
    def of(cls, config: CaptionConfig) -> Drawing:
        """config: resolved."""
        part = config.generate
        return cls(float(part.temperature), float(part.top_p), int(part.top_k), int(part.beams), int(part.max_tokens))


class SeededNoise(LogitsProcessor):
    """Gumbel noise of each row's own generator: the likeliest word is then a draw from the distribution.

    `argmax(logits + Gumbel)` has the law of softmax(logits) (Gumbel 1954; Maddison et al. 2014). `generate` itself
    draws all rows from one generator, so that a caption would depend on the batch that its picture is in.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores [B, V], after temperature, top k and top p."""
        rows = [torch.rand(scores.shape[-1], generator=one, dtype=torch.float64) for one in self._generators]
        uniform = torch.stack(rows).clamp_min(1e-300)  # the logarithm of 0 is no number to add
        noise = -(-uniform.log()).log()
        return scores + noise.to(scores.device, scores.dtype)


class _Stop(StoppingCriteria):
    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), self._asked(), device=input_ids.device, dtype=torch.bool)


@torch.inference_mode()
def generate(
    model: Any, inputs: dict[str, Tensor], drawing: Drawing, seeds: Sequence[int], runtime: Runtime, **more: Any
) -> Tensor:
    """Token ids [B, L] as `model.generate` gives them. more: entries of the generation config of this model.

    Raises StopAskedError when the job was asked to stop meanwhile.
    """
    published = getattr(model, "generation_config", None)
    settings = copy.deepcopy(published) or GenerationConfig()
    # the published file of a model may ask for sampling, or for limits of its own
    for name in ("temperature", "top_p", "top_k", "min_p", "typical_p", "max_length"):
        setattr(settings, name, None)
    settings.do_sample, settings.num_beams, settings.max_new_tokens = False, drawing.beams, drawing.max_tokens
    if drawing.beams == 1:
        settings.early_stopping, settings.length_penalty = False, None
    for name, value in more.items():
        setattr(settings, name, value)
    processors = LogitsProcessorList()
    if drawing.temperature and drawing.beams == 1:
        processors += [TemperatureLogitsWarper(drawing.temperature)]
        processors += [TopKLogitsWarper(drawing.top_k)] if drawing.top_k else []
        processors += [TopPLogitsWarper(drawing.top_p)] if drawing.top_p < 1 else []
        processors += [SeededNoise(seeds)]
    # transformers puts the model's own value in for each None that it is given
    model.generation_config = settings
    try:
        ids: Tensor = model.generate(
            **inputs,
            generation_config=settings,
            logits_processor=processors,
            stopping_criteria=[_Stop(runtime.stop_asked)],
        )
    finally:
        model.generation_config = published
    if runtime.stop_asked():
        raise StopAskedError
    return ids


def is_cut_off(ids: Tensor, ends: set[int], max_tokens: int) -> bool:
    """Whether the new tokens of one row [L] reached the longest length without an end token."""
    return len(ids) >= max_tokens and not any(int(token) in ends for token in ids)


def end_ids(model: Any) -> set[int]:
    """The tokens that end a text of this model."""
    found = model.generation_config.eos_token_id
    return set(found) if isinstance(found, list) else {found} if found is not None else set()
