"""What an epoch shows, and in which batches: pure functions of the scan, the config and the epoch's number."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from trainers import plan
from trainers.config import Captions, TrainConfig
from trainers.data import buckets, captions
from trainers.data.folder import Picture, Scan
from trainers.data.sources import Source

Group = tuple[int, int, tuple[int, int]]  # source, resolution, bucket


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture at one size. id: follows from the file's bytes, so it survives renames and moves."""

    id: str
    picture: Picture
    resolution: int
    bucket: tuple[int, int]

    @property
    def group(self) -> Group:
        return self.picture.source, self.resolution, self.bucket


def samples(scan: Scan, config: TrainConfig) -> list[Sample]:
    """Every picture at every resolution of its data set."""
    step, seen = int(config.data.bucket_step), Counter[str]()
    found = []
    for picture in scan.pictures:
        source = scan.sources[picture.source]
        content = picture.digest or picture.name
        seen[content] += 1  # a copy is a sample of its own
        for place, resolution in enumerate(source.resolutions):
            bucket = buckets.bucket_of(
                picture.width, picture.height, resolution, step, aspect=source.aspect, upscale=config.data.upscale
            )
            name = f"{content}-{seen[content]}" + (f"@{resolution}" if place else "")
            found.append(Sample(name, picture, resolution, bucket))
    return found


def split(everything: list[Sample], scan: Scan, config: TrainConfig) -> tuple[list[Sample], list[Sample]]:
    """(trained, held out). Copies of a picture are on one side; a held-out one is measured at its first size.

    Regularisation pictures are never held out.
    """
    contents = dict.fromkeys(_content(sample) for sample in everything if not is_prior(sample.picture, scan.sources))
    apart = plan.held_out(len(contents), config)
    order = sorted(contents, key=lambda content: _hash(config.run.seed, "held out", f"{content}-1"))
    kept = set(order[:apart])
    trained = [sample for sample in everything if _content(sample) not in kept]
    by_content = {_content(sample): sample for sample in reversed(everything)}
    return trained, [by_content[content] for content in order[:apart]]


def _content(sample: Sample) -> str:
    return sample.picture.digest or sample.picture.name


def _hash(*parts: object) -> str:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def is_prior(picture: Picture, sources: tuple[Source, ...]) -> bool:
    """Whether it is there to keep what the model knows, not to teach."""
    return picture.regularisation or sources[picture.source].regularisation


def wording(picture: Picture, sources: tuple[Source, ...], config: Captions) -> tuple[Captions, str]:
    """Settings of its captions, and what stands in for a missing one. What is not taught has no trigger word."""
    if is_prior(picture, sources):
        config = config.model_copy(update={"trigger": ""})
    return config, captions.stand_in(picture.concept, picture.path.parent.name, config)


class Epochs:
    """The batches of every epoch. Each epoch has as many; a batch has one size."""

    def __init__(self, trained: Iterable[Sample], scan: Scan, config: TrainConfig) -> None:
        self._seed, self._size = config.run.seed, config.schedule.batch_size
        self._groups = _grouped(trained, scan)
        by_bucket: Counter[tuple[int, int]] = Counter()
        for (_, _, bucket), parts in self._groups.items():
            by_bucket[bucket] += sum(_visits(len(part), rate) for part, rate in parts)
        self.visits = by_bucket
        self.batches_per_epoch = sum(math.ceil(count / self._size) for count in by_bucket.values())

    def batches(self, epoch: int) -> list[list[Sample]]:
        """In the order in which they are trained. A rest that does not fill a batch is a smaller batch."""
        by_bucket: dict[tuple[int, int], list[Sample]] = defaultdict(list)
        for (_, _, bucket), parts in self._groups.items():
            for part, rate in parts:
                by_bucket[bucket] += _shown(part, rate, epoch)
        return shuffled(by_bucket, self._size, self._seed, epoch)


Shown = TypeVar("Shown")


def shuffled(by_bucket: dict[tuple[int, int], list[Shown]], size: int, seed: int, epoch: int) -> list[list[Shown]]:
    """Visits in batches of one size each, in an order that follows from seed and epoch; shuffles the lists."""
    batches = []
    for bucket in sorted(by_bucket):
        visits = by_bucket[bucket]
        random.Random(f"{seed}:{epoch}:{bucket}").shuffle(visits)
        batches += [visits[first : first + size] for first in range(0, len(visits), size)]
    random.Random(f"{seed}:{epoch}").shuffle(batches)
    return batches


def _grouped(trained: Iterable[Sample], scan: Scan) -> dict[Group, list[tuple[list[Sample], float]]]:
    """Samples that share a data set, a size and a rate: visits of each in an epoch.

    As many regularisation pictures are shown as others, each in turn, whatever their number.
    """
    taught: dict[tuple[Group, float], list[Sample]] = defaultdict(list)
    priors: dict[tuple[Group, float], list[Sample]] = defaultdict(list)
    for sample in trained:
        source = scan.sources[sample.picture.source]
        rate = source.repeats * sample.picture.repeats * source.weight
        (priors if is_prior(sample.picture, scan.sources) else taught)[sample.group, rate].append(sample)
    shown, wanted = (sum(len(part) * rate for (_, rate), part in side.items()) for side in (taught, priors))
    balance = shown / wanted if shown and wanted else 1.0
    groups: dict[Group, list[tuple[list[Sample], float]]] = defaultdict(list)
    for side, factor in ((taught, 1.0), (priors, balance)):
        for (group, rate), part in side.items():
            groups[group].append((part, rate * factor))
    return dict(groups)


def _visits(count: int, rate: float) -> int:
    """Visits of `count` samples in an epoch; at least one, so that nothing is dropped in silence."""
    return max(1, round(count * rate))


def _shown(part: list[Sample], rate: float, epoch: int) -> list[Sample]:
    """Every sample the whole number of times, and a share of them once more: others in each epoch."""
    visits = _visits(len(part), rate)
    whole, rest = divmod(visits, len(part))
    first = epoch * rest % len(part)
    return part * whole + (part + part)[first : first + rest]
