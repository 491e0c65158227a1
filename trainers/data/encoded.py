"""A run's pictures and captions as the encoders left them, and the next batch read while one is trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from trainers.config import Data, TrainConfig
from trainers.data.cache import RAM_LIMIT, TensorCache, Tensors, key_of
from trainers.data.cuts import Cut, Encoder
from trainers.data.embeddings import Embeddings, LiveEmbeddings, StoredEmbeddings
from trainers.data.epoch import Sample
from trainers.data.sources import Source
from trainers.families.base import Conditioning, ModelFamily

Progress = Callable[[str, int, int], None]  # what, done, to do


class Encoded:
    """The caches of a run. Latents come from one, so the VAE is gone once `fill` has run; so do text embeddings, unless
    the config wants the text encoders to stay.
    """

    def __init__(
        self, config: TrainConfig, family: ModelFamily, device: torch.device, run: Path, ram_limit: int = RAM_LIMIT
    ) -> None:
        """run: folder of the run, which keeps encoded captions when no later run shall have them.

        ram_limit: bytes that latents, and as many that captions, may take in memory; the rest is read from files.
        """
        self._family, self._device = family, device
        self._run_texts = run / "text" if config.data.cache_text == "run" else None
        cache = Path(config.data.cache_dir)
        self._latents = TensorCache(cache / "latents" / key_of(family.fingerprint("vae")), ram_limit)
        if config.data.cache_text == "none":
            self._texts: Embeddings = LiveEmbeddings(family)
        else:
            self._texts = StoredEmbeddings(family, self._run_texts or cache / "text", ram_limit)

    @property
    def live(self) -> bool:
        """Whether texts may be asked for that were not encoded."""
        return self._texts.live

    def fill(
        self,
        parts: Sequence[tuple[Sample, Cut]],
        texts: Iterable[str],
        sources: tuple[Source, ...],
        data: Data,
        progress: Progress,
    ) -> None:
        """First every picture, then every text. Each encoder is loaded only if needed, and dropped.

        Raises DataError for a picture that can no longer be read.
        """
        encoder = Encoder(self._family, sources, data)
        try:
            self._latents.fill(
                [cut.key for _, cut in parts],
                lambda part: [encoder.encode(*parts[index]) for index in part],
                batch=1,  # pictures may differ in size
                progress=lambda done, total: progress("pictures", done, total),
            )
        finally:
            self._family.unload("vae")
        self._texts.prepare(texts, lambda done, total: progress("captions", done, total))

    def entry(self, sample: Sample, cut: Cut) -> Tensors:
        """latents [C,h,w], framing [6] and a mask [1,h,w] where there is one. Raises KeyError if not encoded."""
        tensors = self._latents.get(cut.key)
        if tensors is None:
            raise KeyError(f"{sample.picture.path} is not in the cache")
        return tensors

    def rows(self, texts: list[str]) -> Conditioning:
        """Text embeddings, one row each, where they lie. Raises KeyError for texts that were not encoded."""
        return self._texts.rows(texts)

    def conditioning(self, texts: list[str]) -> Conditioning:
        """The same on the device."""
        return self._texts.rows(texts).to(self._device)

    def framed(self, cond: Conditioning, framing: Tensor) -> Conditioning:
        """On the device, with what the family is told of sizes and cuts. framing [B,6], see `cuts.framing_of`."""
        return self._family.framed(cond.to(self._device), framing.to(self._device))

    def forget_texts(self) -> None:
        """Drop the encoded captions that are kept for this run alone."""
        if self._run_texts:
            shutil.rmtree(self._run_texts, ignore_errors=True)


T = TypeVar("T")


class Ahead(Generic[T]):
    """Reads what has a number, and the next one in a thread meanwhile."""

    def __init__(self, read: Callable[[int], T]) -> None:
        self._read, self._thread = read, ThreadPoolExecutor(1, "batches")
        self._waiting: dict[int, Future[T]] = {}

    def take(self, number: int) -> T:
        ahead = self._waiting.pop(number, None)
        self._waiting = {number + 1: self._thread.submit(self._read, number + 1)}
        return ahead.result() if ahead else self._read(number)
