"""What a scorer is, and what it is given. Light: imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

Precision = Literal["fp32", "bf16", "fp16"]
Files = Mapping[str, Path]  # name of a part of the scorer -> the folder or file that it is in


class Scorer(Protocol):
    """A model that is loaded.

    name: that of the catalog; version: says which weights, which preprocessing and which number format made a score,
    so that scores of different versions are never compared.
    """

    name: str
    version: str

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        """One score for each picture and its prompt, in order; higher is better. None: the scorer does not apply, as
        one of bodies does to a picture without people. Lets errors of memory through: the caller halves the batch.
        """
        ...


@dataclass(frozen=True)
class Runtime:
    """Where and how a scorer runs. device: as torch names it; threads: of the processor, 0 for the library's choice."""

    device: str = "cpu"
    precision: Precision = "fp32"
    threads: int = 0


class Load(Protocol):
    """The function `load` of every scorer's module."""

    def __call__(self, files: Files, runtime: Runtime, version: str) -> Scorer:
        """files: a place for each part of its `ScorerSpec`; version: what the scorer is to call itself. Reads the
        weights once. Raises AtelierError with the remedy for what cannot be loaded."""
        ...
