"""Pictures as the published scorers see them. Each one's preprocessing is part of its score: a picture that is cropped
where its scorer was trained on whole ones scores differently."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

# of OpenAI's CLIP; open_clip's ViT-H-14 and ImageReward use the same
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def normalised(pixels: Tensor, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> Tensor:
    """pixels [3, H, W] in [0, 1]."""
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def to_tensor(image: Image.Image) -> Tensor:
    """[3, H, W] in [0, 1]."""
    return torch.from_numpy(np.array(image.convert("RGB"), np.float32) / 255).permute(2, 0, 1)


def padded_to_square(image: Image.Image, side: int) -> Tensor:
    """The whole picture in the middle of a black square, [3, side, side] in about [0, 1].

    As HPSv2's `ResizeMaxSize`: the longest side becomes `side`, bicubic with antialiasing as torchvision does by itself
    since 0.17, on numbers and not on bytes, so that values may overshoot; an odd pixel of padding goes right and down.
    """
    pixels = to_tensor(image)
    scale = side / max(image.height, image.width)
    if scale != 1:
        size = [max(1, round(length * scale)) for length in (image.height, image.width)]
        pixels = interpolate(pixels[None], size, mode="bicubic", align_corners=False, antialias=True)[0]
    down, across = side - pixels.shape[1], side - pixels.shape[2]
    return pad(pixels, (across // 2, across - across // 2, down // 2, down - down // 2))


def cropped_to_square(image: Image.Image, side: int, offset: Callable[[int], int] = lambda rest: rest // 2) -> Tensor:
    """The middle of the picture, whose shortest side becomes `side`, [3, side, side] in [0, 1]; bicubic, on bytes.

    offset: first pixel of the middle, of the pixels that are too many: transformers' processor of CLIP rounds down;
    see `to_even` for torchvision.
    """
    image = image.convert("RGB")
    short, long = sorted(image.size)
    rest = int(side * long / short)
    size = (side, rest) if image.width <= image.height else (rest, side)
    image = image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
    left, top = offset(image.width - side), offset(image.height - side)
    return to_tensor(image.crop((left, top, left + side, top + side)))


def to_even(rest: int) -> int:
    """torchvision's `CenterCrop`: a half is rounded to the even neighbour."""
    return round(rest / 2)
