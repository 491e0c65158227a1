"""PickScore: which of several pictures people pick for a prompt (Kirstain et al. 2023), a fine-tuned CLIP ViT-H-14.

score = exp(logit_scale) cos(picture, prompt), about 16 to 26. Pictures are cropped to their middle, as CLIP's usual
processor does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.clip_models import Clip, open_clip_folder
from trainers.preferences.rewards.loading import prepare
from trainers.preferences.rewards.pixels import cropped_to_square


def load(files: Files, runtime: Runtime, version: str) -> PickScore:
    """See `base.Load`."""
    prepare(runtime)
    return PickScore(open_clip_folder(files["clip"], runtime), version)


class PickScore:
    name = "pickscore"

    def __init__(self, clip: Clip, version: str) -> None:
        self._clip, self.version = clip, version

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        pixels = [cropped_to_square(image, self._clip.side) for image in images]
        return [*(self._clip.logit_scale * self._clip.cosines(pixels, prompts)).tolist()]


def probabilities(scores: Sequence[float]) -> list[float]:
    """How likely each of the pictures of one prompt is picked, by their scores."""
    weights = np.exp(np.asarray(scores, np.float64) - max(scores, default=0.0))
    return [float(one) for one in weights / weights.sum()]
