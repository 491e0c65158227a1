"""LAION's aesthetic predictor v2 (sac+logos+ava1-l14-linearMSE): how pleasing a picture is, from 1 to 10.

A stack of linear layers on the picture's embedding of unit length by CLIP ViT-L/14 of OpenAI.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor, nn

from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.clip_models import Clip, open_clip_folder
from trainers.preferences.rewards.loading import fill, prepare, read_state
from trainers.preferences.rewards.pixels import cropped_to_square

WIDTHS = (1024, 128, 64, 16)


def load(files: Files, runtime: Runtime, version: str) -> Aesthetic:
    """See `base.Load`."""
    prepare(runtime)
    state = read_state(files["head"])
    first = state.get("layers.0.weight")
    head = nn.ModuleDict({"layers": linear_head(768 if first is None else first.shape[-1])})
    fill(head, state, files["head"])
    return Aesthetic(open_clip_folder(files["clip"], runtime), head["layers"], runtime, version)


def linear_head(width: int) -> nn.Sequential:
    """The published layers: between them only dropout, which a trained head does not need but for its place in the
    numbering of the weights. ImageReward has the same."""
    first, second, third, fourth = WIDTHS
    return nn.Sequential(
        nn.Linear(width, first),
        nn.Dropout(0.2),
        nn.Linear(first, second),
        nn.Dropout(0.2),
        nn.Linear(second, third),
        nn.Dropout(0.1),
        nn.Linear(third, fourth),
        nn.Linear(fourth, 1),
    )


class Aesthetic:
    name = "aesthetic"

    def __init__(self, clip: Clip, head: nn.Module, runtime: Runtime, version: str) -> None:
        self._clip, self.version = clip, version
        self._head = head.to(runtime.device, torch.float32).eval().requires_grad_(False)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        """The prompts are not read."""
        embeddings: Tensor = self._clip.look([cropped_to_square(image, self._clip.side) for image in images])
        return [*self._head(embeddings)[:, 0].tolist()]
