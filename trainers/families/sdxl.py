"""Stable Diffusion XL, on diffusers' StableDiffusionXLPipeline.

x = z * 0.13025 of a 4-channel VAE that overflows in fp16; the last states but one of CLIP-L and CLIP-bigG side by side,
the pooled output of the latter; six numbers of sizes for each picture; a UNet that predicts eps, or v.
"""

from __future__ import annotations

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from trainers import catalog
from trainers.config import TrainConfig
from trainers.families.base import Conditioning, Part, Runtime, SampleRequest, lora_targets
from trainers.families.clip import states, token_ids
from trainers.families.parts import Components, draw_latents, to_latents, to_pictures
from trainers.families.unet import KEEP, open_process

LAYER = 2  # counted from the last
CLASSES = {
    "unet": UNet2DConditionModel,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


class Family:
    """Stable Diffusion XL; see `trainers.families.base.ModelFamily` for the contract."""

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
        chunks = self._config.text_chunks
        names = {"ids": "tokenizer", "ids_2": "tokenizer_2"}
        cond = Conditioning({ids: token_ids(self._parts[name], prompts, chunks) for ids, name in names.items()})
        return cond if self._runtime.train_text else self._read(cond)

    def _read(self, cond: Conditioning) -> Conditioning:
        """Token ids read by the encoders, with gradients where they are trained; all else as it is."""
        if "ids" not in cond.tensors:
            return cond
        length = cond["ids"].shape[1] // self._config.text_chunks
        first, _ = states(self._parts["text_encoder"], cond["ids"], LAYER, length, normed=False)
        second, pooled = states(self._parts["text_encoder_2"], cond["ids_2"], LAYER, length, normed=False)
        rest = {name: tensor for name, tensor in cond.tensors.items() if name not in ("ids", "ids_2")}
        return Conditioning({"words": torch.cat([first, second], dim=-1), "pooled": pooled, **rest})

    def framed(self, cond: Conditioning, framing: Tensor) -> Conditioning:
        return Conditioning({**cond.tensors, "time_ids": framing})

    # ------------------------------------------------------------------ denoising

    def shift(self, height: int, width: int, kind: str = "auto") -> float:
        return 1.0

    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        read, dtype = self._read(cond), self._runtime.dtype
        return self.denoiser(
            noisy.to(dtype),
            self.process.timesteps(sigma),
            encoder_hidden_states=read["words"].to(dtype),
            added_cond_kwargs={"text_embeds": read["pooled"].to(dtype), "time_ids": read["time_ids"]},
            return_dict=False,
        )[0]

    @torch.no_grad()
    def sample(self, request: SampleRequest) -> list[Image.Image]:
        pipe = StableDiffusionXLPipeline(
            None, None, None, None, None, self.denoiser, self._sampler, add_watermarker=False
        )
        device, dtype = self._runtime.device, self._runtime.dtype
        cond = self._read(request.cond).to(device, dtype)
        negative = self._read(request.negative).to(device, dtype) if request.negative else None
        latents = draw_latents(pipe, request, cond, negative, request.guidance if negative else 1.0)
        return to_pictures(self._parts["vae"], latents)

    # ------------------------------------------------------------------ adapters

    def lora_targets(self, scope: str) -> dict[str, str | list[str]]:
        return lora_targets(self._spec, scope)
