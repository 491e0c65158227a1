"""The pictures of a run as batches. Every batch is addressed by its number; nothing depends on what came before."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainers import plan
from trainers.config import TrainConfig
from trainers.data import buckets, captions
from trainers.data.cache import TensorCache, key_of
from trainers.data.folder import Picture, Scan, open_picture
from trainers.families.base import Conditioning, ModelFamily

IMAGE_BATCH = 1  # pictures may differ in size
TEXT_BATCH = 8


@dataclass(frozen=True)
class Sample:
    """One picture at one size.

    id: follows from the file's bytes, so it survives renames; texts: see `captions.variants`.
    """

    id: str
    picture: Picture
    bucket: tuple[int, int]
    texts: tuple[str, ...]
    latent_key: str


@dataclass(frozen=True)
class Batch:
    """latents [B,C,h,w] fp32 and cond [B,...] on the device; ids and captions of the B samples.

    preserved: the same captions with another word in the trigger's place, when the config asks for them.
    """

    latents: Tensor
    cond: Conditioning
    preserved: Conditioning | None
    ids: tuple[str, ...]
    captions: tuple[str, ...]


class Dataset:
    """Samples, the caches that hold them encoded, and the order in which they are seen.

    Needs no encoder once `encode` has run: latents and text embeddings come from the caches.
    """

    def __init__(
        self, scan: Scan, config: TrainConfig, family: ModelFamily, device: torch.device, pixel_multiple: int
    ) -> None:
        self._config, self._family, self._device = config, family, device
        root = Path(config.data.cache_dir)
        self._latents = TensorCache(root / "latents" / key_of(family.fingerprint("vae")))
        self._texts = TensorCache(root / "text" / key_of(family.fingerprint("text")))
        samples = self._samples(scan, pixel_multiple)
        apart = plan.held_out(len(samples), config)
        shuffled = sorted(samples, key=lambda sample: key_of(config.run.seed, "held out", sample.id))
        self.held_out = tuple(shuffled[:apart])
        kept = set(self.held_out)
        self.samples = tuple(sample for sample in samples if sample not in kept)
        self._epoch, self._batches = 0, self._order(0)
        self.batches_per_epoch = len(self._batches)

    def _samples(self, scan: Scan, pixel_multiple: int) -> list[Sample]:
        seen: Counter[str] = Counter()
        samples = []
        for picture in scan.pictures:
            seen[picture.digest] += 1  # a copy is a sample of its own
            bucket = buckets.bucket_of(picture.width, picture.height, int(self._config.data.resolution), pixel_multiple)
            samples.append(
                Sample(
                    id=f"{picture.digest}-{seen[picture.digest]}",
                    picture=picture,
                    bucket=bucket,
                    texts=captions.variants(picture.caption, self._config.captions),
                    latent_key=key_of(picture.digest, *bucket, "centre", "lanczos"),
                )
            )
        return samples

    # ------------------------------------------------------------------ encoding

    def encode(self, extra_texts: tuple[str, ...], progress: Callable[[str, int, int], None]) -> None:
        """Fill the caches: first every picture, then every text. Each encoder is loaded only if needed, and dropped."""
        everything = [*self.samples, *self.held_out]
        written = {text for sample in everything for text in sample.texts}
        others = {other for text in written for other in self._preserved(text)}
        texts = sorted(written | others | set(extra_texts) | {""})
        try:
            self._latents.fill(
                [sample.latent_key for sample in everything],
                lambda part: [self._encode_picture(everything[index]) for index in part],
                batch=IMAGE_BATCH,
                progress=lambda done, total: progress("pictures", done, total),
            )
        finally:
            self._family.unload("vae")
        try:
            self._texts.fill(
                [key_of(text) for text in texts],
                lambda part: self._encode_texts([texts[index] for index in part]),
                batch=TEXT_BATCH,
                progress=lambda done, total: progress("captions", done, total),
            )
        finally:
            self._family.unload("text")

    def _encode_picture(self, sample: Sample) -> dict[str, Tensor]:
        self._family.load("vae")
        pixels = to_pixels(fit(open_picture(sample.picture.path), sample.bucket))
        return {"latents": self._family.encode_image(pixels[None])[0]}

    def _encode_texts(self, texts: list[str]) -> list[dict[str, Tensor]]:
        self._family.load("text")
        return [part.tensors for part in self._family.encode_prompt(texts).split()]

    def _preserved(self, text: str) -> tuple[str, ...]:
        if not self._config.objective.preservation:
            return ()
        return captions.preserved(text, self._config.captions.trigger, self._config.objective.preserved_words)

    def conditioning(self, texts: list[str]) -> Conditioning:
        """Text embeddings of texts that were encoded. Raises KeyError for others."""
        parts = []
        for text in texts:
            tensors = self._texts.get(key_of(text))
            if tensors is None:
                raise KeyError(text)
            parts.append(Conditioning(tensors))
        return Conditioning.stack(parts).to(self._device)

    # ------------------------------------------------------------------ order

    def _order(self, epoch: int) -> list[list[Sample]]:
        """The batches of an epoch. A batch has one size; a rest that does not fill a batch is a smaller one."""
        seed, size = self._config.run.seed, self._config.schedule.batch_size
        by_bucket: dict[tuple[int, int], list[Sample]] = defaultdict(list)
        for sample in self.samples:
            by_bucket[sample.bucket] += [sample] * self._config.data.repeats
        batches = []
        for bucket in sorted(by_bucket):
            visits = by_bucket[bucket]
            random.Random(f"{seed}:{epoch}:{bucket}").shuffle(visits)
            batches += [visits[first : first + size] for first in range(0, len(visits), size)]
        random.Random(f"{seed}:{epoch}").shuffle(batches)
        return batches

    def batch(self, number: int) -> Batch:
        """The batch with this number, counted from the start of the run."""
        epoch, position = divmod(number, self.batches_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._order(epoch)
        samples = self._batches[position]
        config = self._config
        texts = [
            captions.draw(sample.texts, config.captions.dropout, config.run.seed, number, place, sample.id)
            for place, sample in enumerate(samples)
        ]
        others = [
            captions.draw(choices, 0.0, config.run.seed, number, place, sample.id, "preserved")
            for place, (sample, text) in enumerate(zip(samples, texts, strict=True))
            if (choices := self._preserved(text))
        ]
        return self._assemble(samples, texts, others)

    def held_out_batch(self, number: int) -> Batch:
        """One held-out picture, always with its first text."""
        sample = self.held_out[number]
        return self._assemble([sample], [sample.texts[0]], [])

    def _assemble(self, samples: list[Sample], texts: list[str], others: list[str]) -> Batch:
        latents = []
        for sample in samples:
            tensors = self._latents.get(sample.latent_key)
            if tensors is None:
                raise KeyError(f"{sample.picture.path} is not in the cache")
            latents.append(tensors["latents"])
        return Batch(
            latents=torch.stack(latents).to(self._device, torch.float32),
            cond=self.conditioning(texts),
            preserved=self.conditioning(others) if others else None,
            ids=tuple(sample.id for sample in samples),
            captions=tuple(texts),
        )


def steps_of(config: TrainConfig, dataset: Dataset) -> int:
    """Optimizer steps of the run on this data."""
    return plan.total_steps(config, dataset.batches_per_epoch)


def fit(picture: Image.Image, bucket: tuple[int, int]) -> Image.Image:
    """Resize to cover the bucket and cut the centre out; Lanczos, as the common trainers do."""
    size, (left, top, right, bottom) = buckets.cover(*picture.size, bucket)
    # the part that stays is cut first: resizing all of a very long picture could fill the memory
    x, y = picture.width / size[0], picture.height / size[1]
    box = (left * x, top * y, right * x, bottom * y)
    return picture.resize(bucket, Image.Resampling.LANCZOS, box=box)


def to_pixels(picture: Image.Image) -> Tensor:
    """[3,H,W] fp32 in [-1,1]."""
    array = np.asarray(picture, dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
