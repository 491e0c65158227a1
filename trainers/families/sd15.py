"""Stable Diffusion 1.x, on diffusers' StableDiffusionPipeline.

x = z * 0.18215 of a 4-channel VAE; CLIP-L's states, in pieces of 77 tokens; a UNet that predicts eps, or v.
"""

from __future__ import annotations

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel

from trainers import catalog
from trainers.config import TrainConfig
from trainers.families.base import Conditioning, Part, Runtime, SampleRequest, lora_targets
from trainers.families.clip import states, token_ids
from trainers.families.parts import Components, draw_latents, to_latents, to_pictures
from trainers.families.unet import KEEP, open_process

CLASSES = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}


class Family:
    """Stable Diffusion 1.x; see `trainers.families.base.ModelFamily` for the contract."""

    def __init__(
        self, config: TrainConfig, spec: catalog.FamilySpec, model: catalog.ModelSpec, runtime: Runtime
    ) -> None:
        self.latent_channels = 4
        self._config, self._spec, self._runtime = config.model, spec, runtime
        self._parts = Components(config.model, spec, runtime, CLASSES, keep=KEEP)
        self.load, self.unload = self._parts.load, self._parts.unload
        self.adapted, self.skeleton = self._parts.adapted, self._parts.skeleton
        self.process, self._sampler = open_process(self._parts.source, config.model, config.noise.zero_snr)

    @property
    def denoiser(self) -> nn.Module:
        return self._parts["unet"]

    def fingerprint(self, part: Part) -> str:
        return self._parts.fingerprint(part)

    # ------------------------------------------------------------------ encoding

    def encode_image(self, pixels: Tensor) -> Tensor:
        return to_latents(self._parts["vae"], pixels)

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        ids = token_ids(self._parts["tokenizer"], prompts, self._config.text_chunks)
        cond = Conditioning({"ids": ids})
        return cond if self._runtime.train_text else self._read(cond)

    def _read(self, cond: Conditioning) -> Conditioning:
        """Token ids read by the encoder, with gradients where it is trained; other conditioning as it is."""
        if "ids" not in cond.tensors:
            return cond
        ids = cond["ids"]
        length = ids.shape[1] // self._config.text_chunks
        words, _ = states(self._parts["text_encoder"], ids, self._config.clip_skip, length, normed=True)
        return Conditioning({"words": words})

    def framed(self, cond: Conditioning, framing: Tensor) -> Conditioning:
        return cond

    # ------------------------------------------------------------------ denoising

    def shift(self, height: int, width: int, kind: str = "auto") -> float:
        return 1.0

    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        words = self._read(cond)["words"]
        dtype = self._runtime.dtype
        return self.denoiser(
            noisy.to(dtype), self.process.timesteps(sigma), encoder_hidden_states=words.to(dtype), return_dict=False
        )[0]

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> list[Image.Image]:
        pipe = StableDiffusionPipeline(
            None, None, None, self.denoiser, self._sampler, None, None, requires_safety_checker=False
        )
        device, dtype = self._runtime.device, self._runtime.dtype
        cond = self._read(request.cond).to(device, dtype)
        negative = self._read(request.negative).to(device, dtype) if request.negative else None
        latents = draw_latents(pipe, request, cond, negative, request.guidance if negative else 1.0)
        return to_pictures(self._parts["vae"], latents)

    # ------------------------------------------------------------------ adapters

    def lora_targets(self, scope: str) -> dict[str, str | list[str]]:
        return lora_targets(self._spec, scope)
