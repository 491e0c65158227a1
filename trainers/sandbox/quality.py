"""Does the base model draw what its captions say? Counted by the scene reader on fresh captions.

python -m trainers.sandbox.quality
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxPipeline
from PIL import Image

from trainers.paths import ASSETS
from trainers.sandbox import scenes

STEPS = 20
BATCH = 50


@torch.no_grad()
def generate(pipe: FluxPipeline, prompts: list[str], seed: int) -> list[Image.Image]:
    """One picture a prompt; the noise of picture i depends on (seed, i) alone."""
    pictures: list[Image.Image] = []
    for first in range(0, len(prompts), BATCH):
        part = prompts[first : first + BATCH]
        pictures += pipe(
            prompt=part,
            num_inference_steps=STEPS,
            height=scenes.SIZE,
            width=scenes.SIZE,
            max_sequence_length=pipe.tokenizer_2.model_max_length,
            generator=[torch.Generator().manual_seed(seed * 100_003 + first + i) for i in range(len(part))],
        ).images
    return pictures


def measure_base(folder: Path, held_out: set[tuple[str, str, str, str]], count: int = 200) -> dict[str, float]:
    """Percent of `count` fresh captions that were drawn right, by part, and on combinations never shown."""
    pipe = FluxPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(7)
    wanted = [scenes.sample_scene(rng) for _ in range(count)]
    prompts = [scenes.caption(scene, int(rng.integers(len(scenes.CAPTION_FORMS)))) for scene in wanted]
    seen = [scenes.read(picture) for picture in generate(pipe, prompts, seed=1)]
    pairs = list(zip(wanted, seen, strict=True))
    new = [
        got.agrees(scene)
        for scene, got in pairs
        if (scene.shape, scene.colour, scene.place, scene.background) in held_out
    ]

    def share(right: list[bool]) -> float:
        return round(100 * sum(right) / max(1, len(right)), 1)

    return {
        "captions": count,
        "colour_and_shape": share([got.agrees(scene) for scene, got in pairs]),
        "shape": share([got.shape == scene.shape for scene, got in pairs]),
        "colour": share([got.colour == scene.colour for scene, got in pairs]),
        "place": share([got.place == scene.place for scene, got in pairs]),
        "background": share([got.background == scene.background for scene, got in pairs]),
        "colour_and_shape_of_new_combinations": share(new),
        "new_combinations": len(new),
    }


def main() -> None:
    from trainers.sandbox.build import held_out_combinations

    print(json.dumps(measure_base(ASSETS / "sandbox", held_out_combinations()), indent=1))


if __name__ == "__main__":
    main()
