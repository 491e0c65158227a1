"""What the loop, the objectives and the previews ask of an architecture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from trainers import catalog
from trainers.processes import NoiseProcess

Part = Literal["vae", "text", "trained_text", "denoiser"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Runtime:
    """Where and in which numbers the frozen base computes.

    quantize: "none" | "fp8" storage of its layers; train_text: an adapter is on the text encoders too, so prompts stay
    token ids until the denoiser asks.
    """

    device: torch.device
    dtype: torch.dtype
    quantize: str = "none"
    gradient_checkpointing: bool = False
    train_text: bool = False


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told about a batch: named tensors, each [B, ...]."""

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def split(self) -> list[Conditioning]:
        """One Conditioning of batch size 1 for each sample."""
        return [
            Conditioning({name: tensor[i : i + 1] for name, tensor in self.tensors.items()}) for i in range(len(self))
        ]

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> Conditioning:
        return Conditioning({name: tensor.to(device, dtype) for name, tensor in self.tensors.items()})

    @staticmethod
    def stack(parts: Iterable[Conditioning]) -> Conditioning:
        """One batch of several; all must have the same names and shapes behind the first axis."""
        parts = list(parts)
        return Conditioning({name: torch.cat([part[name] for part in parts]) for name in parts[0].tensors})


@dataclass(frozen=True)
class SampleRequest:
    """Pictures to draw: one per row of `cond`, all of one size in pixels, each from the noise of its own seed.

    negative: what real guidance turns away from, as many rows as `cond`; None draws without such guidance, and so do
    families that have none.
    """

    cond: Conditioning
    seeds: tuple[int, ...]
    width: int
    height: int
    steps: int
    guidance: float
    negative: Conditioning | None = None


TEXT_TARGETS = r".*\.self_attn\.(q_proj|k_proj|v_proj|out_proj)"


def lora_targets(spec: catalog.FamilySpec, scope: str) -> dict[str, str | list[str]]:
    """Of every component that can be trained. scope: a named set of the denoiser's layers, or endings of names."""
    named = spec.targets.get(scope)
    of_denoiser = named.pattern if named else [ending.strip() for ending in scope.split(",")]
    encoders = {encoder.component: TEXT_TARGETS for encoder in spec.text_encoders if encoder.trainable}
    return {spec.denoiser: of_denoiser, **encoders}


class ModelFamily(Protocol):
    """One architecture on top of its diffusers pipeline.

    Parts are loaded and unloaded one by one, so that the peak of memory is the largest part, not the sum.
    """

    process: NoiseProcess
    latent_channels: int

    @property
    def denoiser(self) -> nn.Module:
        """The network that is trained. Raises RuntimeError before load("denoiser")."""
        ...

    def load(self, part: Part) -> None:
        """Bring a part to the device. Loading what is loaded does nothing."""
        ...

    def unload(self, part: Part) -> None:
        """Drop a part and its memory."""
        ...

    def fingerprint(self, part: Part) -> str:
        """Changes whenever the output of `part` may change: part of every cache key. Needs no weights."""
        ...

    def encode_image(self, pixels: Tensor) -> Tensor:
        """pixels [B,3,H,W] in [-1,1] -> normalised latents [B,C,h,w], fp32. Deterministic: the posterior's mode."""
        ...

    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        """What the text encoders make of the prompts, one row each.

        Of encoders that are trained it holds the token ids: what they make of them changes with every step.
        """
        ...

    def framed(self, cond: Conditioning, framing: Tensor) -> Conditioning:
        """The same with what the model is told of sizes. framing [B,6]: see `trainers.data.cuts.framing_of`."""
        ...

    def shift(self, height: int, width: int, kind: str = "auto") -> float:
        """The family's own shift of noise levels for latents of this height and width.

        kind: "static" is the scheduler's number, "resolution" follows the size, "auto" is as the model's sampler does.
        """
        ...

    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """The target of `process`, as the model sees it. noisy [B,C,h,w]; sigma [B] fp32 in [0,1] -> [B,C,h,w]."""
        ...

    def sample(self, request: SampleRequest) -> list[Image.Image]:
        """Draw pictures with the pipeline's own sampler. Needs vae and denoiser, not the frozen text encoders."""
        ...

    def adapted(self) -> dict[str, nn.Module]:
        """The loaded modules that take an adapter, by the name of their component: the denoiser, and text encoders
        where they are trained."""
        ...

    def skeleton(self) -> dict[str, nn.Module]:
        """The same on the meta device, all that can be trained, whether loaded or not: names and shapes alone."""
        ...

    def lora_targets(self, scope: str) -> dict[str, str | list[str]]:
        """What PEFT attaches to, for each component of `adapted`: a pattern that full module names match, or endings of
        module names."""
        ...
