"""Tiny scorers with random weights in their published layouts, and pictures of many shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, Qwen2VLConfig

from trainers.preferences.rewards.base import Runtime

CPU = Runtime("cpu", "fp32")
VOCABULARY = 49408  # of CLIP's tokenizer
SHAPES = [(64, 64), (90, 40), (40, 90), (61, 47), (7, 5), (300, 20), (224, 224), (225, 224)]


def pictures(shapes: list[tuple[int, int]] | None = None) -> list[Image.Image]:
    """Noise over a slope: no two of them alike, and none of them symmetric. shapes: width and height."""
    random = np.random.default_rng(0)
    found = []
    for width, height in shapes or SHAPES:
        slope = np.linspace(0, 200, width)[None, :, None] * np.linspace(0.3, 1, height)[:, None, None]
        noise = random.integers(0, 56, (height, width, 3))
        found.append(Image.fromarray((slope + noise).astype(np.uint8)))
    return found


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def open_clip_state(seed: int = 0, layers: int = 2) -> dict[str, Tensor]:
    """A state dict as open_clip names it: patches of 14 of a picture of 28, two heads in both towers."""
    random, vision, text, shared = _random(seed), 160, 128, 24
    state: dict[str, Tensor] = {}

    def put(name: str, *shape: int, scale: float = 0.2, around: float = 0.0) -> None:
        state[name] = around + torch.randn(shape, generator=random) * scale

    def norm(name: str, width: int) -> None:
        put(f"{name}.weight", width, around=1.0)
        put(f"{name}.bias", width)

    def tower(prefix: str, width: int) -> None:
        for layer in range(layers):
            block = f"{prefix}transformer.resblocks.{layer}"
            norm(f"{block}.ln_1", width)
            norm(f"{block}.ln_2", width)
            put(f"{block}.attn.in_proj_weight", 3 * width, width)
            put(f"{block}.attn.in_proj_bias", 3 * width)
            put(f"{block}.attn.out_proj.weight", width, width)
            put(f"{block}.attn.out_proj.bias", width)
            put(f"{block}.mlp.c_fc.weight", 2 * width, width)
            put(f"{block}.mlp.c_fc.bias", 2 * width)
            put(f"{block}.mlp.c_proj.weight", width, 2 * width)
            put(f"{block}.mlp.c_proj.bias", width)

    put("positional_embedding", 77, text)
    put("text_projection", text, shared)
    state["logit_scale"] = torch.tensor(4.6)
    put("visual.class_embedding", vision)
    put("visual.positional_embedding", 5, vision)
    put("visual.proj", vision, shared)
    put("visual.conv1.weight", vision, 3, 14, 14)
    norm("visual.ln_pre", vision)
    tower("visual.", vision)
    norm("visual.ln_post", vision)
    tower("", text)
    put("token_embedding.weight", VOCABULARY, text)
    norm("ln_final", text)
    return state


def clip_folder(folder: Path, seed: int = 0, width: int = 24) -> Path:
    """A CLIP in transformers' layout."""
    torch.manual_seed(seed)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = CLIPConfig(
        text_config={"hidden_size": 32, "vocab_size": VOCABULARY, "eos_token_id": 49407, **sizes},
        vision_config={"hidden_size": 32, "image_size": 32, "patch_size": 8, **sizes},
        projection_dim=width,
    )
    model = CLIPModel(config)
    _spread(dict(model.named_parameters()), seed)
    model.save_pretrained(folder)
    return folder


def aesthetic_state(width: int = 24, seed: int = 0) -> dict[str, Tensor]:
    random, state = _random(seed), {}
    for place, (inside, outside) in {
        0: (width, 1024),
        2: (1024, 128),
        4: (128, 64),
        6: (64, 16),
        7: (16, 1),
    }.items():
        state[f"layers.{place}.weight"] = torch.randn(outside, inside, generator=random) / inside**0.5
        state[f"layers.{place}.bias"] = torch.randn(outside, generator=random)
    return state


BERT_WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    "red",
    "blue",
    "circle",
]


def image_reward_state(seed: int = 0, layers: int = 2) -> dict[str, Tensor]:
    """As ImageReward.pt names it: patches of 16 of a picture of 32, two heads in both encoders, 128 wide."""
    random, width, text = _random(seed), 128, 192
    state: dict[str, Tensor] = {}

    def put(name: str, *shape: int, scale: float = 0.15, around: float = 0.0) -> None:
        state[name] = around + torch.randn(shape, generator=random) * scale

    def linear(name: str, inside: int, outside: int) -> None:
        put(f"{name}.weight", outside, inside)
        put(f"{name}.bias", outside)

    def norm(name: str, size: int) -> None:
        put(f"{name}.weight", size, around=1.0)
        put(f"{name}.bias", size)

    vision = "blip.visual_encoder"
    put(f"{vision}.cls_token", 1, 1, width)
    put(f"{vision}.pos_embed", 1, 5, width)
    put(f"{vision}.patch_embed.proj.weight", width, 3, 16, 16)
    put(f"{vision}.patch_embed.proj.bias", width)
    for layer in range(layers):
        block = f"{vision}.blocks.{layer}"
        norm(f"{block}.norm1", width)
        linear(f"{block}.attn.qkv", width, 3 * width)
        linear(f"{block}.attn.proj", width, width)
        norm(f"{block}.norm2", width)
        linear(f"{block}.mlp.fc1", width, 2 * width)
        linear(f"{block}.mlp.fc2", 2 * width, width)
    norm(f"{vision}.norm", width)
    words = "blip.text_encoder.embeddings"
    state[f"{words}.position_ids"] = torch.arange(64)[None]
    put(f"{words}.word_embeddings.weight", len(BERT_WORDS) + 2, text)
    put(f"{words}.position_embeddings.weight", 64, text)
    norm(f"{words}.LayerNorm", text)
    for layer in range(layers):
        block = f"blip.text_encoder.encoder.layer.{layer}"
        for kind, source in (("attention", text), ("crossattention", width)):
            linear(f"{block}.{kind}.self.query", text, text)
            linear(f"{block}.{kind}.self.key", source, text)
            linear(f"{block}.{kind}.self.value", source, text)
            linear(f"{block}.{kind}.output.dense", text, text)
            norm(f"{block}.{kind}.output.LayerNorm", text)
        linear(f"{block}.intermediate.dense", text, 2 * text)
        linear(f"{block}.output.dense", 2 * text, text)
        norm(f"{block}.output.LayerNorm", text)
    linear("blip.vision_proj", width, 16)
    linear("blip.text_proj", text, 16)
    for name, value in aesthetic_state(text, seed).items():
        state[f"mlp.{name}"] = value
    return state


def bert_vocabulary(folder: Path) -> Path:
    (folder / "vocab.txt").write_text("\n".join(BERT_WORDS) + "\n")
    return folder / "vocab.txt"


QWEN_MARKS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def qwen_folder(folder: Path) -> Path:
    """Configuration and tokenizer of a tiny Qwen2-VL; a token for each byte."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in QWEN_MARKS])
    tokenizer.save(str(folder / "tokenizer.json"))
    place = {mark: tokenizer.token_to_id(mark) for mark in QWEN_MARKS}
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        },
        vision_config={"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 32, "mlp_ratio": 2},
        image_token_id=place["<|image_pad|>"],
        video_token_id=place["<|video_pad|>"],
        vision_start_token_id=place["<|vision_start|>"],
        vision_end_token_id=place["<|vision_end|>"],
    )
    (folder / "config.json").write_text(json.dumps(config.to_dict(), default=str))
    (folder / "preprocessor_config.json").write_text("{}")
    return folder


def _spread(parameters: Mapping[str, Tensor], seed: int) -> None:
    """Weights so far apart that scores differ from picture to picture."""
    random = _random(seed)
    with torch.no_grad():
        for name, weight in parameters.items():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=random) * 0.25)
            elif name.endswith("bias"):
                weight.copy_(torch.randn(weight.shape, generator=random) * 0.1)


def rounded(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights in another number format, as a file may hold them."""
    return {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
