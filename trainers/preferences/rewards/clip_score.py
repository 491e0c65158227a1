"""CLIP score: how well a picture fits its prompt (Hessel et al. 2021), with any CLIP in transformers' layout.

score = 100 max(cos(picture, prompt), 0), the usual scale of libraries; the paper's own factor is 2.5, and its prefix "A
photo depicts" is left out, since prompts are no captions of photos.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.clip_models import Clip, open_clip_folder
from trainers.preferences.rewards.loading import prepare
from trainers.preferences.rewards.pixels import cropped_to_square


def load(files: Files, runtime: Runtime, version: str) -> ClipScore:
    """See `base.Load`."""
    prepare(runtime)
    return ClipScore(open_clip_folder(files["clip"], runtime), version)


class ClipScore:
    name = "clip"

    def __init__(self, clip: Clip, version: str) -> None:
        self._clip, self.version = clip, version

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        pixels = [cropped_to_square(image, self._clip.side) for image in images]
        return [*(100 * self._clip.cosines(pixels, prompts).clamp(min=0)).tolist()]
