"""HPS v2.1: how people like a picture for its prompt (Wu et al. 2023), a fine-tuned ViT-H-14 of open_clip.

score = cos(picture, prompt), without CLIP's factor. Pictures are seen whole, on a black square: a centre crop, which
CLIP's usual processor makes, gives other scores for every picture that is not square.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

import torch
from accelerate import init_empty_weights
from PIL import Image
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from trainers.errors import AtelierError
from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.clip_models import Clip
from trainers.preferences.rewards.loading import AGAIN, fill, prepare, read_state
from trainers.preferences.rewards.pixels import padded_to_square

VISION_HEAD, TEXT_HEAD = 80, 64  # numbers of a head of attention, of ViT-H-14: a checkpoint does not tell

_NAMES = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "logit_scale": "logit_scale",
}
_PROJECTIONS = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_NORMS = {
    "ln_final": "text_model.final_layer_norm",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
}
_INSIDE = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")
_BUFFERS = ("attn_mask",)


def load(files: Files, runtime: Runtime, version: str) -> Hpsv2:
    """See `base.Load`."""
    prepare(runtime)
    state = read_state(files["weights"])
    try:
        with init_empty_weights():  # a billion random numbers take a minute
            model = CLIPModel(config_of(state))
    except (KeyError, ValueError, IndexError) as error:
        raise AtelierError(f"{files['weights']} holds no CLIP of open_clip: it lacks {error}.", AGAIN) from error
    fill(model, converted(state), files["weights"])
    return Hpsv2(Clip(model, runtime), version)


class Hpsv2:
    name = "hpsv2.1"

    def __init__(self, clip: Clip, version: str) -> None:
        self._clip, self.version = clip, version

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        pixels = [padded_to_square(image, self._clip.side) for image in images]
        return [*self._clip.cosines(pixels, [clean(prompt) for prompt in prompts]).tolist()]


def clean(prompt: str) -> str:
    """As open_clip's tokenizer begins, but for its repair of broken encodings: "&amp;amp;" of web pages is "&"."""
    return html.unescape(html.unescape(prompt)).strip()


def config_of(state: Mapping[str, Tensor]) -> CLIPConfig:
    """The architecture that a state dict of open_clip tells. Raises KeyError for another state dict."""
    words, places = state["token_embedding.weight"].shape, state["positional_embedding"].shape
    patches = state["visual.conv1.weight"].shape
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    depth = {bool(found[1]): 0 for key in state if (found := _BLOCK.fullmatch(key))}
    for found in filter(None, map(_BLOCK.fullmatch, state)):
        depth[bool(found[1])] = max(depth[bool(found[1])], int(found[2]) + 1)
    return CLIPConfig(
        text_config={
            "vocab_size": words[0],
            "hidden_size": words[1],
            "max_position_embeddings": places[0],
            "num_hidden_layers": depth[False],
            "num_attention_heads": words[1] // TEXT_HEAD,
            "intermediate_size": len(state["transformer.resblocks.0.mlp.c_fc.weight"]),
            "hidden_act": "gelu",
            "eos_token_id": 2,  # transformers' sign for: the token of the highest number is the end, as in open_clip
        },
        vision_config={
            "hidden_size": patches[0],
            "patch_size": patches[2],
            "image_size": grid * patches[2],
            "num_hidden_layers": depth[True],
            "num_attention_heads": patches[0] // VISION_HEAD,
            "intermediate_size": len(state["visual.transformer.resblocks.0.mlp.c_fc.weight"]),
            "hidden_act": "gelu",
        },
        projection_dim=state["text_projection"].shape[1],
    )


def converted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's names to those of transformers' CLIPModel, in fp32; names that are not known stay as they are."""
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key not in _BUFFERS:
            found |= _renamed(key, tensor.float())
    return found


def _renamed(key: str, tensor: Tensor) -> dict[str, Tensor]:
    if key in _NAMES:
        return {_NAMES[key]: tensor}
    if key in _PROJECTIONS:  # open_clip multiplies from the right
        return {_PROJECTIONS[key]: tensor.T.contiguous()}
    module, _, kind = key.rpartition(".")
    if module in _NORMS:
        return {f"{_NORMS[module]}.{kind}": tensor}
    block = _BLOCK.fullmatch(key)
    if block is None:
        return {key: tensor}
    prefix = f"{'vision' if block[1] else 'text'}_model.encoder.layers.{block[2]}"
    inside, _, kind = block[3].rpartition(".")
    if block[3] in ("attn.in_proj_weight", "attn.in_proj_bias"):
        kind = block[3].rpartition("_")[2]
        parts = zip("qkv", torch.chunk(tensor, 3), strict=True)
        return {f"{prefix}.self_attn.{one}_proj.{kind}": part.contiguous() for one, part in parts}
    return {f"{prefix}.{_INSIDE[inside]}.{kind}" if inside in _INSIDE else key: tensor}
