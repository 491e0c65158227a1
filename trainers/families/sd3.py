"""Stable Diffusion 3 and 3.5, on diffusers' StableDiffusion3Pipeline.

x = (z - 0.0609) * 1.5305 of a 16-channel VAE; the last states but one of CLIP-L and CLIP-bigG side by side, padded to
T5's width and followed by T5's states; both pooled outputs; raw output is the velocity eps - x0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, T5EncoderModel

from trainers import catalog
from trainers.config import TrainConfig
from trainers.families.base import Conditioning, Part, Runtime, SampleRequest, lora_targets
from trainers.families.clip import states, token_ids
from trainers.families.flow import flow_shift
from trainers.families.parts import Components, draw_latents, to_latents, to_pictures
from trainers.processes import RectifiedFlow
from trainers.weights.open import open_scheduler

CLIPS = ("text_encoder", "text_encoder_2")
LAYER = 2  # counted from the last
TIMESTEPS = 1000
PATCH = 2  # latents of a token's side
T5_TOKENS = 256
CLASSES = {
    "transformer": SD3Transformer2DModel,
    **dict.fromkeys(CLIPS, CLIPTextModelWithProjection),
    "text_encoder_3": T5EncoderModel,
}


class Family:
    """Stable Diffusion 3 and 3.5; see `trainers.families.base.ModelFamily` for the contract."""

    def __init__(
        self, config: TrainConfig, spec: catalog.FamilySpec, model: catalog.ModelSpec, runtime: Runtime
    ) -> None:
        self.process = RectifiedFlow()
        self.latent_channels = 16
        self._config, self._spec, self._runtime = config.model, spec, runtime
        self._parts = Components(config.model, spec, runtime, CLASSES)
        self.load, self.unload = self._parts.load, self._parts.unload
        self.adapted, self.skeleton = self._parts.adapted, self._parts.skeleton
        self._scheduler = open_scheduler(self._parts.source, FlowMatchEulerDiscreteScheduler)

    @property
    def denoiser(self) -> nn.Module:
        return self._parts["transformer"]

    def fingerprint(self, part: Part) -> str:
        return self._parts.fingerprint(part)

    # ------------------------------------------------------------------ encoding

    def encode_image(self, pixels: Tensor) -> Tensor:
        return to_latents(self._parts["vae"], pixels)

    @torch.no_grad()
    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        tokenizer, t5 = self._parts["tokenizer_3"], self._parts["text_encoder_3"]
        padded = tokenizer(prompts, padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt")
        cond = Conditioning(
            {
                "ids": token_ids(self._parts["tokenizer"], prompts),
                "ids_2": token_ids(self._parts["tokenizer_2"], prompts),
                # no mask: SD3 was trained with its padding in sight
                "t5": t5(padded.input_ids.to(self._runtime.device)).last_hidden_state,
            }
        )
        return cond if self._runtime.train_text else self._read(cond)

    def _read(self, cond: Conditioning) -> Conditioning:
        """Token ids read by the CLIPs, with gradients where they are trained; other conditioning as it is."""
        if "ids" not in cond.tensors:
            return cond
        t5 = cond["t5"]
        read = [
            states(self._parts[name], cond[ids], LAYER, cond[ids].shape[1], normed=False)
            for name, ids in zip(CLIPS, ("ids", "ids_2"), strict=True)
        ]
        clips = torch.cat([hidden for hidden, _ in read], dim=-1)
        clips = F.pad(clips, (0, t5.shape[-1] - clips.shape[-1]))
        words = torch.cat([clips, t5.to(clips.device, clips.dtype)], dim=1)
        return Conditioning({"words": words, "pooled": torch.cat([pooled for _, pooled in read], dim=-1)})

    def framed(self, cond: Conditioning, framing: Tensor) -> Conditioning:
        return cond

    # ------------------------------------------------------------------ denoising

    def shift(self, height: int, width: int, kind: str = "auto") -> float:
        return flow_shift(self._scheduler, (height // PATCH) * (width // PATCH), kind)

    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        read, dtype = self._read(cond), self._runtime.dtype
        return self.denoiser(
            hidden_states=noisy.to(dtype),
            timestep=sigma * TIMESTEPS,  # fp32: bf16 would round 999 to 1000
            encoder_hidden_states=read["words"].to(dtype),
            pooled_projections=read["pooled"].to(dtype),
            return_dict=False,
        )[0]

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> list[Image.Image]:
        pipe = StableDiffusion3Pipeline(self.denoiser, self._scheduler, None, None, None, None, None, None, None)
        device, dtype = self._runtime.device, self._runtime.dtype
        cond = self._read(request.cond).to(device, dtype)
        negative = self._read(request.negative).to(device, dtype) if request.negative else None
        latents = draw_latents(pipe, request, cond, negative, request.guidance if negative else 1.0)
        return to_pictures(self._parts["vae"], latents)

    # ------------------------------------------------------------------ adapters

    def lora_targets(self, scope: str) -> dict[str, str | list[str]]:
        return lora_targets(self._spec, scope)
