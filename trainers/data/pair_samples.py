"""Which pairs a run trains on, how they are cut, and in which batches: pure functions of the scan and the config."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainers import plan
from trainers.config import TrainConfig
from trainers.data import buckets, epoch
from trainers.data.epoch import Sample
from trainers.data.folder import Picture
from trainers.data.pair_scan import PairScan
from trainers.data.sources import Source
from trainers.preferences.training_pairs import TrainingPair

REAL = "real"  # source of pairs whose preferred picture was not generated

Size = tuple[int, int]
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class PairSample:
    """Two pictures of a prompt, cut alike; or one alone, that is wanted (winner) or not (loser).

    id: follows from the files' bytes and the prompt; weight: in (0, 1]; source: as in `TrainingPair`.
    """

    id: str
    prompt: str
    winner: Sample | None
    loser: Sample | None
    weight: float
    source: str

    @property
    def sides(self) -> tuple[Sample, ...]:
        return tuple(side for side in (self.winner, self.loser) if side)

    @property
    def bucket(self) -> Size:
        """(width, height), the same for both."""
        return self.sides[0].bucket


@dataclass(frozen=True)
class PairSamples:
    """held_out: always pairs; broken: rows with a picture that cannot be read; unpaired: rows that the loss has no use
    for; divided: prompts that the file has on both sides, of which all rows are held out."""

    trained: tuple[PairSample, ...]
    held_out: tuple[PairSample, ...]
    broken: tuple[TrainingPair, ...]
    unpaired: int
    divided: int


def uses_singles(config: TrainConfig) -> bool:
    """Whether the loss learns from single pictures."""
    return config.objective.preference_loss in plan.UNPAIRED_LOSSES


def source_of(scan: PairScan, config: TrainConfig) -> Source:
    """How all pictures of the pairs are cut."""
    data = config.data
    return Source(
        folder=scan.path,
        name=scan.path.name,
        repeats=1,
        weight=1.0,
        resolutions=(int(data.resolution),),
        crop=data.crop,
        flip=data.flip,
        aspect=data.aspect,
    )


def arranged(scan: PairScan, config: TrainConfig) -> PairSamples:
    """What a run sees of the pairs. No prompt is on both sides."""
    whole = [row for row in scan.rows if scan.is_whole(row)]
    usable = [row for row in whole if row.is_paired or uses_singles(config)]
    apart, divided = _held_out_prompts(usable, config)
    trained = [row for row in usable if row.prompt not in apart]
    held_out = [row for row in usable if row.prompt in apart and row.is_paired]
    samples = [_pair(row, scan, config) for row in trained]
    if uses_singles(config):
        samples = [single for row in trained for single in _singles(row, scan, config)]
    return PairSamples(
        trained=tuple(samples),
        held_out=tuple(_pair(row, scan, config) for row in held_out),
        broken=tuple(row for row in scan.rows if not scan.is_whole(row)),
        unpaired=len(whole) - len(usable),
        divided=divided,
    )


def _held_out_prompts(rows: Iterable[TrainingPair], config: TrainConfig) -> tuple[set[str], int]:
    """(prompts, those of them that training would have seen too): as the rows say, else a share of the prompts."""
    said = {row.prompt for row in rows if row.split == "held_out"}
    if said:
        return said, len(said & {row.prompt for row in rows if row.split != "held_out"})
    prompts = {row.prompt for row in rows if row.is_paired}
    order = sorted(prompts, key=lambda prompt: _hash(config.run.seed, "held out", prompt))
    return set(order[: plan.held_out(len(prompts), config)]), 0


def _pair(row: TrainingPair, scan: PairScan, config: TrainConfig) -> PairSample:
    """An unpaired row becomes a single picture."""
    winner, loser = (scan.pictures[path] if path else None for path in (row.chosen, row.rejected))
    bucket = _bucket(winner or loser, config)  # type: ignore[arg-type]
    contents = [_content(picture) if picture else "" for picture in (winner, loser)]
    return PairSample(
        id=_hash(*contents, row.prompt),
        prompt=row.prompt,
        winner=_sample(winner, bucket, config) if winner else None,
        loser=_sample(loser, bucket, config) if loser else None,
        weight=row.weight,
        source=row.source,
    )


def _singles(row: TrainingPair, scan: PairScan, config: TrainConfig) -> list[PairSample]:
    """Each side of a row on its own, and of its own shape."""
    alone = (TrainingPair(row.prompt, row.chosen, "", row.weight, source=row.source),)
    other = (TrainingPair(row.prompt, "", row.rejected, row.weight, source=row.source),)
    return [_pair(one, scan, config) for one in (*alone, *other) if one.chosen or one.rejected]


def _bucket(picture: Picture, config: TrainConfig) -> Size:
    data = config.data
    side, step = int(data.resolution), int(data.bucket_step)
    return buckets.bucket_of(picture.width, picture.height, side, step, aspect=data.aspect, upscale=data.upscale)


def _sample(picture: Picture, bucket: Size, config: TrainConfig) -> Sample:
    return Sample(_content(picture), picture, int(config.data.resolution), bucket)


def _content(picture: Picture) -> str:
    return picture.digest or picture.path.as_posix()


def _hash(*parts: object) -> str:
    text = "\0".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


# --------------------------------------------------------------------------- which part


def is_cut(side: Sample) -> bool:
    return buckets.is_cut(side.picture.width, side.picture.height, side.bucket)


def places_of(pair: PairSample, config: TrainConfig) -> Sequence[Place]:
    """Where the part may lie in both pictures; the first is the centre."""
    if config.data.crop == "random" and any(is_cut(side) for side in pair.sides):
        return buckets.places(config.data.crops)
    return buckets.places(1)


# --------------------------------------------------------------------------- in which batches


class PairEpochs:
    """The batches of every epoch: each trained pair once, in another order. A batch has one size."""

    def __init__(self, trained: Iterable[PairSample], config: TrainConfig) -> None:
        self._config = config
        self.by_bucket: dict[Size, list[PairSample]] = defaultdict(list)
        for pair in trained:
            self.by_bucket[pair.bucket].append(pair)
        self._real = {
            bucket: [pair for pair in pairs if pair.source == REAL] for bucket, pairs in self.by_bucket.items()
        }
        size = config.schedule.batch_size
        self.batches_per_epoch = sum(-(-len(pairs) // size) for pairs in self.by_bucket.values())

    def batches(self, number: int) -> list[list[PairSample]]:
        """Of the epoch with this number. A rest that does not fill a batch is a smaller batch."""
        by_bucket = {bucket: list(pairs) for bucket, pairs in self.by_bucket.items()}
        return epoch.shuffled(by_bucket, self._config.schedule.batch_size, self._config.run.seed, number)

    def shown(self, pair: PairSample, *keys: int | str) -> PairSample:
        """The pair, or with the chance of `objective.real_ratio` a real one of its size; it follows from `keys`."""
        real, ratio = self._real[pair.bucket], self._config.objective.real_ratio
        if not real or not ratio:
            return pair
        rng = random.Random(repr((*keys, "real")))
        return real[rng.randrange(len(real))] if rng.random() < ratio else pair
