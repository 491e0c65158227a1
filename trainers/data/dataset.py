"""The pictures of a run as batches. Every batch is addressed by its number; nothing depends on what came before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from trainers import plan
from trainers.config import TrainConfig
from trainers.data import captions, epoch
from trainers.data.cache import RAM_LIMIT
from trainers.data.cuts import Cut, cuts_of
from trainers.data.encoded import Ahead, Encoded, Progress
from trainers.data.epoch import Sample
from trainers.data.folder import Picture, Scan
from trainers.families.base import Conditioning, ModelFamily

REMEMBERED = 65_536  # samples whose texts and cuts are kept at hand


@dataclass(frozen=True)
class Batch:
    """latents [B,C,h,w] fp32 and cond [B,...] on the device; ids and captions of the B samples.

    weight [B] fp32: how much each sample counts; mask [B,1,h,w] fp32: how much each place does, None for all alike.
    preserved: the same captions with another word in the trigger's place, when the config asks for them.
    loser [B,C,h,w] fp32: of a batch of pairs, whose latents are the preferred pictures; cond holds for both.
    wanted [B] bool: of a batch of single pictures that are liked or not.
    """

    latents: Tensor
    cond: Conditioning
    preserved: Conditioning | None
    ids: tuple[str, ...]
    captions: tuple[str, ...]
    weight: Tensor
    mask: Tensor | None = None
    loser: Tensor | None = None
    wanted: Tensor | None = None


class Batches(Protocol):
    """What the loop, previews and validation ask of a data set."""

    @property
    def samples(self) -> Sequence[object]: ...

    @property
    def held_out(self) -> Sequence[object]: ...

    @property
    def batches_per_epoch(self) -> int: ...

    def encode(self, extra_texts: tuple[str, ...], progress: Progress) -> None: ...

    def batch(self, number: int) -> Batch: ...

    def held_out_batch(self, number: int) -> Batch: ...

    def conditioning(self, texts: list[str]) -> Conditioning: ...

    def forget_texts(self) -> None: ...


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
    """Samples, the caches that hold them encoded, and the order in which they are seen."""

    def __init__(
        self,
        scan: Scan,
        config: TrainConfig,
        family: ModelFamily,
        device: torch.device,
        run: Path,
        ram_limit: int = RAM_LIMIT,
    ) -> None:
        """run, ram_limit: as for `Encoded`."""
        self._config, self._device, self._sources = config, device, scan.sources
        self._encoded = Encoded(config, family, device, run, ram_limit)
        trained, held_out = epoch.split(epoch.samples(scan, config), scan, config)
        self.samples, self.held_out = tuple(trained), tuple(held_out)
        self._epochs = epoch.Epochs(trained, scan, config)
        self.batches_per_epoch = self._epochs.batches_per_epoch
        self._order = lru_cache(2)(self._epochs.batches)
        self._texts_of = lru_cache(REMEMBERED)(self._written)
        self._cuts_of = lru_cache(REMEMBERED)(lambda sample: cuts_of(sample, self._sources, config))
        self._ahead = Ahead(self._draw)

    # ------------------------------------------------------------------ encoding

    def encode(self, extra_texts: tuple[str, ...], progress: Progress) -> None:
        """Fill the caches with every picture and every text. Raises DataError for a picture that can no longer be read.

        extra_texts: that will be asked for beside the captions, as previews do.
        """
        everything = [(sample, cut) for sample in (*self.samples, *self.held_out) for cut in self._cuts_of(sample)]
        self._encoded.fill(everything, self._all_texts(extra_texts), self._sources, self._config.data, progress)

    def _all_texts(self, extra: tuple[str, ...]) -> set[str]:
        if self._encoded.live:
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
        return self._encoded.conditioning(texts)

    def forget_texts(self) -> None:
        """Drop the encoded captions that are kept for this run alone."""
        self._encoded.forget_texts()

    # ------------------------------------------------------------------ batches

    def batch(self, number: int) -> Batch:
        """The batch with this number, counted from the start of the run."""
        return self._on_device(self._ahead.take(number))

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
        if not self._encoded.live:
            return captions.draw(self._texts_of(sample), dropout, *keys)
        config, stand_in = epoch.wording(sample.picture, self._sources, self._config.captions)
        return captions.draw((captions.live(sample.picture.lines, config, stand_in, *keys),), dropout, *keys)

    def _read(self, samples: tuple[Sample, ...], cuts: list[Cut], texts: list[str], others: list[str]) -> _Drawn:
        entries = [self._encoded.entry(sample, cut) for sample, cut in zip(samples, cuts, strict=True)]
        latents = torch.stack([tensors["latents"] for tensors in entries]).float()
        stored = not self._encoded.live
        return _Drawn(
            samples=samples,
            texts=texts,
            others=others,
            latents=latents,
            framing=torch.stack([tensors["framing"] for tensors in entries]),
            mask=self._mask(entries, latents),
            cond=self._encoded.rows(texts) if stored else None,
            preserved=self._encoded.rows(others) if stored and others else None,
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
        cond = self._encoded.rows(drawn.texts) if drawn.cond is None else drawn.cond
        preserved = self._encoded.rows(drawn.others) if drawn.preserved is None and drawn.others else drawn.preserved
        return Batch(
            latents=drawn.latents.to(self._device),
            cond=self._encoded.framed(cond, drawn.framing),
            preserved=self._encoded.framed(preserved, drawn.framing) if preserved else None,
            ids=tuple(sample.id for sample in drawn.samples),
            captions=tuple(drawn.texts),
            weight=torch.tensor([self._weight(sample.picture) for sample in drawn.samples], device=self._device),
            mask=drawn.mask.to(self._device) if drawn.mask is not None else None,
        )

    def _weight(self, picture: Picture) -> float:
        """The weight of its data set; that of a regularisation set has prior_weight in it already."""
        source = self._sources[picture.source]
        alone = picture.regularisation and not source.regularisation
        return source.loss_weight * (self._config.data.prior_weight if alone else 1.0)


def _drawn_cut(cuts: tuple[Cut, ...], *keys: int | str) -> Cut:
    return cuts[random.Random(repr((*keys, "cut"))).randrange(len(cuts))] if len(cuts) > 1 else cuts[0]


def steps_of(config: TrainConfig, dataset: Batches) -> int:
    """Optimizer steps of the run on this data."""
    return plan.total_steps(config, dataset.batches_per_epoch)
