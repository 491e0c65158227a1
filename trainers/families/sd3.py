"""Stable Diffusion 3 and 3.5, on diffusers' StableDiffusion3Pipeline.

x = (z - 0.0609) * 1.5305 of a 16-channel VAE; the last states but one of CLIP-L and CLIP-bigG side by side, padded to
T5's width and followed by T5's states; both pooled outputs; raw output is the velocity eps - x0.
"""

from __future__ import annotations

from typing import Any

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
from trainers.families.parts import (
    Parts,
    fingerprint,
    generators,
    open_denoiser,
    open_frozen,
    open_vae,
    to_latents,
    to_pictures,
)
from trainers.processes import RectifiedFlow
from trainers.weights.open import open_scheduler, open_skeleton, open_tokenizer
from trainers.weights.source import source_of

CLIPS = ("text_encoder", "text_encoder_2")
LAYER = 2  # counted from the last
TIMESTEPS = 1000
PATCH = 2  # latents of a token's side
T5_TOKENS = 256


class Family:
    """Stable Diffusion 3 and 3.5; see `trainers.families.base.ModelFamily` for the contract."""

    def __init__(
        self, config: TrainConfig, spec: catalog.FamilySpec, model: catalog.ModelSpec, runtime: Runtime
    ) -> None:
        self.process = RectifiedFlow()
        self.latent_channels = 16
        self._config, self._spec, self._runtime = config.model, spec, runtime
        self._source = source_of(config.model)
        self._scheduler = open_scheduler(self._source, FlowMatchEulerDiscreteScheduler)
        self._parts = Parts(
            {
                "vae": lambda: {"vae": open_vae(self._source, self._config, runtime)},
                "text": self._load_text,
                "trained_text": self._open_clips,
                "denoiser": lambda: {
                    "transformer": open_denoiser(self._source, "transformer", SD3Transformer2DModel, runtime)
                },
            },
            runtime.device,
        )
        self.load, self.unload = self._parts.load, self._parts.unload

    def _load_text(self) -> dict[str, Any]:
        names = ("tokenizer", "tokenizer_2", "tokenizer_3")
        tokenizers = {name: open_tokenizer(self._source, name) for name in names}
        t5 = {"text_encoder_3": open_frozen(self._source, "text_encoder_3", T5EncoderModel, self._runtime)}
        return {**tokenizers, **t5, **({} if self._runtime.train_text else self._open_clips())}

    def _open_clips(self) -> dict[str, Any]:
        return {name: open_frozen(self._source, name, CLIPTextModelWithProjection, self._runtime) for name in CLIPS}

    @property
    def denoiser(self) -> nn.Module:
        return self._parts["transformer"]

    def fingerprint(self, part: Part) -> str:
        return fingerprint(self._spec, self._source, self._config, part, self._runtime)

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
        pipe.set_progress_bar_config(disable=True)
        device, dtype = self._runtime.device, self._runtime.dtype
        cond, negative = (
            self._read(one).to(device, dtype) if one else None for one in (request.cond, request.negative)
        )
        latents = pipe(
            prompt_embeds=cond["words"],
            pooled_prompt_embeds=cond["pooled"],
            negative_prompt_embeds=negative["words"] if negative else None,
            negative_pooled_prompt_embeds=negative["pooled"] if negative else None,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance if negative else 1.0,
            generator=generators(request.seeds),
            output_type="latent",
        ).images
        return to_pictures(self._parts["vae"], latents)

    # ------------------------------------------------------------------ adapters

    def adapted(self) -> dict[str, nn.Module]:
        return self._parts.present(["transformer", *(CLIPS if self._runtime.train_text else ())])

    def skeleton(self) -> dict[str, nn.Module]:
        classes = {"transformer": SD3Transformer2DModel, **dict.fromkeys(CLIPS, CLIPTextModelWithProjection)}
        return {name: open_skeleton(self._source, name, cls) for name, cls in classes.items()}

    def lora_targets(self, scope: str) -> dict[str, str | list[str]]:
        return lora_targets(self._spec, scope)
