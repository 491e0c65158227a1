"""Findings about sizes, crops and masks, and the samples that they come from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from trainers import catalog
from trainers.config import TrainConfig
from trainers.data import buckets
from trainers.data.epoch import Epochs, Sample
from trainers.data.folder import Picture, Scan
from trainers.preflight.finding import Finding, Fix, change, named, show, tell

MAX_CROP_LOSS = 0.3
SHAPES = 8  # sizes that a message lists
LOWEST_SIDE = 256  # below it a resolution is no remedy for large models

Shapes = Counter[tuple[int, int]]


def of_sizes(config: TrainConfig, scan: Scan, samples: list[Sample], epochs: Epochs) -> Iterator[Finding]:
    """What the pictures are cut to, and which of them lose by it. samples: every picture at every size."""
    for side in sorted({sample.resolution for sample in samples}, reverse=True):
        shapes = Counter(sample.bucket for sample in samples if sample.resolution == side)
        yield tell("ok", "pictures", n=shapes.total(), side=str(side), sizes=len(shapes), shapes=listed(shapes))
    yield from _small(config, [sample for sample in samples if _is_first(sample, scan)])
    yield from _cropped(config, samples)
    batch = config.schedule.batch_size
    few = Counter({size: visits for size, visits in epochs.visits.items() if visits < batch})
    if few:
        yield tell("ok", "small_sizes", "schedule.batch_size", sizes=len(few), batch=batch, shapes=listed(few))
    yield from _masks(config, scan)


def _is_first(sample: Sample, scan: Scan) -> bool:
    """Whether it is at the largest size of its data set."""
    return sample.resolution == max(scan.sources[sample.picture.source].resolutions)


def listed(shapes: Shapes) -> str:
    """The most frequent sizes with their numbers, as in "512x512: 3, 640x384: 1"."""
    most = sorted(shapes.most_common(SHAPES))
    listed = [f"{width}x{height}: {count}" for (width, height), count in most]
    return ", ".join([*listed, "..."] if len(shapes) > SHAPES else listed)


# --------------------------------------------------------------------------- too small


def _small(config: TrainConfig, samples: list[Sample]) -> Iterator[Finding]:
    tiny = [sample for sample in samples if min(sample.picture.width, sample.picture.height) < sample.resolution / 4]
    if tiny:
        side, names = max(sample.resolution for sample in tiny), named(sample.picture.path.name for sample in tiny)
        fix = show("too_small")
        yield tell("warning", "tiny_pictures", "data.folder", fix, n=len(tiny), side=str(side), names=names)
    rest = {sample.id for sample in tiny}
    small = [sample for sample in samples if sample.id not in rest and _area(sample.picture) < sample.resolution**2 / 2]
    if not small:
        return
    side = max(sample.resolution for sample in small)
    if not config.data.upscale:
        yield tell("ok", "kept_small", "data.upscale", n=len(small), side=str(side))
        return
    fix = _lower_resolution(config, min(_area(sample.picture) for sample in small)) or show("too_small")
    yield tell("warning", "small_pictures", "data.resolution", fix, n=len(small), side=str(side))


def _area(picture: Picture) -> int:
    return picture.width * picture.height


def _lower_resolution(config: TrainConfig, area: int) -> Fix | None:
    """The largest resolution at which a picture of this area is not enlarged a lot, if it is still worth training."""
    step = int(config.data.bucket_step)
    side = math.isqrt(2 * area) // step * step
    model = catalog.model_of(config.model.base, config.model.family)
    if side < min(LOWEST_SIDE, model.native_resolution // 2) or side >= int(config.data.resolution):
        return None
    return change("lower_resolution", {"data.resolution": side})


# --------------------------------------------------------------------------- cut, masked


def _cropped(config: TrainConfig, samples: list[Sample]) -> Iterator[Finding]:
    cut = {
        (sample.picture.source, sample.picture.name)
        for sample in samples
        if buckets.crop_loss(sample.picture.width, sample.picture.height, sample.bucket) > MAX_CROP_LOSS
    }
    if cut:
        fix = change("use_buckets", {"data.aspect": "buckets"}) if config.data.aspect == "square" else None
        yield tell("warning", "cropped_pictures", "data.folder", fix, n=len(cut), loss=f"{MAX_CROP_LOSS:.0%}")


def _masks(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    wanted = config.data.mask
    if wanted == "none":
        if unused := sum(picture.mask is not None for picture in scan.pictures):
            yield tell("warning", "unused_masks", "data.mask", change("use_masks", {"data.mask": "file"}), n=unused)
        return
    lacking = [picture for picture in scan.pictures if not _has_mask(picture, wanted)]
    if lacking:
        none_has = len(lacking) == len(scan.pictures)
        fix = change("no_masks", {"data.mask": "none"}) if none_has else None
        yield tell("warning", "no_mask", "data.mask", fix, n=len(lacking))


def _has_mask(picture: Picture, wanted: str) -> bool:
    return (wanted in ("file", "any") and picture.mask is not None) or (wanted in ("alpha", "any") and picture.alpha)
