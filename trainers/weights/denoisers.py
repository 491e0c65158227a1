"""Denoisers by the names and shapes of their tensors: those that can be trained, and those that are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trainers.weights.header import Header

Layout = Literal["original", "diffusers"]
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "unet.", "net.", "")
SD1_WORDS, SD2_WORDS, REFINER_WORDS = 768, 1024, 1280  # numbers per token of the captions that a UNet attends to
FLUX_INPUTS = {128: "FLUX.1 depth or canny", 384: "FLUX.1 Fill"}  # channels of a token that others have

# Kinds that cannot be trained yet: (name, a tensor that only they have). The first that fits counts.
OTHERS = (
    ("Chroma model", "distilled_guidance_layer.in_proj.bias"),
    ("FLUX.2 model", "single_stream_modulation.lin.weight"),
    ("FLUX.2 model", "single_stream_modulation.linear.weight"),
    ("HunyuanVideo model", "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias"),
    ("HiDream model", "double_stream_blocks.0.block.adaLN_modulation.1.bias"),
    ("Z-Image model", "layers.0.adaLN_modulation.0.weight"),
    ("Lumina 2 model", "cap_embedder.0.weight"),
    ("Lumina 2 model", "time_caption_embed.caption_embedder.0.weight"),
    ("Qwen-Image model", "transformer_blocks.0.img_mod.1.weight"),
    ("Krea 2 model", "txtfusion.projector.weight"),
    ("Wan model", "head.modulation"),
    ("AuraFlow model", "double_layers.0.attn.w1q.weight"),
    ("LTX-Video model", "patchify_proj.weight"),
    ("Cosmos model", "x_embedder.proj.1.weight"),
    ("Sana model", "blocks.0.cross_attn.q_linear.weight"),
    ("PixArt model", "adaln_single.linear.weight"),
    ("HunyuanDiT model", "extra_embedder.0.weight"),
    ("Kolors model", "encoder_hid_proj.weight"),
    ("Stable Cascade model", "clip_txt_mapper.weight"),
    ("Stable Cascade model", "down_blocks.1.0.channelwise.0.weight"),
    ("ControlNet", "control_model.time_embed.0.weight"),
    ("ControlNet", "controlnet_cond_embedding.conv_in.weight"),
    ("ControlNet", "input_hint_block.0.weight"),
    ("ControlNet", "controlnet_x_embedder.weight"),
    ("IP-Adapter", "image_proj.proj.weight"),
    ("textual inversion", "emb_params"),
    ("upscaler", "conv_first.weight"),
    ("language model", "model.layers.0.self_attn.q_proj.weight"),
)


@dataclass(frozen=True)
class Denoiser:
    """name: as people call it; family and model: of the catalog, empty where it cannot be trained."""

    name: str
    prefix: str
    family: str = ""
    model: str = ""
    layout: Layout = "original"


def denoiser_of(header: Header) -> Denoiser | None:
    """The denoiser that lies in a file, or what else it is that cannot be trained; None for neither."""
    for prefix in PREFIXES:
        part = _Part(header, prefix)
        for name, mark in OTHERS:
            if part.has(mark):
                return Denoiser(name, prefix)
        for look in (_flux, _sd3, _unet):
            if found := look(part):
                return found
    return None


@dataclass(frozen=True)
class _Part:
    """Tensors below a prefix, by their names without it."""

    header: Header
    prefix: str

    def has(self, name: str) -> bool:
        return self.prefix + name in self.header.tensors

    def width(self, name: str) -> int:
        """Numbers that a layer takes in; 0 where there is no such layer."""
        shape = self.header.shape(self.prefix + name)
        return shape[1] if len(shape) > 1 else 0

    def names(self) -> Iterator[str]:
        return (name for name in self.header.tensors if name.startswith(self.prefix))


def _flux(part: _Part) -> Denoiser | None:
    if part.has("double_blocks.0.img_attn.norm.key_norm.scale"):
        layout, entry, guidance = "original", "img_in.weight", "guidance_in.in_layer.weight"
    elif part.has("single_transformer_blocks.0.proj_mlp.weight"):
        layout, entry = "diffusers", "x_embedder.weight"
        guidance = "time_text_embed.guidance_embedder.linear_1.weight"
    else:
        return None
    if other := FLUX_INPUTS.get(part.width(entry)):
        return Denoiser(other, part.prefix)
    model = "flux-dev" if part.has(guidance) else "flux-schnell"
    name = "FLUX.1 dev" if part.has(guidance) else "FLUX.1 schnell"
    return Denoiser(name, part.prefix, "flux", model, layout)  # type: ignore[arg-type]


def _sd3(part: _Part) -> Denoiser | None:
    if part.has("joint_blocks.0.context_block.attn.qkv.weight"):
        layout, norm, second = "original", "joint_blocks.0.x_block.attn.ln_q.weight", ".x_block.attn2."
    elif part.has("pos_embed.proj.weight") and part.has("transformer_blocks.0.attn.add_q_proj.weight"):
        layout, norm, second = "diffusers", "transformer_blocks.0.attn.norm_q.weight", ".attn2."
    else:
        return None
    if any(second in name for name in part.names()):
        name, model = "Stable Diffusion 3.5 medium", "sd35-medium"
    elif part.has(norm):
        name, model = "Stable Diffusion 3.5 large", "sd35-large"
    else:
        name, model = "Stable Diffusion 3 medium", "sd3-medium"
    return Denoiser(name, part.prefix, "sd3", model, layout)  # type: ignore[arg-type]


def _unet(part: _Part) -> Denoiser | None:
    if part.has("input_blocks.0.0.weight"):
        layout, entry, extra = "original", "input_blocks.0.0.weight", "label_emb.0.0.weight"
    elif part.has("conv_in.weight") and part.has("time_embedding.linear_1.weight"):
        layout, entry, extra = "diffusers", "conv_in.weight", "add_embedding.linear_1.weight"
    else:
        return None
    attention = next((name for name in part.names() if name.endswith("attn2.to_k.weight")), "")
    words = part.width(attention.removeprefix(part.prefix))
    if part.has(extra):
        family, name = "sdxl", "SDXL refiner" if words == REFINER_WORDS else "SDXL"
    else:
        family, name = "sd15", "Stable Diffusion 2" if words == SD2_WORDS else "Stable Diffusion 1.5"
    channels = part.width(entry)
    if channels != 4:
        kind = {8: "InstructPix2Pix", 9: "inpainting"}.get(channels, f"{channels}-channel")
        return Denoiser(f"{name} {kind}", part.prefix)
    if name in ("SDXL refiner", "Stable Diffusion 2"):
        return Denoiser(name, part.prefix)
    return Denoiser(name, part.prefix, family, family, layout)  # type: ignore[arg-type]
