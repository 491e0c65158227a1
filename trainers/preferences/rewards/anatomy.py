"""The anatomy scorer, whichever model finds the key points."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from trainers.preferences.rewards.anatomy_parts import Calibration, Found, Weights, anatomy

Find = Callable[[Image.Image], Found]


class Anatomy:
    """find: the people of an upright RGB picture, none of them where there is nobody; calibration: of its scores."""

    def __init__(
        self, name: str, find: Find, calibration: Calibration, version: str, weights: Weights | None = None
    ) -> None:
        self.name, self.version = name, version
        self._find, self._calibration, self._weights = find, calibration, weights or Weights()

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        """None for a picture without people. What goes wrong is raised, and never a score of nought."""
        return [self._one(image.convert("RGB"), prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _one(self, image: Image.Image, prompt: str) -> float | None:
        points, scores = self._find(image)
        if not len(points):
            return None
        confidence = self._calibration.confidence(np.asarray(scores, np.float64))
        return anatomy(np.asarray(points, np.float64), confidence, image.size, prompt, self._weights)
