"""The pictures of a run as batches. Every batch is addressed by its number; nothing depends on what came before."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from trainers import plan
from trainers.config import TrainConfig
from trainers.data import captions, epoch
from trainers.data.cache import RAM_LIMIT, TensorCache, key_of
from trainers.data.cuts import Cut, Encoder, cuts_of
from trainers.data.embeddings import Embeddings, LiveEmbeddings, StoredEmbeddings
from trainers.data.epoch import Sample
from trainers.data.folder import Picture, Scan
from trainers.families.base import Conditioning, ModelFamily

REMEMBERED = 65_536  # samples whose texts and cuts are kept at hand


@dataclass(frozen=True)
class Batch:
    """latents [B,C,h,w] fp32 and cond [B,...] on the device; ids and captions of the B samples.

    weight [B] fp32: how much each sample counts; mask [B,1,h,w] fp32: how much each place does, None for all alike.
    preserved: the same captions with another word in the trigger's place, when the config asks for them.
    """

    latents: Tensor
    cond: Conditioning
    preserved: Conditioning | None
    ids: tuple[str, ...]
    captions: tuple[str, ...]
    weight: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True)
class _Drawn:
    """What a batch shows, still on the CPU. cond is None when the texts are encoded as they come."""

    samples: tuple[Sample, ...]
    texts: list[str]
    others: list[str]
    latents: Tensor
    framing: Tensor
    mask: Tensor | None
    cond: Conditioning | None
    preserved: Conditioning | None


class Dataset:
    """Samples, the caches that hold them encoded, and the order in which they are seen.

    Latents come from a cache, so the VAE is gone once `encode` has run; so do text embeddings, unless the config wants
    the text encoders to stay. The next batch is read while the current one is trained.
    """

    def __init__(
        self,
        scan: Scan,
        config: TrainConfig,
        family: ModelFamily,
        device: torch.device,
        run: Path,
        ram_limit: int = RAM_LIMIT,
    ) -> None:
        """run: folder of the run, which keeps encoded captions when no later run shall have them.

        ram_limit: bytes that latents, and as many that captions, may take in memory; the rest is read from files.
        """
        self._config, self._family, self._device = config, family, device
        self._sources, self._run_texts = scan.sources, run / "text"
        cache = Path(config.data.cache_dir)
        self._latents = TensorCache(cache / "latents" / key_of(family.fingerprint("vae")), ram_limit)
        if config.data.cache_text == "none":
            self._texts: Embeddings = LiveEmbeddings(family)
        else:
            kept = cache / "text" if config.data.cache_text == "disk" else self._run_texts
            self._texts = StoredEmbeddings(family, kept, ram_limit)
        trained, held_out = epoch.split(epoch.samples(scan, config), scan, config)
        self.samples, self.held_out = tuple(trained), tuple(held_out)
        self._epochs = epoch.Epochs(trained, scan, config)
        self.batches_per_epoch = self._epochs.batches_per_epoch
        self._order = lru_cache(2)(self._epochs.batches)
        self._texts_of = lru_cache(REMEMBERED)(self._written)
        self._cuts_of = lru_cache(REMEMBERED)(lambda sample: cuts_of(sample, self._sources, config))
        self._reader = ThreadPoolExecutor(1, "batches")
        self._ahead: dict[int, Future[_Drawn]] = {}

    # ------------------------------------------------------------------ encoding

    def encode(self, extra_texts: tuple[str, ...], progress: Callable[[str, int, int], None]) -> None:
        """Fill the caches: first every picture, then every text. Each encoder is loaded only if needed, and dropped.

        Raises DataError for a picture that can no longer be read.
        """
        everything = [(sample, cut) for sample in (*self.samples, *self.held_out) for cut in self._cuts_of(sample)]
        encoder = Encoder(self._family, self._sources, self._config.data)
        try:
            self._latents.fill(
                [cut.key for _, cut in everything],
                lambda part: [encoder.encode(*everything[index]) for index in part],
                batch=1,  # pictures may differ in size
                progress=lambda done, total: progress("pictures", done, total),
            )
        finally:
            self._family.unload("vae")
        self._texts.prepare(self._all_texts(extra_texts), lambda done, total: progress("captions", done, total))

    def _all_texts(self, extra: tuple[str, ...]) -> set[str]:
        if self._texts.live:
            return set()
        written = {text for sample in (*self.samples, *self.held_out) for text in self._texts_of(sample)}
        others = {other for text in written for other in self._preserved(text)}
        return written | others | {*extra, ""}

    def _written(self, sample: Sample) -> tuple[str, ...]:
        config, stand_in = epoch.wording(sample.picture, self._sources, self._config.captions)
        return captions.variants(sample.picture.lines, config, stand_in)

    def _preserved(self, text: str) -> tuple[str, ...]:
        if not self._config.objective.preservation:
            return ()
        return captions.preserved(text, self._config.captions.trigger, self._config.objective.preserved_words)

    def conditioning(self, texts: list[str]) -> Conditioning:
        """Text embeddings on the device. Raises KeyError for texts that were not encoded."""
        return self._texts.rows(texts).to(self._device)

    def forget_texts(self) -> None:
        """Drop the encoded captions that are kept for this run alone."""
        if self._config.data.cache_text == "run":
            shutil.rmtree(self._run_texts, ignore_errors=True)

    # ------------------------------------------------------------------ batches

    def batch(self, number: int) -> Batch:
        """The batch with this number, counted from the start of the run."""
        ahead = self._ahead.pop(number, None)
        self._ahead = {number + 1: self._reader.submit(self._draw, number + 1)}
        return self._on_device(ahead.result() if ahead else self._draw(number))

    def held_out_batch(self, number: int) -> Batch:
        """One held-out picture, always with its first text and cut as first."""
        sample = self.held_out[number]
        return self._on_device(self._read((sample,), [self._cuts_of(sample)[0]], [self._texts_of(sample)[0]], []))

    def _draw(self, number: int) -> _Drawn:
        at_epoch, position = divmod(number, self.batches_per_epoch)
        samples = self._order(at_epoch)[position]
        texts, others, cuts = [], [], []
        for place, sample in enumerate(samples):
            keys = (self._config.run.seed, number, place, sample.id)
            texts.append(self._text(sample, *keys))
            cuts.append(_drawn_cut(self._cuts_of(sample), *keys))
            if choices := self._preserved(texts[-1]):
                others.append(captions.draw(choices, 0.0, *keys, "preserved"))
        return self._read(tuple(samples), cuts, texts, others)

    def _text(self, sample: Sample, *keys: int | str) -> str:
        dropout = self._config.captions.dropout
        if not self._texts.live:
            return captions.draw(self._texts_of(sample), dropout, *keys)
        config, stand_in = epoch.wording(sample.picture, self._sources, self._config.captions)
        return captions.draw((captions.live(sample.picture.lines, config, stand_in, *keys),), dropout, *keys)

    def _read(self, samples: tuple[Sample, ...], cuts: list[Cut], texts: list[str], others: list[str]) -> _Drawn:
        entries = []
        for sample, cut in zip(samples, cuts, strict=True):
            tensors = self._latents.get(cut.key)
            if tensors is None:
                raise KeyError(f"{sample.picture.path} is not in the cache")
            entries.append(tensors)
        latents = torch.stack([tensors["latents"] for tensors in entries]).float()
        stored = not self._texts.live
        return _Drawn(
            samples=samples,
            texts=texts,
            others=others,
            latents=latents,
            framing=torch.stack([tensors["framing"] for tensors in entries]),
            mask=self._mask(entries, latents),
            cond=self._texts.rows(texts) if stored else None,
            preserved=self._texts.rows(others) if stored and others else None,
        )

    def _mask(self, entries: list[dict[str, Tensor]], latents: Tensor) -> Tensor | None:
        """[B,1,h,w]: 1 where the picture counts in full, less outside its mask."""
        if not any("mask" in tensors for tensors in entries):
            return None
        everything = torch.ones(1, *latents.shape[-2:])
        shares = torch.stack([tensors.get("mask", everything).float() for tensors in entries])
        outside = self._config.data.unmasked_weight
        return outside + (1 - outside) * shares

    def _on_device(self, drawn: _Drawn) -> Batch:
        cond = self._texts.rows(drawn.texts) if drawn.cond is None else drawn.cond
        preserved = self._texts.rows(drawn.others) if drawn.preserved is None and drawn.others else drawn.preserved
        return Batch(
            latents=drawn.latents.to(self._device),
            cond=self._framed(cond, drawn.framing),
            preserved=self._framed(preserved, drawn.framing) if preserved else None,
            ids=tuple(sample.id for sample in drawn.samples),
            captions=tuple(drawn.texts),
            weight=torch.tensor([self._weight(sample.picture) for sample in drawn.samples], device=self._device),
            mask=drawn.mask.to(self._device) if drawn.mask is not None else None,
        )

    def _framed(self, cond: Conditioning, framing: Tensor) -> Conditioning:
        return self._family.framed(cond.to(self._device), framing.to(self._device))

    def _weight(self, picture: Picture) -> float:
        """The weight of its data set; that of a regularisation set has prior_weight in it already."""
        source = self._sources[picture.source]
        alone = picture.regularisation and not source.regularisation
        return source.loss_weight * (self._config.data.prior_weight if alone else 1.0)


def _drawn_cut(cuts: tuple[Cut, ...], *keys: int | str) -> Cut:
    return cuts[random.Random(repr((*keys, "cut"))).randrange(len(cuts))] if len(cuts) > 1 else cuts[0]


def steps_of(config: TrainConfig, dataset: Dataset) -> int:
    """Optimizer steps of the run on this data."""
    return plan.total_steps(config, dataset.batches_per_epoch)
