"""What the draft says that a data set is looked at with: sizes, crop, captions, encoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainers.config import Captions, Crop, TrainConfig
from trainers.plan import resolutions


@dataclass(frozen=True)
class Context:
    """The part of a resolved config that the gallery needs. resolutions: the first one first; step: of the buckets."""

    base: str
    family: str
    resolutions: tuple[int, ...]
    step: int
    aspect: Literal["buckets", "square", "area"]
    upscale: bool
    crop: Crop
    captions: Captions
    endings: str  # of caption files, as in ".txt,.caption"

    @classmethod
    def of(cls, config: TrainConfig) -> Context:
        """config: resolved."""
        data = config.data
        return cls(
            base=config.model.base,
            family=config.model.family,
            resolutions=resolutions(data),
            step=int(data.bucket_step),
            aspect=data.aspect,
            upscale=data.upscale,
            crop=data.crop,
            captions=config.captions,
            endings=data.caption_extension,
        )
