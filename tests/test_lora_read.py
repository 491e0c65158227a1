"""Files of other programs: each spelling means the same layers, and what does not fit is refused with its cause."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.loras import on_meta, random_layers, tensors_of, write
from tests.tiny import MAKERS
from trainers.lora.keys import LoraError
from trainers.lora.layers import Layers
from trainers.lora.read import read_lora
from trainers.lora.shapes import layer_shapes

NAMES = {
    "flux": ["transformer.transformer_blocks.0.attn.to_out.0", "transformer.single_transformer_blocks.1.proj_out"],
    "sd15": [
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "unet.up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_out.0",
        "unet.mid_block.attentions.0.proj_in",
        "unet.up_blocks.0.upsamplers.0.conv",
        "text_encoder.encoder.layers.1.self_attn.out_proj",
        "text_encoder.encoder.layers.0.mlp.fc1",
    ],
}


@pytest.fixture(scope="module")
def metas(tmp_path_factory: pytest.TempPathFactory):
    """The tiny model of a family without weights."""
    return cache(lambda family: on_meta(family, MAKERS[family](tmp_path_factory.mktemp(family))))


def layers_of(family: str, metas, rank: int = 2, scale: float = 1.0) -> Layers:
    return random_layers(layer_shapes(metas(family)), NAMES[family], rank, scale)


def renamed(tensors: dict[str, Tensor], *rules: tuple[str, str]) -> dict[str, Tensor]:
    for pattern, new in rules:
        tensors = {re.sub(pattern, new, key): tensor for key, tensor in tensors.items()}
    return tensors


def same(found: Layers, wanted: Layers) -> None:
    assert found.keys() == wanted.keys()
    for name, layer in wanted.items():
        torch.testing.assert_close(found[name].delta(), layer.delta(), rtol=1e-5, atol=1e-6, msg=name)


OLD = (  # as diffusers wrote it in 2023
    (r"(attn[12])\.(to_[qkv])\.lora_A\.weight", r"\1.processor.\2_lora.down.weight"),
    (r"(attn[12])\.(to_[qkv])\.lora_B\.weight", r"\1.processor.\2_lora.up.weight"),
    (r"(attn[12])\.to_out\.0\.lora_A\.weight", r"\1.processor.to_out_lora.down.weight"),
    (r"(attn[12])\.to_out\.0\.lora_B\.weight", r"\1.processor.to_out_lora.up.weight"),
    (r"self_attn\.out_proj\.lora_A", "self_attn.to_out_lora.down"),
    (r"self_attn\.out_proj\.lora_B", "self_attn.to_out_lora.up"),
    (r"\.lora_A\.", ".lora_linear_layer.down."),
    (r"\.lora_B\.", ".lora_linear_layer.up."),
)


@pytest.mark.parametrize(
    ("family", "layout", "rules"),
    [
        ("sd15", "diffusers", OLD),
        ("sd15", "diffusers", ((r"\.lora_A\.", ".lora.down."), (r"\.lora_B\.", ".lora.up."))),
        ("sd15", "diffusers", ((r"lora_([AB])\.", r"lora_\1.default."),)),
        ("sd15", "comfyui", ()),
        ("sd15", "comfyui", ((r"^diffusion_model\.", "model.diffusion_model."),)),
        ("sd15", "kohya", ((r"lora_te_", "lora_te1_"),)),
        ("flux", "diffusers", ((r"^transformer\.", "base_model.model."),)),
        ("flux", "diffusers", ((r"^transformer\.", "diffusion_model."),)),
        ("flux", "diffusers", ((r"^transformer\.", ""),)),
        ("flux", "comfyui", ((r"lora_A", "lora_down"), (r"lora_B", "lora_up"))),
    ],
    ids=[
        "old diffusers", "lora.down", "default", "native", "checkpoint", "te1", "peft", "ai-toolkit", "bare", "Newbie",
    ],
)  # fmt: skip
def test_spellings_of_other_programs_mean_the_same(family: str, layout, rules, metas, tmp_path: Path) -> None:
    layers = layers_of(family, metas)
    path = write(tmp_path / "lora.safetensors", renamed(tensors_of(layers, metas(family), layout), *rules))
    same(read_lora(path, metas(family)), layers)


def test_sd15_with_the_names_of_the_original_and_underscores(metas, tmp_path: Path) -> None:
    """As LyCORIS and trainers on the original code write it: lora_unet_input_blocks_..."""
    layers = {name: layer for name, layer in layers_of("sd15", metas).items() if name.startswith("unet")}
    tensors = {}
    for key, tensor in tensors_of(layers, metas("sd15"), "comfyui").items():
        stem, half = key.removeprefix("diffusion_model.").rsplit(".lora_", 1)
        tensors[f"lora_unet_{stem.replace('.', '_')}.lora_{'down' if half[0] == 'A' else 'up'}.weight"] = tensor
    same(read_lora(write(tmp_path / "lora.safetensors", tensors), metas("sd15")), layers)


def test_one_by_one_convolution_written_as_a_linear_layer_is_the_same(metas, tmp_path: Path) -> None:
    layers = random_layers(layer_shapes(metas("sd15")), ["unet.mid_block.attentions.0.proj_in"])
    flat = {key: tensor.flatten(1) for key, tensor in tensors_of(layers, metas("sd15"), "diffusers").items()}
    same(read_lora(write(tmp_path / "lora.safetensors", flat), metas("sd15")), layers)


# Strength


def test_alpha_over_rank_is_the_strength(metas, tmp_path: Path) -> None:
    layers = layers_of("flux", metas, rank=2, scale=1.5)
    tensors = tensors_of(layers, metas("flux"), "kohya")
    assert {tensor.item() for key, tensor in tensors.items() if key.endswith(".alpha")} == {3.0}
    same(read_lora(write(tmp_path / "lora.safetensors", tensors), metas("flux")), layers)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"r": 4, "lora_alpha": 16}, 4.0),
        ({"r": 4, "lora_alpha": 16, "use_rslora": True}, 8.0),
        ({"r": 4, "lora_alpha": 4, "alpha_pattern": {"proj_out": 2, "attn.to_out.0": 2}}, 0.5),
    ],
    ids=["alpha", "rslora", "pattern"],
)
def test_metadata_of_peft_is_the_strength(settings: dict, scale: float, metas, tmp_path: Path) -> None:
    """alpha / 4, or alpha / sqrt(4) with rsLoRA."""
    tensors = tensors_of(layers_of("flux", metas, rank=4), metas("flux"), "diffusers")
    said = json.dumps({f"transformer.{key}": value for key, value in settings.items()})
    path = write(tmp_path / "lora.safetensors", tensors, lora_adapter_metadata=said)
    same(read_lora(path, metas("flux")), layers_of("flux", metas, rank=4, scale=scale))


def test_lost_alpha_is_seen_where_the_file_says_what_it_was(metas, tmp_path: Path) -> None:
    layers = layers_of("flux", metas)
    kohya = tensors_of(layers, metas("flux"), "kohya")
    bare = {key: tensor for key, tensor in kohya.items() if not key.endswith(".alpha")}
    same(read_lora(write(tmp_path / "same.safetensors", bare), metas("flux")), layers)
    path = write(tmp_path / "lost.safetensors", bare, ss_network_dim="2", ss_network_alpha="1")
    with pytest.raises(LoraError, match=r"no alpha for lora_unet_.*alpha 1 at rank 2: its strength is lost"):
        read_lora(path, metas("flux"))


# Refused


def half(tensors: dict[str, Tensor]) -> None:
    del tensors[next(key for key in tensors if "lora_B" in key)]


def unknown(tensors: dict[str, Tensor]) -> None:
    for part in "AB":
        tensors[f"transformer.transformer_blocks.9.attn.to_q.lora_{part}.weight"] = torch.zeros(2, 2)


def stray(tensors: dict[str, Tensor]) -> None:
    tensors["transformer.x_embedder.bias"] = torch.zeros(2)


def transposed(tensors: dict[str, Tensor]) -> None:
    for key in list(tensors):
        if "single_transformer_blocks" in key:
            tensors[key] = tensors[key].T.contiguous()


def wider(tensors: dict[str, Tensor]) -> None:
    key = next(key for key in tensors if "lora_A" in key)
    tensors[key] = torch.cat([tensors[key], tensors[key]], dim=1)


def twice(tensors: dict[str, Tensor]) -> None:
    for key in list(tensors):
        tensors[key.replace("transformer.", "diffusion_model.", 1)] = tensors[key].clone()


def twice_as_one(tensors: dict[str, Tensor]) -> None:
    stem = "diffusion_model.double_blocks.0.img_attn.proj"
    tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"] = torch.ones(1, 32), torch.ones(32, 1)


def t5(tensors: dict[str, Tensor]) -> None:
    for part in ("down", "up"):
        tensors[f"lora_te3_encoder_block_0_layer_0_SelfAttention_q.lora_{part}.weight"] = torch.zeros(2, 2)


def lokr(tensors: dict[str, Tensor]) -> None:
    tensors["lora_unet_double_blocks_0_img_attn_qkv.lokr_w1"] = torch.zeros(2, 2)


def loha(tensors: dict[str, Tensor]) -> None:
    tensors["lora_unet_double_blocks_0_img_attn_qkv.hada_w1_a"] = torch.zeros(2, 2)


def along_inputs(tensors: dict[str, Tensor]) -> None:
    for key in list(tensors):
        if "lora_A" in key:
            tensors[key.replace("lora_A.weight", "dora_scale")] = torch.ones(1, tensors[key].shape[1])


def both_strengths(tensors: dict[str, Tensor]) -> None:
    for key in list(tensors):
        if "lora_A" in key:
            tensors[key.replace("lora_A.weight", "alpha")] = torch.tensor(2.0)


FAULTS = {
    half: r"lacks the second half \(lora_up or lora_B\) of transformer\.",
    unknown: r"1 of 3 layers that FLUX\.1 does not have, first transformer\.transformer_blocks\.9",
    stray: r"1 of 5 tensors are no part of a LoRA, first transformer\.x_embedder\.bias",
    transposed: r"is for a layer of .*here it is|halves of .* do not fit",
    wider: r"is for a layer of 32 x 64; here it is 32 x 32.*another size",
    twice: r"gives transformer\..* twice: as diffusion_model\..* and as transformer\.",
    twice_as_one: r"gives transformer\.transformer_blocks\.0\.attn\.to_out\.0 twice",
    t5: r"changes a text encoder that takes no adapter here: lora_te3_",
    lokr: r"this is a LoKr .*only LoRA and DoRA",
    loha: r"this is a LoHa .*only LoRA and DoRA",
    along_inputs: r"magnitudes along the inputs",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_refused_with_its_cause(fault, metas, tmp_path: Path) -> None:
    tensors = tensors_of(layers_of("flux", metas), metas("flux"), "diffusers")
    fault(tensors)
    with pytest.raises(LoraError, match=FAULTS[fault]) as caught:
        read_lora(write(tmp_path / "lora.safetensors", tensors), metas("flux"))
    assert caught.value.hint


def test_alpha_of_zero_is_refused(metas, tmp_path: Path) -> None:
    tensors = tensors_of(layers_of("flux", metas), metas("flux"), "kohya")
    nothing = {key: tensor * (0 if key.endswith(".alpha") else 1) for key, tensor in tensors.items()}
    with pytest.raises(LoraError, match="alpha 0"):
        read_lora(write(tmp_path / "lora.safetensors", nothing), metas("flux"))


def test_two_strengths_that_may_differ_are_refused(metas, tmp_path: Path) -> None:
    tensors = tensors_of(layers_of("flux", metas), metas("flux"), "diffusers")
    both_strengths(tensors)
    path = write(tmp_path / "lora.safetensors", tensors, lora_adapter_metadata='{"transformer.lora_alpha": 8}')
    with pytest.raises(LoraError, match="twice: as alpha and in lora_adapter_metadata"):
        read_lora(path, metas("flux"))


def test_lora_of_another_family_is_named(metas, tmp_path: Path) -> None:
    stem = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{stem}.lora_down.weight": torch.zeros(2, 2048), f"{stem}.lora_up.weight": torch.zeros(640, 2)}
    path = write(tmp_path / "style.safetensors", tensors)
    with pytest.raises(LoraError, match=r"style\.safetensors is a LoRA for Stable Diffusion XL; the base is FLUX\.1"):
        read_lora(path, metas("flux"))


def test_a_whole_model_is_no_lora(metas, tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", {"model.diffusion_model.out.2.weight": torch.zeros(4, 4)})
    with pytest.raises(LoraError, match="no LoRA: none of its 1 tensors"):
        read_lora(path, metas("flux"))
