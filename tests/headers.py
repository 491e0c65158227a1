"""Files with the names and shapes of published models and no weights: a header and a hole behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]


def write_header(path: Path, shapes: Shapes, metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file in 16 bits that takes no room on the disk."""
    entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


CLIP_L: Shapes = {"text_model.embeddings.token_embedding.weight": (49408, 768)}
CLIP_G: Shapes = {"text_model.embeddings.token_embedding.weight": (49408, 1280)}
T5: Shapes = {"shared.weight": (32128, 4096), "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": (10240, 4096)}
OPEN_CLIP_G: Shapes = {"token_embedding.weight": (49408, 1280), "ln_final.weight": (1280,)}
ATTENTION = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"


def vae(channels: int) -> Shapes:
    return {"encoder.conv_in.weight": (128, 3, 3, 3), "decoder.conv_in.weight": (512, channels, 3, 3)}


def unet(words: int, *, channels: int = 4, labels: int = 0) -> Shapes:
    extra = {"label_emb.0.0.weight": (1280, labels)} if labels else {}
    return {"input_blocks.0.0.weight": (320, channels, 3, 3), ATTENTION: (640, words), **extra}


def flux(channels: int = 64, *, guidance: bool = True) -> Shapes:
    extra = {"guidance_in.in_layer.weight": (3072, 256)} if guidance else {}
    return {
        "img_in.weight": (3072, channels),
        "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
        **extra,
    }


def below(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def checkpoint(denoiser: Shapes, *parts: Shapes) -> Shapes:
    merged = dict(below("model.diffusion_model.", denoiser))
    for part in parts:
        merged |= part
    return merged


SDXL = checkpoint(
    unet(2048, labels=2816),
    below("first_stage_model.", vae(4)),
    below("conditioner.embedders.0.transformer.", CLIP_L),
    below("conditioner.embedders.1.model.", OPEN_CLIP_G),
)
SD15 = checkpoint(unet(768), below("first_stage_model.", vae(4)), below("cond_stage_model.transformer.", CLIP_L))
