"""The parts of pictures that are trained: where they are cut, how they are named, and how they become latents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainers.config import Data, TrainConfig
from trainers.data import buckets, decode, detail
from trainers.data.cache import key_of
from trainers.data.epoch import Sample
from trainers.data.folder import Picture
from trainers.data.sources import Source
from trainers.errors import DataError
from trainers.families.base import ModelFamily

CENTRE = (0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Cut:
    """One part of a picture. key: of its cache entry; place: None where the most detail is, else (x, y) in [0, 1]."""

    key: str
    place: tuple[float, float] | None = CENTRE
    flip: bool = False


def cuts_of(sample: Sample, sources: tuple[Source, ...], config: TrainConfig) -> tuple[Cut, ...]:
    """Every part that a visit may see; the first is not mirrored."""
    picture, source, data = sample.picture, sources[sample.picture.source], config.data
    if not buckets.is_cut(picture.width, picture.height, sample.bucket) or source.crop == "centre":
        places: tuple[tuple[float, float] | None, ...] = (CENTRE,)
    else:
        places = (None,) if source.crop == "detail" else buckets.places(data.crops)
    flips = (False, True) if source.flip else (False,)
    return tuple(cut_at(sample, place, flip, data) for flip in flips for place in places)


def cut_at(sample: Sample, place: tuple[float, float] | None, flip: bool, data: Data) -> Cut:
    """The part at one place."""
    return Cut(_key(sample, place, flip, data), place, flip)


def _key(sample: Sample, place: tuple[float, float] | None, flip: bool, data: Data) -> str:
    """Everything that the latents depend on, but for the encoder, whose folder they are in."""
    where = f"detail {detail.VERSION}" if place is None else "centre" if place == CENTRE else f"{place[0]} {place[1]}"
    parts: list[object] = [sample.picture.digest, *sample.bucket, where, "lanczos"]
    if flip:
        parts.append("flip")
    if sample.picture.alpha:
        parts.append(data.background)
    if mask := _mask_name(sample.picture, data):
        parts += ["mask", mask]
    return key_of(*parts)


def _mask_name(picture: Picture, data: Data) -> str:
    """What the mask is made from; empty for none."""
    if data.mask in ("file", "any") and picture.mask:
        return _digest(picture.mask, picture.mask.stat().st_mtime_ns)
    return "alpha" if data.mask in ("alpha", "any") and picture.alpha else ""


@lru_cache(65_536)
def _digest(path: Path, changed_ns: int) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


class Encoder:
    """Turns cuts into cache entries: latents [C,h,w] fp32, framing [6], and a mask [1,h,w] where there is one."""

    def __init__(self, family: ModelFamily, sources: tuple[Source, ...], data: Data) -> None:
        self._family, self._sources, self._data = family, sources, data

    def encode(self, sample: Sample, cut: Cut) -> dict[str, Tensor]:
        """Raises DataError when the picture cannot be read."""
        try:
            picture, mask = self._open(sample.picture, self._enough(sample))
        except decode.DECODE_ERRORS as error:
            message = f"{sample.picture.path.name} can no longer be read: {decode.reason_of(error)}."
            raise DataError(message, "Mend or remove it, then resume.") from error
        place = detail.detail_place(picture, sample.bucket) if cut.place is None else cut.place
        self._family.load("vae")
        pixels = to_pixels(_mirrored(fit(picture, sample.bucket, place), cut.flip))
        latents = self._family.encode_image(pixels[None])[0]
        size = sample.picture.width, sample.picture.height
        entry = {"latents": latents, "framing": framing_of(size, sample.bucket, place, flip=cut.flip)}
        if mask is None:
            return entry
        return {**entry, "mask": _shares(_mirrored(fit(mask, sample.bucket, place), cut.flip), latents)}

    def _enough(self, sample: Sample) -> int:
        """Shorter side in pixels below which decoding would lose something."""
        return 2 * max(sample.bucket)

    def _open(self, picture: Picture, at_least: int) -> tuple[Image.Image, Image.Image | None]:
        opened = decode.open_picture(picture.path, self._data.background, at_least=at_least)
        mask = None
        if self._data.mask in ("file", "any") and picture.mask:
            mask = decode.open_mask(picture.mask)
        elif self._data.mask in ("alpha", "any") and picture.alpha:
            mask = decode.open_alpha(picture.path)
        # a mask may be smaller than its picture; cut in the same place it must have its size
        return opened, mask.resize(opened.size, Image.Resampling.BOX) if mask and mask.size != opened.size else mask


def framing_of(size: tuple[int, int], bucket: tuple[int, int], place: tuple[float, float], *, flip: bool) -> Tensor:
    """[6] fp32: height and width of the picture, top and left of the cut, height and width of the cut; in pixels.

    top and left are counted in the picture as it is resized for the cut, as SDXL was trained (Podell et al. 2023, 2.2);
    in a mirrored picture left is counted from its other side. size, bucket: (width, height).
    """
    left, top, right, bottom = buckets.crop_box(*size, bucket, place)
    if flip:
        left = size[0] - right
    scale = bucket[1] / (bottom - top)
    cut = [round(top * scale), round(left * scale)]
    return torch.tensor([size[1], size[0], *cut, bucket[1], bucket[0]], dtype=torch.float32)


def fit(picture: Image.Image, bucket: tuple[int, int], place: tuple[float, float] = CENTRE) -> Image.Image:
    """The part of the bucket's shape at `place`, resized to the bucket; Lanczos, as the common trainers do."""
    # the part that stays is cut first: resizing all of a very long picture could fill the memory
    return picture.resize(bucket, Image.Resampling.LANCZOS, box=buckets.crop_box(*picture.size, bucket, place))


def _mirrored(picture: Image.Image, flip: bool) -> Image.Image:
    return ImageOps.mirror(picture) if flip else picture


def _shares(mask: Image.Image, latents: Tensor) -> Tensor:
    """[1,h,w] in [0,1]: how much of each latent's square is white."""
    height, width = latents.shape[-2:]
    small = np.asarray(mask.resize((width, height), Image.Resampling.BOX), dtype=np.float32) / 255
    return torch.from_numpy(small)[None]


def to_pixels(picture: Image.Image) -> Tensor:
    """[3,H,W] fp32 in [-1,1]."""
    array = np.asarray(picture, dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
