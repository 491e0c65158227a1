"""How a denoiser is built, told by the shapes of its tensors, so that pruned and widened models load too."""

from __future__ import annotations

import math
import re
from typing import Any

from trainers.weights.header import Header


class _Shapes:
    """Shapes of a component's tensors by their names without its prefix."""

    def __init__(self, header: Header, prefix: str) -> None:
        self._shapes = {
            name.removeprefix(prefix): info.shape for name, info in header.tensors.items() if name.startswith(prefix)
        }

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def numbers(self, pattern: str) -> list[int]:
        """What the group of a pattern matches at the beginning of names, each once, in order."""
        return sorted({int(match[1]) for name in self._shapes if (match := re.match(pattern, name))})


def told_by(header: Header, prefix: str, kind: str) -> dict[str, Any]:
    """Settings of a component of class `kind` that follow from its tensors; none for classes without variants.

    Raises KeyError for a tensor that is missing.
    """
    shapes = _Shapes(header, prefix)
    if kind == "FluxTransformer2DModel":
        return _flux(shapes)
    return _sd3(shapes) if kind == "SD3Transformer2DModel" else {}


def _flux(shapes: _Shapes) -> dict[str, Any]:
    if "img_in.weight" in shapes:
        double, single, picture, words = "double_blocks", "single_blocks", "img_in.weight", "txt_in.weight"
        pooled, guidance = "vector_in.in_layer.weight", "guidance_in.in_layer.weight"
        norm = "double_blocks.0.img_attn.norm.query_norm.scale"
    else:
        double, single = "transformer_blocks", "single_transformer_blocks"
        picture, words = "x_embedder.weight", "context_embedder.weight"
        pooled = "time_text_embed.text_embedder.linear_1.weight"
        guidance = "time_text_embed.guidance_embedder.linear_1.weight"
        norm = "transformer_blocks.0.attn.norm_q.weight"
    width, channels = shapes[picture]
    (head,) = shapes[norm]
    return {
        "num_layers": len(shapes.numbers(rf"{double}\.(\d+)\.")),
        "num_single_layers": len(shapes.numbers(rf"{single}\.(\d+)\.")),
        "in_channels": channels,
        "joint_attention_dim": shapes[words][1],
        "pooled_projection_dim": shapes[pooled][1],
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "guidance_embeds": guidance in shapes,
    }


def _sd3(shapes: _Shapes) -> dict[str, Any]:
    if "joint_blocks.0.x_block.attn.qkv.weight" in shapes:
        blocks, second, places = "joint_blocks", r"x_block\.attn2\.", "pos_embed"
        patch, pooled, norm = (
            "x_embedder.proj.weight",
            "y_embedder.mlp.0.weight",
            "joint_blocks.0.x_block.attn.ln_q.weight",
        )
    else:
        blocks, second, places = "transformer_blocks", r"attn2\.", "pos_embed.pos_embed"
        patch, pooled = "pos_embed.proj.weight", "time_text_embed.text_embedder.linear_1.weight"
        norm = "transformer_blocks.0.attn.norm_q.weight"
    width, channels = shapes[patch][:2]
    told: dict[str, Any] = {
        "num_layers": len(shapes.numbers(rf"{blocks}\.(\d+)\.")),
        "dual_attention_layers": shapes.numbers(rf"{blocks}\.(\d+)\.{second}"),
        "qk_norm": "rms_norm" if norm in shapes else None,
        "pos_embed_max_size": math.isqrt(shapes[places][1]),
        "in_channels": channels,
        "caption_projection_dim": width,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "pooled_projection_dim": shapes[pooled][1],
    }
    if norm in shapes:
        (head,) = shapes[norm]
        told |= {"attention_head_dim": head, "num_attention_heads": width // head}
    return told
