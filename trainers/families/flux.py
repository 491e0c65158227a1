"""FLUX.1 (dev, schnell, and everything in the same classes), on diffusers' FluxPipeline.

x = (z - shift) * scale of a 16-channel VAE; 2 x 2 latents packed to one token of 64; CLIP-L's pooled output
and T5's states, padded without a mask; raw output is the velocity eps - x0.
"""

from __future__ import annotations

import gc
import math
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers import AutoTokenizer, CLIPTextModel, T5EncoderModel

from trainers import catalog
from trainers.config import Model
from trainers.families.base import Conditioning, Part, Runtime, SampleRequest, stamp
from trainers.processes import RectifiedFlow

LATENT_SCALE = 8  # pixels of a latent's side
PATCH = 2  # latents of a token's side


def checkpoint_block(block: nn.Module, *args: Any) -> Any:
    """Recompute the block in the backward pass, and to its very end.

    Ending early would leave its last layer cast up, where the base is stored in 8 bits.
    """
    with set_checkpoint_early_stop(False):
        return checkpoint(block.__call__, *args, use_reentrant=False)


class Family:
    """FLUX.1; see `trainers.families.base.ModelFamily` for the contract."""

    def __init__(self, config: Model, spec: catalog.FamilySpec, model: catalog.ModelSpec, runtime: Runtime) -> None:
        self.process = RectifiedFlow()
        self.latent_channels = 16
        self._config, self._spec, self._model, self._runtime = config, spec, model, runtime
        self._source = catalog.source_of(config.base)
        self._parts: dict[Part, Any] = {}
        self._scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
            self._source, subfolder="scheduler", revision=self._revision
        )

    @property
    def _revision(self) -> str | None:
        return self._config.revision or None

    # ------------------------------------------------------------------ parts

    def load(self, part: Part) -> None:
        if part not in self._parts:
            loaders = {"vae": self._load_vae, "text": self._load_text, "denoiser": self._load_denoiser}
            self._parts[part] = loaders[part]()

    def unload(self, part: Part) -> None:
        if self._parts.pop(part, None) is not None:
            gc.collect()
            if self._runtime.device.type == "cuda":
                torch.cuda.empty_cache()

    def _open(self, cls: Any, subfolder: str) -> Any:
        loaded = cls.from_pretrained(
            self._source, subfolder=subfolder, revision=self._revision, torch_dtype=self._runtime.dtype
        )
        return loaded.eval().requires_grad_(False)

    def _load_vae(self) -> AutoencoderKL:
        if self._config.vae:
            vae = AutoencoderKL.from_pretrained(self._config.vae, torch_dtype=self._runtime.dtype)
            return vae.eval().requires_grad_(False).to(self._runtime.device)
        return self._open(AutoencoderKL, "vae").to(self._runtime.device)

    def _load_text(self) -> tuple[Any, CLIPTextModel, Any, T5EncoderModel]:
        clip_tokenizer, t5_tokenizer = (
            AutoTokenizer.from_pretrained(self._source, subfolder=name, revision=self._revision)
            for name in ("tokenizer", "tokenizer_2")
        )
        clip = self._open(CLIPTextModel, "text_encoder").to(self._runtime.device)
        t5 = self._open(T5EncoderModel, "text_encoder_2").to(self._runtime.device)
        return clip_tokenizer, clip, t5_tokenizer, t5

    def _load_denoiser(self) -> FluxTransformer2DModel:
        transformer = self._open(FluxTransformer2DModel, "transformer")
        if self._runtime.quantize == "fp8":
            # before the move, so that the device never holds more than the 8-bit weights
            transformer.enable_layerwise_casting(torch.float8_e4m3fn, self._runtime.dtype)
        if self._runtime.gradient_checkpointing:
            transformer.enable_gradient_checkpointing(checkpoint_block)
        return transformer.to(self._runtime.device)

    @property
    def denoiser(self) -> nn.Module:
        return self._part("denoiser")

    def _part(self, part: Part) -> Any:
        if part not in self._parts:
            raise RuntimeError(f"the {part} is not loaded")
        return self._parts[part]

    def fingerprint(self, part: Part) -> str:
        source = self._config.vae if part == "vae" and self._config.vae else self._source
        return ":".join(
            [
                self._spec.title,
                part,
                stamp(source),
                self._config.revision,
                str(self._runtime.dtype),
                str(self._text_length),
            ]
        )

    @property
    def _text_length(self) -> int:
        return self._model.text_tokens

    # ------------------------------------------------------------------ encoding

    @torch.no_grad()
    def encode_image(self, pixels: Tensor) -> Tensor:
        vae = self._part("vae")
        latents = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode().float()
        return (latents - vae.config.shift_factor) * vae.config.scaling_factor

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        clip_tokenizer, clip, t5_tokenizer, t5 = self._part("text")

        def ids(tokenizer: Any, length: int) -> Tensor:
            padded = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
            return padded.input_ids.to(self._runtime.device)

        return Conditioning(
            {
                "pooled": clip(ids(clip_tokenizer, clip_tokenizer.model_max_length)).pooler_output,
                # no mask: FLUX was trained with its padding in sight
                "words": t5(ids(t5_tokenizer, self._text_length)).last_hidden_state,
            }
        )

    # ------------------------------------------------------------------ denoising

    def shift(self, height: int, width: int) -> float:
        """exp(mu) with mu linear in the number of tokens, from the scheduler's config."""
        config = self._scheduler.config
        if not config.use_dynamic_shifting:
            return float(config.shift)
        mu = calculate_shift(
            (height // PATCH) * (width // PATCH),
            config.base_image_seq_len,
            config.max_image_seq_len,
            config.base_shift,
            config.max_shift,
        )
        return math.exp(mu)

    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        transformer = self.denoiser
        dtype = self._runtime.dtype
        batch, channels, height, width = noisy.shape
        guidance = None
        if transformer.config.guidance_embeds:
            guidance = torch.full((batch,), self._config.guidance, device=noisy.device, dtype=torch.float32)
        words = cond["words"].to(dtype)
        velocity = transformer(
            hidden_states=FluxPipeline._pack_latents(noisy, batch, channels, height, width).to(dtype),
            timestep=sigma,  # fp32: the model multiplies by 1000 and casts itself
            guidance=guidance,
            pooled_projections=cond["pooled"].to(dtype),
            encoder_hidden_states=words,
            txt_ids=torch.zeros(words.shape[1], 3, device=noisy.device, dtype=dtype),
            img_ids=FluxPipeline._prepare_latent_image_ids(batch, height // PATCH, width // PATCH, noisy.device, dtype),
            return_dict=False,
        )[0]
        return FluxPipeline._unpack_latents(velocity, height * LATENT_SCALE, width * LATENT_SCALE, LATENT_SCALE)

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> list[Image.Image]:
        """Guidance goes to the model's own embedding; models without one ignore it."""
        pipe = FluxPipeline(self._scheduler, self._part("vae"), None, None, None, None, self.denoiser)
        pipe.set_progress_bar_config(disable=True)
        cond = request.cond.to(self._runtime.device, self._runtime.dtype)
        return pipe(
            prompt_embeds=cond["words"],
            pooled_prompt_embeds=cond["pooled"],
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
        ).images

    # ------------------------------------------------------------------ adapters

    def apply_lora(self, path: str) -> None:
        pipe = FluxPipeline(self._scheduler, None, None, None, None, None, self.denoiser)
        pipe.load_lora_weights(path)

    def lora_targets(self, scope: str) -> str | list[str]:
        if scope in self._spec.targets:
            return self._spec.targets[scope].pattern
        return [ending.strip() for ending in scope.split(",")]

    def export_keys(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """`transformer.` + diffusers' module names: loads in diffusers, ComfyUI and Forge without conversion."""
        return {f"transformer.{name}": tensor for name, tensor in state.items()}
