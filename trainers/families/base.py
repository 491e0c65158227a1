"""What the loop, the objectives and the previews ask of an architecture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from trainers.processes import NoiseProcess

Part = Literal["vae", "text", "denoiser"]


@dataclass(frozen=True)
class Runtime:
    """Where and in which numbers the frozen base computes. quantize: "none" | "fp8" storage of its layers."""

    device: torch.device
    dtype: torch.dtype
    quantize: str = "none"
    gradient_checkpointing: bool = False


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
    """Pictures to draw: one per row of `cond`, all of one size in pixels, each from the noise of its own seed."""

    cond: Conditioning
    seeds: tuple[int, ...]
    width: int
    height: int
    steps: int
    guidance: float


def stamp(source: str) -> str:
    """Names the weights of a source: an id as it is, a folder by names, sizes and times of its weight files."""
    folder = Path(source)
    if not folder.is_dir():
        return source
    files = sorted(folder.rglob("*.safetensors"))
    facts = [(str(file.relative_to(folder)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


class ModelFamily(Protocol):
    """One architecture on top of its diffusers pipeline.

    Parts are loaded and unloaded one by one, so that the peak of memory is the largest part, not the sum.
    """

    process: NoiseProcess
    latent_channels: int

    @property
    def denoiser(self) -> nn.Module:
        """The network that the adapter attaches to. Raises RuntimeError before load("denoiser")."""
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
        """What the text encoders make of the prompts, one row each."""
        ...

    def shift(self, height: int, width: int) -> float:
        """The family's own shift of noise levels for latents of this height and width."""
        ...

    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """The target of `process`, as the model sees it. noisy [B,C,h,w]; sigma [B] fp32 in [0,1] -> [B,C,h,w]."""
        ...

    def sample(self, request: SampleRequest) -> list[Image.Image]:
        """Draw pictures with the pipeline's own sampler. Needs vae and denoiser, not the text encoders."""
        ...

    def apply_lora(self, path: str) -> None:
        """Put a LoRA file on the denoiser, in any layout that the pipeline's own loader knows."""
        ...

    def lora_targets(self, scope: str) -> str | list[str]:
        """What PEFT attaches to: a pattern that full module names match, or endings of module names."""
        ...

    def export_keys(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adapter tensors by module name -> by the names that other programs load."""
        ...
