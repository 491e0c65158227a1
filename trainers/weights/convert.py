"""From the names of original checkpoints to those of diffusers and transformers."""

from __future__ import annotations

import re
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
    convert_sd3_transformer_checkpoint_to_diffusers,
)
from torch import Tensor, nn

from trainers.weights.reader import Weights

State = dict[str, Tensor]
UNET_PREFIX = "model.diffusion_model."  # without it diffusers finds no UNet
# in files of text encoders, and no part of them
IGNORED = re.compile(
    r"(^|\.)(logit_scale|position_ids|spiece_model)$|^(decoder|lm_head|vision_model|visual)\.|^visual_projection"
)
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}

_FLUX_OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}
_FLUX_DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
}
_FLUX_SINGLE = {
    "modulation.lin": "norm.linear",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
    "linear2": "proj_out",
}
# fused layers -> where their rows go
_FLUX_FUSED = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
}


def flux(weights: Weights, width: int) -> State:
    """width: numbers per token. diffusers' own converter knows only 3072, so none of the smaller variants."""
    state: State = {}
    for name in list(weights):
        layer, _, kind = name.rpartition(".")
        kind = "weight" if kind == "scale" else kind  # of the norms
        tensor = weights.pop(name)
        if layer == "final_layer.adaLN_modulation.1":
            shift, scale = tensor.chunk(2)  # diffusers has the scale first
            state[f"norm_out.linear.{kind}"] = torch.cat([scale, shift])
            continue
        where, _, rest = layer.partition(".")
        number, _, rest = rest.partition(".")
        table = {"double_blocks": _FLUX_DOUBLE, "single_blocks": _FLUX_SINGLE}.get(where)
        if table is None:
            state[f"{_FLUX_OUTSIDE.get(layer, layer)}.{kind}"] = tensor
            continue
        block = f"{'transformer' if where == 'double_blocks' else 'single_transformer'}_blocks.{number}"
        if rest in _FLUX_FUSED:
            targets = _FLUX_FUSED[rest]
            sizes = [width, width, width, tensor.shape[0] - 3 * width][: len(targets)]
            for target, piece in zip(targets, tensor.split(sizes), strict=True):
                state[f"{block}.{target}.{kind}"] = piece.clone()  # a view would keep the others alive
        else:
            state[f"{block}.{table.get(rest, rest)}.{kind}"] = tensor
    return state


def clip(weights: Weights, model: nn.Module) -> State:
    """CLIP by the names of transformers or of open_clip. In a model with a projection they lie below `text_model`."""
    if "ln_final.weight" in weights:
        state = convert_open_clip_checkpoint(model, weights, prefix="")
    else:
        state = _as_they_are(weights)
    inner = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    projection = inner.pop("text_projection.weight", None)
    if not hasattr(model, "text_projection"):
        return inner
    outer = {f"text_model.{name}": tensor for name, tensor in inner.items()}
    return outer if projection is None else {**outer, "text_projection.weight": projection}


def unprojected(state: State) -> State:
    """With a projection that changes nothing: SD3 was trained on CLIP-L's pooled output as it is."""
    words = state["text_model.embeddings.token_embedding.weight"]
    return {**state, "text_projection.weight": torch.eye(words.shape[1], dtype=words.dtype)}


def t5(weights: Weights) -> State:
    """The words are stored once and used in two places."""
    state = _as_they_are(weights)
    words = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    return state if words is None else {**state, "shared.weight": words, "encoder.embed_tokens.weight": words}


def _as_they_are(weights: Weights) -> State:
    return {name: weights[name] for name in weights if not IGNORED.search(name)}


def renamed_attention(weights: Weights) -> State:
    """A VAE of diffusers from before 2023 names the layers of its attention otherwise."""
    state = {}
    for name in weights:
        layer, _, kind = name.rpartition(".")
        owner, _, last = layer.rpartition(".")
        new = OLD_ATTENTION.get(last, last) if ".attentions." in name else last
        tensor = weights[name]
        state[f"{owner}.{new}.{kind}".lstrip(".")] = tensor
    return state


def converted(weights: Weights, name: str, model: nn.Module) -> State:
    """The state of `model` from the weights of a file, whichever of the known layouts they are in.

    name: of the component. Raises KeyError for a tensor that a converter looks for in vain.
    """
    config: Any = model.config
    kind = type(model).__name__
    if kind.startswith("CLIP"):
        state = clip(weights, model)
        return unprojected(state) if name == "text_encoder" and hasattr(model, "text_projection") else state
    if kind.startswith("T5"):
        return t5(weights)
    if "conv_in.weight" in weights or "encoder.down_blocks.0.resnets.0.norm1.weight" in weights:
        return renamed_attention(weights)
    if any(name.startswith(("transformer_blocks.", "single_transformer_blocks.")) for name in weights):
        return _as_they_are(weights)
    match kind:
        case "FluxTransformer2DModel":
            return flux(weights, config.num_attention_heads * config.attention_head_dim)
        case "SD3Transformer2DModel":
            return convert_sd3_transformer_checkpoint_to_diffusers(weights)
        case "AutoencoderKL":
            return convert_ldm_vae_checkpoint(weights, config)
        case "UNet2DConditionModel":
            return convert_ldm_unet_checkpoint(weights.below(UNET_PREFIX), config)
    raise TypeError(f"no converter for a {kind}")
