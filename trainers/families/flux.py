"""FLUX.1 (dev, schnell, and everything in the same classes), on diffusers' FluxPipeline.

x = (z - 0.1159) * 0.3611 of a 16-channel VAE; 2 x 2 latents packed to one token of 64; CLIP-L's pooled output
and T5's states, padded without a mask; raw output is the velocity eps - x0.
"""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, T5EncoderModel

from trainers import catalog
from trainers.config import TrainConfig
from trainers.families.base import Conditioning, Part, Runtime, SampleRequest, lora_targets
from trainers.families.clip import states, token_ids
from trainers.families.flow import flow_shift
from trainers.families.parts import Components, draw_latents, to_latents, to_pictures
from trainers.processes import RectifiedFlow
from trainers.weights.open import open_scheduler

LATENT_SCALE = 8  # pixels of a latent's side
PATCH = 2  # latents of a token's side
CLASSES = {"transformer": FluxTransformer2DModel, "text_encoder": CLIPTextModel, "text_encoder_2": T5EncoderModel}


class Family:
    """FLUX.1; see `trainers.families.base.ModelFamily` for the contract."""

    def __init__(
        self, config: TrainConfig, spec: catalog.FamilySpec, model: catalog.ModelSpec, runtime: Runtime
    ) -> None:
        self.process = RectifiedFlow()
        self.latent_channels = 16
        self._config, self._spec, self._runtime = config.model, spec, runtime
        self._text_tokens = model.text_tokens
        self._parts = Components(config.model, spec, runtime, CLASSES)
        self.load, self.unload = self._parts.load, self._parts.unload
        self.adapted, self.skeleton = self._parts.adapted, self._parts.skeleton
        self._scheduler = open_scheduler(self._parts.source, FlowMatchEulerDiscreteScheduler)

    @property
    def denoiser(self) -> nn.Module:
        return self._parts["transformer"]

    def fingerprint(self, part: Part) -> str:
        return self._parts.fingerprint(part, self._text_tokens)

    # ------------------------------------------------------------------ encoding

    def encode_image(self, pixels: Tensor) -> Tensor:
        return to_latents(self._parts["vae"], pixels)

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        tokenizer, t5 = self._parts["tokenizer_2"], self._parts["text_encoder_2"]
        room = {"padding": "max_length", "max_length": self._text_tokens, "truncation": True}
        ids = tokenizer(prompts, return_tensors="pt", **room).input_ids.to(self._runtime.device)
        # no mask: FLUX was trained with its padding in sight
        words = t5(ids).last_hidden_state
        cond = Conditioning({"ids": token_ids(self._parts["tokenizer"], prompts), "words": words})
        return cond if self._runtime.train_text else self._read(cond)

    def _read(self, cond: Conditioning) -> Conditioning:
        """Token ids read by CLIP, with gradients where it is trained; other conditioning as it is."""
        if "ids" not in cond.tensors:
            return cond
        ids = cond["ids"]
        _, pooled = states(self._parts["text_encoder"], ids, 1, ids.shape[1], normed=False)
        return Conditioning({"pooled": pooled, "words": cond["words"]})

    def framed(self, cond: Conditioning, framing: Tensor) -> Conditioning:
        return cond

    # ------------------------------------------------------------------ denoising

    def shift(self, height: int, width: int, kind: str = "auto") -> float:
        return flow_shift(self._scheduler, (height // PATCH) * (width // PATCH), kind)

    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        read, transformer = self._read(cond), self.denoiser
        dtype = self._runtime.dtype
        batch, channels, height, width = noisy.shape
        guidance = None
        if transformer.config.guidance_embeds:
            guidance = torch.full((batch,), self._config.guidance, device=noisy.device, dtype=torch.float32)
        words = read["words"].to(dtype)
        velocity = transformer(
            hidden_states=FluxPipeline._pack_latents(noisy, batch, channels, height, width).to(dtype),
            timestep=sigma,  # fp32: the model multiplies by 1000 and casts itself
            guidance=guidance,
            pooled_projections=read["pooled"].to(dtype),
            encoder_hidden_states=words,
            txt_ids=torch.zeros(words.shape[1], 3, device=noisy.device, dtype=dtype),
            img_ids=FluxPipeline._prepare_latent_image_ids(batch, height // PATCH, width // PATCH, noisy.device, dtype),
            return_dict=False,
        )[0]
        return FluxPipeline._unpack_latents(velocity, height * LATENT_SCALE, width * LATENT_SCALE, LATENT_SCALE)

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> list[Image.Image]:
        """Guidance goes to the model's own embedding; models without one ignore it."""
        pipe = FluxPipeline(self._scheduler, None, None, None, None, None, self.denoiser)
        cond = self._read(request.cond).to(self._runtime.device, self._runtime.dtype)
        packed = draw_latents(pipe, request, cond, None, request.guidance)
        latents = FluxPipeline._unpack_latents(packed, request.height, request.width, LATENT_SCALE)
        return to_pictures(self._parts["vae"], latents)

    # ------------------------------------------------------------------ adapters

    def lora_targets(self, scope: str) -> dict[str, str | list[str]]:
        return lora_targets(self._spec, scope)
