"""What a captioner is, and what it is given. Light: imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from PIL import Image

from captioners.config import CaptionConfig

if TYPE_CHECKING:
    import torch

Fault = Literal["", "empty", "repeats", "refused", "failed"]


class StopAskedError(Exception):
    """A person asked for the job to stop while a batch was being captioned; what was begun is dropped."""


@dataclass(frozen=True)
class Request:
    """One picture and what is asked of it.

    image: upright, RGB; prompt: text for the model (a task of Florence-2, the user's turn of a chat; "" for taggers);
    seed: of this picture alone, so that its caption does not depend on the batch that it is in.
    """

    image: Image.Image
    prompt: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What a captioner says of a picture.

    text: as it was written, without special tokens and prompt, not yet post-processed; fault: why it is no caption;
    why: the same in words, for a fault that `captioners.faults` has no words for; truncated: the longest length was
    reached before the end; tags: probability by name, of taggers.
    """

    text: str
    fault: Fault = ""
    why: str = ""
    truncated: bool = False
    tags: Mapping[str, float] = field(default_factory=dict)


class Captioner(Protocol):
    """A model that is loaded. `generate` of its config is resolved: no "auto" is left."""

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        """One result for each request, in order. Raises StopAskedError as soon as `runtime.stop_asked` says so, and
        lets errors of memory through: the caller halves the batch."""
        ...


@dataclass(frozen=True)
class Runtime:
    """Where and how a model runs. quantize: of the language model alone; stop_asked: a person wants the job to end."""

    device: torch.device
    dtype: torch.dtype
    quantize: Literal["none", "int8", "nf4"] = "none"
    stop_asked: Callable[[], bool] = lambda: False


class Load(Protocol):
    """The function `load` of every captioner's module."""

    def __call__(self, source: Path, config: CaptionConfig, runtime: Runtime) -> Captioner:
        """source: folder with the weights. Raises AtelierError with the remedy for what cannot be loaded."""
        ...


Record = dict[str, Any]
