"""ImageReward (Xu et al. 2023): how people like a picture for its prompt, by BLIP whose text encoder looks at it.

score = (head(first text token) - 0.1672) / 1.0333, about -2 to 2; 35 tokens of the prompt are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from PIL import Image
from tokenizers import BertWordPieceTokenizer
from torch import Tensor, nn
from transformers import BlipTextConfig, BlipVisionConfig
from transformers.models.blip.modeling_blip import BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextModel

from trainers.errors import AtelierError
from trainers.preferences.rewards.aesthetic import linear_head
from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.loading import AGAIN, DTYPES, fill, prepare, read_state, ready
from trainers.preferences.rewards.pixels import cropped_to_square, normalised, to_even

MEAN, STD = 0.16717362830052426, 1.0333394966054072
TOKENS = 35
HEAD = 64  # numbers of a head of attention, of both encoders: a checkpoint does not tell

_UNUSED = re.compile(r"blip\.(vision_proj|text_proj)\..*|blip\.text_encoder\.embeddings\.position_ids")
_VISION = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm": "post_layernorm",
}
_INSIDE = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")


def load(files: Files, runtime: Runtime, version: str) -> ImageReward:
    """See `base.Load`."""
    prepare(runtime)
    state = {key: tensor.float() for key, tensor in read_state(files["weights"]).items()}
    try:
        with init_empty_weights():
            network = Network(*configs_of(state))
    except KeyError as error:
        raise AtelierError(f"{files['weights']} is not ImageReward: it lacks {error}.", AGAIN) from error
    fill(network, converted(state), files["weights"])
    return ImageReward(network, _tokenizer(files["tokenizer"]), runtime, version)


class Network(nn.Module):
    """Named as the published checkpoint is, but for the encoder of pictures."""

    def __init__(self, vision: BlipVisionConfig, text: BlipTextConfig) -> None:
        super().__init__()
        self.vision_model = BlipVisionModel(vision)
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        self.mlp = nn.ModuleDict({"layers": linear_head(text.hidden_size)})

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """pixels [B, 3, H, W], ids and mask [B, TOKENS]. Rewards [B], fp32."""
        seen = self.vision_model(pixel_values=pixels).last_hidden_state
        read = self.text_encoder(
            input_ids=ids,
            attention_mask=mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device),
        )
        rewards: Tensor = self.mlp["layers"](read.last_hidden_state[:, 0].float())[:, 0]
        return (rewards - MEAN) / STD


class ImageReward:
    name = "imagereward"

    def __init__(self, network: Network, tokenizer: Any, runtime: Runtime, version: str) -> None:
        self._network, self._tokenizer, self.version = network, tokenizer, version
        network.vision_model = ready(network.vision_model, runtime)
        network.text_encoder = ready(network.text_encoder, runtime)
        network.mlp = ready(network.mlp, replace(runtime, precision="fp32"))
        self._device, self._dtype = torch.device(runtime.device), DTYPES[runtime.precision]
        self._side: int = network.vision_model.config.image_size

    @torch.inference_mode()
    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        pixels = torch.stack([normalised(cropped_to_square(image, self._side, to_even)) for image in images])
        read = [self._tokenizer.encode(prompt.encode("utf-8", "replace").decode()) for prompt in prompts]
        ids = torch.tensor([one.ids for one in read], device=self._device)
        mask = torch.tensor([one.attention_mask for one in read], device=self._device)
        return [*self._network(pixels.to(self._device, self._dtype), ids, mask).tolist()]


def _tokenizer(vocabulary: Path) -> BertWordPieceTokenizer:
    """That of bert-base-uncased."""
    try:
        tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    except Exception as error:  # the package raises nothing more precise
        raise AtelierError(f"{vocabulary} is no list of words: {error}.", AGAIN) from error
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS, pad_id=tokenizer.token_to_id("[PAD]"))
    return tokenizer


def configs_of(state: Mapping[str, Tensor]) -> tuple[BlipVisionConfig, BlipTextConfig]:
    """The architecture that the published checkpoint tells. Raises KeyError for another one."""
    vision, text = "blip.visual_encoder", "blip.text_encoder"
    patches = state[f"{vision}.patch_embed.proj.weight"].shape
    grid = round((state[f"{vision}.pos_embed"].shape[1] - 1) ** 0.5)
    words = state[f"{text}.embeddings.word_embeddings.weight"].shape
    return (
        BlipVisionConfig(
            hidden_size=patches[0],
            patch_size=patches[2],
            image_size=grid * patches[2],
            num_hidden_layers=_depth(state, rf"{vision}\.blocks"),
            num_attention_heads=max(1, patches[0] // HEAD),
            intermediate_size=len(state[f"{vision}.blocks.0.mlp.fc1.weight"]),
            hidden_act="gelu",
            layer_norm_eps=1e-6,
        ),
        BlipTextConfig(
            vocab_size=words[0],
            hidden_size=words[1],
            encoder_hidden_size=patches[0],
            intermediate_size=len(state[f"{text}.encoder.layer.0.intermediate.dense.weight"]),
            num_hidden_layers=_depth(state, rf"{text}\.encoder\.layer"),
            num_attention_heads=max(1, words[1] // HEAD),
            max_position_embeddings=len(state[f"{text}.embeddings.position_embeddings.weight"]),
            hidden_act="gelu",
            layer_norm_eps=1e-12,
            is_decoder=True,  # transformers' word for: its layers look at the picture; the text is read both ways
        ),
    )


def _depth(state: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(found[1]) for key in state if (found := re.match(rf"{prefix}\.(\d+)\.", key)))


def converted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the published checkpoint to those of `Network`; names that are not known stay as they are."""
    return {_renamed(key): tensor for key, tensor in state.items() if not _UNUSED.fullmatch(key)}


def _renamed(key: str) -> str:
    name = key.removeprefix("blip.visual_encoder.")
    if name == key:
        return key.removeprefix("blip.")
    if block := _BLOCK.fullmatch(name):
        return f"vision_model.encoder.layers.{block[1]}.{_INSIDE.get(block[2], block[2])}.{block[3]}"
    if name in _VISION:
        return f"vision_model.{_VISION[name]}"
    module, _, kind = name.rpartition(".")
    return f"vision_model.{_VISION.get(module, module)}.{kind}"
