"""Draws with a base model and an adapter file, or the base alone, without loading the model again for each picture."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from trainers import catalog, plan
from trainers.adapters import TEXT, Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.config import TrainConfig
from trainers.errors import AtelierError
from trainers.families import load_family
from trainers.families.base import Conditioning, ModelFamily, Runtime, SampleRequest
from trainers.lora.layers import Layers
from trainers.lora.read import read_lora
from trainers.machine import GIB, detect
from trainers.sampling import evaluating
from trainers.weights.hub import Progress, fetch
from trainers.worker import make_runtime, quiet_libraries

LATENT_SCALE = 8  # pixels of a latent's side
ROOM = 0.6  # share of the memory that text encoders and denoiser may fill together; the rest is for drawing


@dataclass(frozen=True)
class DrawRequest:
    """One picture from the noise of `seed`. strength: of the adapter; 0 is the base alone, bit for bit.

    negative: what real guidance turns away from; families without it ignore it.
    """

    prompt: str
    negative: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    strength: float


def _silent(part: str) -> None:
    """Nobody listens."""


def nothing_to_tell(file: str, done: int, total: int) -> None:
    """Nobody watches."""


class Drawer:
    """A base model with the adapter of `file`, None for none. say: hears which part is being loaded, "text" or
    "denoiser".

    Prompts are encoded once, each on its own, so that a picture does not depend on the others that are drawn. The text
    encoders go before the denoiser comes, unless both fit; those that the adapter is on stay.
    """

    def __init__(
        self,
        config: TrainConfig,
        file: Path | None,
        say: Callable[[str], None] = _silent,
        download: Progress = nothing_to_tell,
    ) -> None:
        """Reads the file, and downloads the base if it is not here; its weights are loaded when they are needed.

        download: hears (file, bytes that are there, bytes in all). Raises AtelierError.
        """
        quiet_libraries()
        fetch(config.model, download)
        self._config, self.say = config, say
        runtime = dataclasses.replace(make_runtime(config), gradient_checkpointing=False, train_text=False)
        self._family, self._layers, self._train_text = _open(config, runtime, file)
        self._known: dict[str, Conditioning] = {}
        self._adapter: Adapter | None = None
        self._loaded = False  # the denoiser, with the adapter on it

    def forget(self) -> None:
        """Drop what prompts were encoded to: of thousands it would fill the memory."""
        self._known.clear()

    def shift(self, width: int, height: int) -> float:
        """The sampler's shift of noise levels for pictures of this size in pixels; 1 for none."""
        return self._family.shift(height // LATENT_SCALE, width // LATENT_SCALE)

    def change(self, file: Path) -> None:
        """Draw with another file from now on; the base stays loaded if it has the same layers. Raises AtelierError."""
        layers = read_lora(file, self._family.skeleton())
        if _on_text(layers) != self._train_text:
            raise AtelierError(f"{file.name} is on other parts of the model.", "Draw with it on its own.")
        if self._loaded and not (self._adapter and self._adapter.replace(layers)):
            self._drop_denoiser()
        self._layers = layers

    def read(self, prompts: Sequence[str]) -> None:
        """Encode prompts ahead, all at once."""
        fresh = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if not fresh:
            return
        if self._loaded and not self._both_fit():
            self._drop_denoiser()
        self.say("text")
        self._family.load("text")
        for prompt in fresh:
            self._known[prompt] = self._family.encode_prompt([prompt])
        if not self._both_fit():
            self._family.unload("text")

    def draw(self, request: DrawRequest) -> Image.Image:
        return self.draw_batch([request])[0]

    def draw_batch(self, requests: Sequence[DrawRequest]) -> list[Image.Image]:
        """Several pictures at a time, in order: each as it would be drawn alone, but for rounding.

        Only prompts, negatives and seeds may differ; raises ValueError for anything else.
        """
        first = requests[0]
        if any(_shared(one) != _shared(first) for one in requests):
            raise ValueError("pictures of one batch have one size, and one number of steps, guidance and strength")
        guided = "negative" in catalog.FAMILIES[self._config.model.family].features
        prompts, negatives = [one.prompt for one in requests], [one.negative for one in requests] if guided else []
        self.read([*prompts, *negatives])
        adapter = self._wear()
        wanted = SampleRequest(
            cond=Conditioning.stack(self._known[prompt] for prompt in prompts),
            seeds=tuple(one.seed for one in requests),
            width=first.width,
            height=first.height,
            steps=first.steps,
            guidance=first.guidance,
            negative=Conditioning.stack(self._known[negative] for negative in negatives) if guided else None,
        )
        with evaluating(self._family), contextlib.ExitStack() as stack:
            if adapter and first.strength == 0:
                stack.enter_context(adapter.disabled())
            elif adapter:
                adapter.set_strength(first.strength)
            return self._family.sample(wanted)

    def close(self) -> None:
        """Give the memory back; what was encoded stays."""
        self._drop_denoiser()
        self._family.unload("text")
        self._family.unload("vae")

    def _wear(self) -> Adapter | None:
        """The adapter on the loaded model; None without one."""
        if not self._loaded:
            self.say("denoiser")
            self._family.load("denoiser")
            if self._train_text:
                self._family.load("trained_text")
            if self._layers is not None:
                self._adapter = Adapter(self._family.adapted(), AdapterConfig(), {}, seed=0, like=self._layers)
            self._family.load("vae")
            self._loaded = True
        return self._adapter

    def _drop_denoiser(self) -> None:
        # the adapter's layers are inside the modules, and go with them
        self._adapter, self._loaded = None, False
        self._family.unload("denoiser")
        if self._train_text:
            self._family.unload("trained_text")

    def _both_fit(self) -> bool:
        model = catalog.model_of(self._config.model.base, self._config.model.family)
        weights = (model.text_params + model.denoiser_params + model.vae_params) * 1e9
        return weights * plan.BYTES[self._config.model.precision] / GIB < ROOM * detect().memory_gib


def _shared(request: DrawRequest) -> tuple[object, ...]:
    """What all pictures of a batch have in common."""
    return request.width, request.height, request.steps, request.guidance, request.strength


def _open(config: TrainConfig, runtime: Runtime, file: Path | None) -> tuple[ModelFamily, Layers | None, bool]:
    """(the family, the adapter's layers or None without one, whether some are on text encoders).

    The file says so, not the config: that of another program's file was made up.
    """
    family = load_family(config, runtime)
    if file is None:
        return family, None, False
    layers = read_lora(file, family.skeleton())
    if not _on_text(layers):
        return family, layers, False
    return load_family(config, dataclasses.replace(runtime, train_text=True)), layers, True


def _on_text(layers: Layers) -> bool:
    return any(name.startswith(TEXT) for name in layers)
