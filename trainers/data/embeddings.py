"""What the text encoders made of captions: looked up, or made as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import torch

from trainers.data.cache import RAM_LIMIT, TensorCache, key_of
from trainers.families.base import Conditioning, ModelFamily

TEXT_BATCH = 8

Progress = Callable[[int, int], None]


class Embeddings(Protocol):
    """Texts -> conditioning on the CPU or the encoder's device, one row each."""

    live: bool  # whether texts may be asked for that were not prepared

    def prepare(self, texts: Iterable[str], progress: Progress) -> None:
        """Encode what is missing. progress: is told (texts done, texts to do)."""
        ...

    def rows(self, texts: list[str]) -> Conditioning:
        """Raises KeyError for a text that is not to be had."""
        ...


class StoredEmbeddings:
    """Encoded once, each under its final text; the encoders are gone afterwards."""

    live = False

    def __init__(self, family: ModelFamily, root: Path, ram_limit: int = RAM_LIMIT) -> None:
        self._family = family
        self._cache = TensorCache(root / key_of(family.fingerprint("text")), ram_limit)

    def prepare(self, texts: Iterable[str], progress: Progress) -> None:
        wanted = sorted(set(texts))
        try:
            self._cache.fill(
                [key_of(text) for text in wanted],
                lambda part: self._encode([wanted[index] for index in part]),
                batch=TEXT_BATCH,
                progress=progress,
            )
        finally:
            self._family.unload("text")

    def _encode(self, texts: list[str]) -> list[dict[str, torch.Tensor]]:
        self._family.load("text")
        return [part.tensors for part in self._family.encode_prompt(texts).split()]

    def rows(self, texts: list[str]) -> Conditioning:
        parts = []
        for text in texts:
            tensors = self._cache.get(key_of(text))
            if tensors is None:
                raise KeyError(text)
            parts.append(Conditioning(tensors))
        return Conditioning.stack(parts)


class LiveEmbeddings:
    """The encoders stay loaded and read every text when it is wanted."""

    live = True

    def __init__(self, family: ModelFamily) -> None:
        self._family = family

    def prepare(self, texts: Iterable[str], progress: Progress) -> None:
        self._family.load("text")

    def rows(self, texts: list[str]) -> Conditioning:
        self._family.load("text")
        return self._family.encode_prompt(texts)
