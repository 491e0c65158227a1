"""What all families do alike: parts that come and go, frozen modules, pictures to latents and back."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers import T5EncoderModel

from trainers import catalog
from trainers.config import Model
from trainers.families.base import Part, Runtime
from trainers.weights.open import open_model, open_skeleton
from trainers.weights.source import ModelSource, stamp

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def fingerprint(
    spec: catalog.FamilySpec, source: ModelSource, config: Model, part: Part, runtime: Runtime, *more: object
) -> str:
    """Names what a part makes of pictures or words. more: further settings that its output depends on."""
    if part == "vae":
        return ":".join(map(str, [spec.title, part, stamp(source, "vae"), config.vae_precision, runtime.dtype, *more]))
    encoders = [stamp(source, encoder.component) for encoder in spec.text_encoders]
    settings = [config.clip_skip, config.text_chunks, runtime.train_text, runtime.dtype]
    return ":".join(map(str, [spec.title, part, *encoders, *settings, *more]))


class Parts:
    """Components of a pipeline by name, loaded and dropped in parts. loaders: part -> what makes its components."""

    def __init__(self, loaders: dict[Part, Callable[[], dict[str, Any]]], device: torch.device) -> None:
        self._loaders, self._device = loaders, device
        self._loaded: dict[Part, dict[str, Any]] = {}

    def load(self, part: Part) -> None:
        if part not in self._loaded:
            self._loaded[part] = self._loaders[part]()

    def unload(self, part: Part) -> None:
        if self._loaded.pop(part, None) is not None:
            gc.collect()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def find(self, name: str) -> Any | None:
        """The component, or None while its part is not loaded."""
        return next((part[name] for part in self._loaded.values() if name in part), None)

    def present(self, names: Iterable[str]) -> dict[str, Any]:
        """Those that are loaded, by name."""
        return {name: found for name in names if (found := self.find(name)) is not None}

    def __getitem__(self, name: str) -> Any:
        found = self.find(name)
        if found is None:
            raise RuntimeError(f"the {name} is not loaded")
        return found


def open_frozen(source: ModelSource, name: str, cls: Any, runtime: Runtime) -> Any:
    """A frozen component on the device, in the run's number format; T5, whose states overflow in fp16, in bf16 then."""
    overflows = runtime.dtype == torch.float16 and cls is T5EncoderModel
    return open_model(source, name, cls, torch.bfloat16 if overflows else runtime.dtype).to(runtime.device)


def open_denoiser(source: ModelSource, name: str, cls: Any, runtime: Runtime, keep: tuple[str, ...] = ()) -> nn.Module:
    """The frozen denoiser, ready to be trained. keep: patterns of layers that stay out of 8-bit storage, beside those
    that diffusers leaves out and convolutions."""
    model: Any = open_model(source, name, cls, runtime.dtype)
    if runtime.quantize == "fp8":
        own = model._skip_layerwise_casting_patterns or ()
        # before the move, so that the device never holds more than the 8-bit weights
        model.enable_layerwise_casting(
            torch.float8_e4m3fn,
            runtime.dtype,
            skip_modules_pattern=(*own, "^proj_in$", "^proj_out$", *keep, *_convolutions(model)),
        )
    if runtime.gradient_checkpointing:
        model.enable_gradient_checkpointing(checkpoint_block)
    return model.to(runtime.device)


def _convolutions(model: nn.Module) -> list[str]:
    """Patterns of their names. The backward pass of a convolution reads the very weight, which is in 8 bits again by
    then; that of a linear layer reads a view of what it was."""
    return [f"^{re.escape(name)}$" for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def checkpoint_block(block: nn.Module, *args: Any) -> Any:
    """Recompute the block in the backward pass, and to its very end.

    Ending early would leave its last layer cast up, where the base is stored in 8 bits.
    """
    with set_checkpoint_early_stop(False):
        return checkpoint(block.__call__, *args, use_reentrant=False)


def open_vae(source: ModelSource, config: Model, runtime: Runtime) -> AutoencoderKL:
    """The VAE, in fp32 where the run is in fp16 and the VAE says that it overflows."""
    dtype = DTYPES.get(config.vae_precision, runtime.dtype)
    if config.vae_precision == "auto" and dtype == torch.float16:
        overflows = open_skeleton(source, "vae", AutoencoderKL).config.force_upcast
        dtype = torch.float32 if overflows else dtype
    vae: AutoencoderKL = open_model(source, "vae", AutoencoderKL, dtype)
    return vae.to(runtime.device)


@torch.no_grad()
def to_latents(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """pixels [B,3,H,W] in [-1,1] -> (mode of the posterior - shift) * scale, [B,C,H/8,W/8] fp32."""
    latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode().float()
    return (latents - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor


@torch.no_grad()
def to_pictures(vae: AutoencoderKL, latents: Tensor) -> list[Image.Image]:
    """The reverse, as the pipelines do it."""
    latents = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
    return VaeImageProcessor().postprocess(vae.decode(latents, return_dict=False)[0], output_type="pil")


def generators(seeds: tuple[int, ...]) -> list[torch.Generator]:
    """One for each picture, on the CPU, so that a seed draws the same on every device."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]
