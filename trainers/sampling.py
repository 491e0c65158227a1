"""Previews: the same prompts from the same noise, before, during and after training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from PIL import Image

from trainers.boundary import is_out_of_memory
from trainers.config import TrainConfig
from trainers.data.dataset import Batches
from trainers.events import Emit, PhaseChanged, SampleReady, Warned
from trainers.families.base import ModelFamily, SampleRequest
from trainers.rundir import RunDir


@contextlib.contextmanager
def evaluating(family: ModelFamily) -> Iterator[None]:
    """Without dropout, and back to how it was."""
    training = {module: module.training for module in family.adapted().values()}
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for module, was_training in training.items():
            module.train(was_training)


class Previewer:
    """Draws the prompts of the config into the run folder. Their text must have been encoded."""

    def __init__(self, config: TrainConfig, family: ModelFamily, dataset: Batches, run: RunDir, emit: Emit) -> None:
        self._config, self._family, self._dataset, self._run, self._emit = config, family, dataset, run, emit

    def draw(self, step: int) -> None:
        """Running out of memory here is a warning: a picture less must not end a night's work."""
        prompts = self._config.sample.prompts
        if not prompts:
            return
        self._emit(PhaseChanged("sampling", f"step {step}", 0, len(prompts)))
        try:
            for index, prompt in enumerate(prompts):
                self._draw_one(step, index, prompt)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            hint = "Lower data.resolution, or set sample.every_steps = 0."
            self._emit(Warned("preview_memory", f"Not enough memory for the preview at step {step}.", hint))
        finally:
            self._family.unload("vae")

    def _draw_one(self, step: int, index: int, prompt: str) -> None:
        seed = self._config.sample.seed + index
        picture = draw_prompts(self._family, self._dataset, self._config, [prompt], [seed])[0]
        path = self._run.samples / f"step-{step:06d}-{index:02d}.png"
        picture.save(path)
        self._emit(SampleReady(step, index, prompt, seed, path.relative_to(self._run.path).as_posix()))


def draw_prompts(
    family: ModelFamily, dataset: Batches, config: TrainConfig, prompts: list[str], seeds: list[int]
) -> list[Image.Image]:
    """One picture a prompt at the run's resolution, drawn together. The VAE stays loaded."""
    family.load("vae")
    request = SampleRequest(
        cond=dataset.conditioning(prompts),
        seeds=tuple(seeds),
        width=int(config.data.resolution),
        height=int(config.data.resolution),
        steps=int(config.sample.steps),
        guidance=float(config.sample.guidance),
        negative=dataset.conditioning([config.sample.negative] * len(prompts)),
    )
    with evaluating(family):
        return family.sample(request)
