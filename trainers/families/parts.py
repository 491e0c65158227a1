"""What all families do alike: parts that come and go, frozen modules, pictures to latents and back."""

from __future__ import annotations

import gc
import re
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.hooks import apply_layerwise_casting
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers import T5EncoderModel

from trainers import catalog
from trainers.config import Model
from trainers.families.base import DTYPES, Conditioning, Part, Runtime, SampleRequest
from trainers.weights.open import open_model, open_skeleton, open_tokenizer
from trainers.weights.source import ModelSource, source_of, stamp


class Components:
    """The components of a pipeline by name, loaded and dropped in parts. classes: component -> its class.

    keep: patterns of the denoiser's layers that stay out of 8-bit storage.
    """

    def __init__(
        self,
        config: Model,
        spec: catalog.FamilySpec,
        runtime: Runtime,
        classes: dict[str, Any],
        keep: tuple[str, ...] = (),
    ) -> None:
        self.source = source_of(config)
        self._config, self._spec, self._runtime, self._classes, self._keep = config, spec, runtime, classes, keep
        self._trainable = [encoder.component for encoder in spec.text_encoders if encoder.trainable]
        self._loaded: dict[Part, dict[str, Any]] = {}

    def load(self, part: Part) -> None:
        if part not in self._loaded:
            self._loaded[part] = self._open(part)

    def unload(self, part: Part) -> None:
        if self._loaded.pop(part, None) is not None:
            gc.collect()
            if self._runtime.device.type == "cuda":
                torch.cuda.empty_cache()

    def _open(self, part: Part) -> dict[str, Any]:
        spec, classes, runtime = self._spec, self._classes, self._runtime
        if part == "vae":
            return {"vae": open_vae(self.source, self._config, runtime)}
        if part == "denoiser":
            return {
                spec.denoiser: open_denoiser(self.source, spec.denoiser, classes[spec.denoiser], runtime, self._keep)
            }
        trained = self._trainable if runtime.train_text or part == "trained_text" else []
        frozen = [encoder.component for encoder in spec.text_encoders if encoder.component not in trained]
        wanted = trained if part == "trained_text" else frozen
        encoders = {name: open_frozen(self.source, name, classes[name], runtime) for name in wanted}
        if part == "trained_text":
            return encoders
        tokenizers = [encoder.subfolder for encoder in spec.text_encoders]
        return {**encoders, **{name: open_tokenizer(self.source, name) for name in tokenizers}}

    def __getitem__(self, name: str) -> Any:
        """Raises RuntimeError while its part is not loaded."""
        found = self._find(name)
        if found is None:
            raise RuntimeError(f"the {name} is not loaded")
        return found

    def _find(self, name: str) -> Any | None:
        return next((part[name] for part in self._loaded.values() if name in part), None)

    def fingerprint(self, part: Part, *more: object) -> str:
        """Names what a part makes of pictures or words. more: further settings that its output depends on."""
        runtime, config = self._runtime, self._config
        if part == "vae":
            facts = [stamp(self.source, "vae"), config.vae_precision]
        else:
            facts = [stamp(self.source, encoder.component) for encoder in self._spec.text_encoders]
            facts += [config.clip_skip, config.text_chunks, runtime.train_text, runtime.quantize]
        return ":".join(map(str, [self._spec.title, part, *facts, runtime.dtype, *more]))

    def adapted(self) -> dict[str, nn.Module]:
        """See `ModelFamily.adapted`."""
        names = [self._spec.denoiser, *(self._trainable if self._runtime.train_text else ())]
        return {name: found for name in names if (found := self._find(name)) is not None}

    def skeleton(self) -> dict[str, nn.Module]:
        """See `ModelFamily.skeleton`."""
        names = [self._spec.denoiser, *self._trainable]
        return {name: open_skeleton(self.source, name, self._classes[name]) for name in names}


def open_frozen(source: ModelSource, name: str, cls: Any, runtime: Runtime) -> Any:
    """A frozen component on the device, in the run's number format; T5, whose states overflow in fp16, in bf16 then."""
    is_t5 = cls is T5EncoderModel
    dtype = torch.bfloat16 if is_t5 and runtime.dtype == torch.float16 else runtime.dtype
    model = open_model(source, name, cls, dtype)
    if is_t5 and runtime.quantize == "fp8":
        # T5 brings its states to the format of `wo` before that layer runs, when it would still be 8 bits
        kept = ("layer_norm", "shared", "embed_tokens", "relative_attention_bias", r"\.wo$")
        apply_layerwise_casting(model, torch.float8_e4m3fn, dtype, skip_modules_pattern=kept)
    return model.to(runtime.device)


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


@torch.no_grad()
def draw_latents(
    pipe: Any, request: SampleRequest, cond: Conditioning, negative: Conditioning | None, guidance: float
) -> Tensor:
    """What a pipeline without VAE and encoders draws, as it has it. cond, negative: read, on the device.

    Noise comes from the CPU, so that a seed draws the same on every device.
    """
    pipe.set_progress_bar_config(disable=True)
    names = {"words": "prompt_embeds", "pooled": "pooled_prompt_embeds"}
    told = {names[name]: tensor for name, tensor in cond.tensors.items()}
    if negative:
        told |= {f"negative_{names[name]}": tensor for name, tensor in negative.tensors.items()}
    return pipe(
        **told,
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
        output_type="latent",
    ).images
