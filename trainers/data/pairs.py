"""Preference pairs of a run as batches: nothing but the picture differs between winner and loser."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from trainers.config import TrainConfig
from trainers.data import captions
from trainers.data.cache import RAM_LIMIT
from trainers.data.cuts import CENTRE, Cut, cut_at
from trainers.data.dataset import Batch
from trainers.data.encoded import Ahead, Encoded, Progress
from trainers.data.epoch import Sample
from trainers.data.pair_samples import PairEpochs, PairSample, Place, arranged, is_cut, places_of, source_of
from trainers.data.pair_scan import PairScan
from trainers.families.base import Conditioning, ModelFamily


@dataclass(frozen=True)
class _Shown:
    """One visit of a pair: place and flip hold for both pictures, text for both passes."""

    pair: PairSample
    text: str
    place: Place
    flip: bool


@dataclass(frozen=True)
class _Drawn:
    """What a batch shows, still on the CPU. cond is None when the texts are encoded as they come."""

    shown: tuple[_Shown, ...]
    latents: Tensor
    loser: Tensor | None
    framing: Tensor
    cond: Conditioning | None


class PairDataset:
    """Pairs in the order in which they are seen, as `Dataset` has pictures. A batch holds pairs, or, for losses that
    learn from them, single pictures that are wanted or not.

    A prompt is read as it was drawn from, with no trigger word and no prefix: what the pictures answer to must not
    change. Dropout empties it for both pictures, which is the same null as in plain training.
    """

    def __init__(
        self,
        scan: PairScan,
        config: TrainConfig,
        family: ModelFamily,
        device: torch.device,
        run: Path,
        ram_limit: int = RAM_LIMIT,
    ) -> None:
        """run, ram_limit: as for `Encoded`."""
        self._config, self._device = config, device
        self._sources = (source_of(scan, config),)
        self._data = config.data.model_copy(update={"mask": "none"})  # a mask would make the two errors differ in it
        self._encoded = Encoded(config, family, device, run, ram_limit)
        found = arranged(scan, config)
        self.samples, self.held_out = found.trained, found.held_out
        self._epochs = PairEpochs(found.trained, config)
        self.batches_per_epoch = self._epochs.batches_per_epoch
        self._order = lru_cache(2)(self._epochs.batches)
        self._ahead = Ahead(self._draw)

    # ------------------------------------------------------------------ encoding

    def encode(self, extra_texts: tuple[str, ...], progress: Progress) -> None:
        """As `Dataset.encode`. A picture that is in several pairs, or was trained on before, is encoded once."""
        everything = (*self.samples, *self.held_out)
        parts = {cut.key: (side, cut) for pair in everything for side, cut in self._cuts(pair)}
        texts = set[str]() if self._encoded.live else {*(pair.prompt for pair in everything), *extra_texts, ""}
        self._encoded.fill(list(parts.values()), texts, self._sources, self._data, progress)

    def _cuts(self, pair: PairSample) -> Iterator[tuple[Sample, Cut]]:
        """Every part of both pictures that a visit may see."""
        for flip in self._flips():
            for place in places_of(pair, self._config):
                for side in pair.sides:
                    yield side, self._cut(side, place, flip)

    def _flips(self) -> tuple[bool, ...]:
        return (False, True) if self._config.data.flip else (False,)

    def _cut(self, side: Sample, place: Place, flip: bool) -> Cut:
        # where nothing is cut away every place is the same part, and has the same name in the cache
        return cut_at(side, place if is_cut(side) else CENTRE, flip, self._data)

    def conditioning(self, texts: list[str]) -> Conditioning:
        """As `Dataset.conditioning`."""
        return self._encoded.conditioning(texts)

    def forget_texts(self) -> None:
        """As `Dataset.forget_texts`."""
        self._encoded.forget_texts()

    # ------------------------------------------------------------------ batches

    def batch(self, number: int) -> Batch:
        """The batch with this number, counted from the start of the run."""
        return self._on_device(self._ahead.take(number))

    def held_out_batch(self, number: int) -> Batch:
        """One held-out pair, always with its prompt, from the centre and as it is."""
        pair = self.held_out[number]
        return self._on_device(self._read((_Shown(pair, pair.prompt, CENTRE, False),)))

    def _draw(self, number: int) -> _Drawn:
        at_epoch, position = divmod(number, self.batches_per_epoch)
        return self._read(
            tuple(self._shown(pair, number, place) for place, pair in enumerate(self._order(at_epoch)[position]))
        )

    def _shown(self, pair: PairSample, number: int, place: int) -> _Shown:
        pair = self._epochs.shown(pair, self._config.run.seed, number, place)
        keys = (self._config.run.seed, number, place, pair.id)
        places, flips = places_of(pair, self._config), self._flips()
        rng = random.Random(repr((*keys, "cut")))
        text = captions.draw((pair.prompt,), self._config.captions.dropout, *keys)
        return _Shown(pair, text, places[rng.randrange(len(places))], flips[rng.randrange(len(flips))])

    def _read(self, shown: tuple[_Shown, ...]) -> _Drawn:
        firsts = [self._entry(one, one.pair.sides[0]) for one in shown]
        losers = [self._entry(one, one.pair.loser)["latents"] for one in shown if one.pair.winner and one.pair.loser]
        return _Drawn(
            shown=shown,
            latents=torch.stack([tensors["latents"] for tensors in firsts]).float(),
            loser=torch.stack(losers).float() if losers else None,
            # of the winner for both: the model must not be told apart which one it sees
            framing=torch.stack([tensors["framing"] for tensors in firsts]),
            cond=None if self._encoded.live else self._encoded.rows([one.text for one in shown]),
        )

    def _entry(self, shown: _Shown, side: Sample) -> dict[str, Tensor]:
        return self._encoded.entry(side, self._cut(side, shown.place, shown.flip))

    def _on_device(self, drawn: _Drawn) -> Batch:
        pairs, texts = [one.pair for one in drawn.shown], [one.text for one in drawn.shown]
        cond = self._encoded.rows(texts) if drawn.cond is None else drawn.cond
        wanted = torch.tensor([pair.winner is not None for pair in pairs], device=self._device)
        return Batch(
            latents=drawn.latents.to(self._device),
            cond=self._encoded.framed(cond, drawn.framing),
            preserved=None,
            ids=tuple(pair.id for pair in pairs),
            captions=tuple(texts),
            weight=torch.tensor([pair.weight for pair in pairs], device=self._device),
            loser=None if drawn.loser is None else drawn.loser.to(self._device),
            wanted=wanted if drawn.loser is None else None,
        )
