"""The sizes in the catalog are those of the published configurations, counted without memory on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipConfig,
    BlipForConditionalGeneration,
    Florence2Config,
    Florence2ForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from captioners.catalog import CAPTIONERS, READS

NEAR = 0.03


def florence2(width: int, layers: int, stem: int) -> nn.Module:
    """DaViT with stages of stem, 2, 4 and 8 stem channels; BART with as many layers in each half."""
    stages = [stem << stage for stage in range(4)]
    heads = [channels // 32 for channels in stages]
    vision = {"embed_dim": stages, "num_heads": heads, "num_groups": heads, "projection_dim": width}
    text = {"model_type": "bart", "d_model": width, "vocab_size": 51289, "max_position_embeddings": 1024}
    for half in ("encoder", "decoder"):
        text |= {f"{half}_layers": layers, f"{half}_ffn_dim": 4 * width, f"{half}_attention_heads": width // 64}
    return Florence2ForConditionalGeneration(Florence2Config(text_config=text, vision_config=vision))


def joycaption() -> nn.Module:
    """Llama 3.1 8B behind SigLIP so400m."""
    text = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
    text |= {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False}
    vision = {"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304}
    vision |= {"num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 384, "patch_size": 14}
    return LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=vision))


def blip(width: int, layers: int) -> nn.Module:
    vision = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    vision |= {"num_attention_heads": width // 64, "image_size": 384}
    text = {"encoder_hidden_size": width, "vocab_size": 30524}
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))


def blip2() -> nn.Module:
    """OPT 2.7B behind EVA ViT-g; the configuration's own values are those of its vision model and Q-Former."""
    text = {"model_type": "opt", "hidden_size": 2560, "ffn_dim": 10240, "num_hidden_layers": 32}
    text |= {"num_attention_heads": 32, "word_embed_proj_dim": 2560, "vocab_size": 50304}
    return Blip2ForConditionalGeneration(Blip2Config(text_config=text))


def qwen3(width: int, layers: int, hidden: int, heads: int, tied: bool, vision: tuple[int, int, int]) -> nn.Module:
    """hidden: of the feed-forward layers; vision: (layers, width, hidden)."""
    text = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": hidden, "vocab_size": 151936}
    text |= {"num_attention_heads": heads, "num_key_value_heads": 8, "head_dim": 128}
    eyes: dict[str, Any] = {"depth": vision[0], "hidden_size": vision[1], "intermediate_size": vision[2]}
    eyes |= {"out_hidden_size": width, "deepstack_visual_indexes": [5, 11, 17]}
    config = Qwen3VLConfig(text_config=text, vision_config=eyes, tie_word_embeddings=tied)
    return Qwen3VLForConditionalGeneration(config)


def qwen2_5(width: int, layers: int, hidden: int, heads: int, groups: int, vocab: int, tied: bool) -> nn.Module:
    text = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": hidden, "vocab_size": vocab}
    text |= {"num_attention_heads": heads, "num_key_value_heads": groups}
    eyes = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": width}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=eyes, tie_word_embeddings=tied)
    return Qwen2_5_VLForConditionalGeneration(config)


FLORENCE_LARGE = "florence2-large", "florence2-large-no-flash", "florence2-promptgen"
JOYCAPTION = "joycaption-beta-one", "joycaption-alpha-two", "joycaption-alpha-two-folders"
SMALL_EYES, LARGE_EYES = (24, 1024, 4096), (27, 1152, 4304)
PUBLISHED: dict[tuple[str, ...], Callable[[], nn.Module]] = {
    ("florence2-base",): lambda: florence2(768, 6, 128),
    FLORENCE_LARGE: lambda: florence2(1024, 12, 256),
    JOYCAPTION: joycaption,
    ("blip-base",): lambda: blip(768, 12),
    ("blip-large",): lambda: blip(1024, 24),
    ("blip2",): blip2,
    ("qwen3-vl-2b",): lambda: qwen3(2048, 28, 6144, 16, True, SMALL_EYES),
    ("qwen3-vl-4b",): lambda: qwen3(2560, 36, 9728, 32, True, SMALL_EYES),
    ("qwen3-vl-8b",): lambda: qwen3(4096, 36, 12288, 32, False, LARGE_EYES),
    ("qwen2.5-vl-3b",): lambda: qwen2_5(2048, 36, 11008, 16, 2, 151936, True),
    ("qwen2.5-vl-7b",): lambda: qwen2_5(3584, 28, 18944, 28, 4, 152064, False),
}


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        model: Any = make()
    model.tie_weights()
    return model


def quantizable(model: nn.Module) -> int:
    """Weights of the linear layers of the language model, but for its head."""
    return sum(
        layer.weight.numel()
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and "language_model." in name and not name.endswith("lm_head")
    )


@pytest.mark.parametrize("names", PUBLISHED, ids=lambda names: names[0])
def test_sizes_are_those_of_the_published_model(names: tuple[str, ...]) -> None:
    model = built(PUBLISHED[names])
    params = sum(one.numel() for one in model.parameters()) / 1e9
    language = quantizable(model) / 1e9
    for name in names:
        spec = CAPTIONERS[name]
        assert spec.params == pytest.approx(params, rel=NEAR), name
        if spec.language:
            assert spec.language == pytest.approx(language, rel=NEAR), name


def test_every_captioner_of_transformers_is_counted() -> None:
    """Taggers are graphs of their own, and the sandbox is trained here."""
    counted = {name for names in PUBLISHED for name in names}
    assert counted == {name for name, spec in CAPTIONERS.items() if spec.kind not in ("sandbox", "wd", "server")}


@pytest.mark.parametrize("name", [name for name, spec in CAPTIONERS.items() if spec.download_gib])
def test_download_is_16_or_32_bits_of_each_weight(name: str) -> None:
    spec = CAPTIONERS[name]
    bits = spec.download_gib * 2**30 / (spec.params * 1e9) * 8
    assert any(bits == pytest.approx(each, rel=0.15) for each in (16, 32)), bits


def test_what_can_be_quantised_reads_the_setting() -> None:
    assert [
        name for name, spec in CAPTIONERS.items() if spec.quantizable != ("captioner.quantize" in READS[spec.kind])
    ] == []
