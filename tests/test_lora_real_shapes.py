"""LoRA files at the sizes of the published models, against what is known of other programs' files.

The models are on the meta device, made of assets/configs; adapters have rank 1 and are real.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_kohya_flux_lora_to_diffusers,
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from torch import Tensor

from tests.loras import on_meta, random_layers, tensors_of
from trainers import catalog
from trainers.lora.facts import facts_of
from trainers.lora.file import save_layers
from trainers.lora.layers import Layers, LoraLayer
from trainers.lora.shapes import layer_shapes, naming_of

MODELS = ("sd15", "sdxl", "sd3-medium", "sd35-medium", "sd35-large", "flux-dev")


@cache
def model(name: str) -> dict:
    return on_meta(catalog.MODELS[name].family, catalog.CONFIGS / name)


@cache
def all_layers(name: str, scale: float = 1.0) -> Layers:
    shapes = layer_shapes(model(name))
    return random_layers(shapes, list(shapes), scale=scale)


def chosen(name: str, scope: str) -> Layers:
    """The denoiser's layers of a named set of targets."""
    spec = catalog.FAMILIES[catalog.MODELS[name].family]
    pattern = f"{spec.denoiser}\\.({spec.targets[scope].pattern})"
    return {layer: one for layer, one in all_layers(name).items() if re.fullmatch(pattern, layer)}


def stems(tensors: dict[str, Tensor]) -> set[str]:
    return {re.sub(r"\.(lora_.*|alpha)$", "", key) for key in tensors}


@pytest.mark.parametrize("layout", catalog.LAYOUTS)
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_every_model_goes_into_every_layout_and_back(name: str, layout, tmp_path: Path) -> None:
    """save_layers reads back: each key is of a layer with the right shape, each layer is there and does the same."""
    path = tmp_path / "lora.safetensors"
    save_layers(path, all_layers(name), model(name), layout, torch.float32, {})
    facts = facts_of(path)
    assert facts.family == catalog.MODELS[name].family and facts.layout == layout and facts.text


@pytest.mark.parametrize(
    ("name", "scope", "count"),
    [
        ("sd15", "all", 192),
        ("sdxl", "all", 722),
        ("flux-dev", "ai-toolkit", 304),  # 10 in each of 19 double blocks, 3 in each of 38 single ones
        ("flux-dev", "all+ffs", 19 * 8 + 38 * 2),
        ("sd3-medium", "all+ffs", 24 * 8 - 3),  # the words of the last block have no way out
        ("sd35-large", "all+ffs", 38 * 8 - 3),
        ("sd35-medium", "all+ffs", 24 * 8 - 3 + 13 * 2),
    ],
)
def test_kohya_files_have_as_many_modules_as_those_of_sd_scripts(name: str, scope: str, count: int) -> None:
    assert len(stems(tensors_of(chosen(name, scope), model(name), "kohya"))) == count


@pytest.mark.parametrize(("name", "modules"), [("sd15", 12 * 6), ("sdxl", 12 * 6 + 32 * 6)])
def test_text_encoders_have_as_many_modules_as_those_of_sd_scripts(name: str, modules: int) -> None:
    text = {layer: one for layer, one in all_layers(name).items() if ".encoder.layers." in layer}
    assert len(stems(tensors_of(text, model(name), "kohya"))) == modules


# From files that sd-scripts and ComfyUI load: key without its ending -> (inputs, outputs)
KNOWN = {
    "sd15": {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320),
        "lora_unet_mid_block_attentions_0_proj_in": (1280, 1280),
        "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_0_proj": (320, 2560),
        "lora_unet_up_blocks_0_resnets_0_conv1": (2560, 1280),
        "lora_te_text_model_encoder_layers_11_mlp_fc1": (768, 3072),
    },
    "sdxl": {
        "lora_unet_input_blocks_3_0_op": (320, 320),
        "lora_unet_input_blocks_4_0_skip_connection": (320, 640),
        "lora_unet_input_blocks_4_1_proj_in": (640, 640),
        "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k": (2048, 640),
        "lora_unet_input_blocks_8_1_transformer_blocks_9_ff_net_2": (5120, 1280),
        "lora_unet_middle_block_1_transformer_blocks_9_attn1_to_out_0": (1280, 1280),
        "lora_unet_middle_block_2_in_layers_2": (1280, 1280),
        "lora_unet_output_blocks_0_0_in_layers_2": (2560, 1280),
        "lora_unet_output_blocks_2_2_conv": (1280, 1280),
        "lora_unet_output_blocks_5_2_conv": (640, 640),
        "lora_unet_output_blocks_3_1_transformer_blocks_0_attn1_to_q": (640, 640),
        "lora_unet_output_blocks_8_0_emb_layers_1": (1280, 320),
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": (768, 768),
        "lora_te2_text_model_encoder_layers_31_mlp_fc2": (5120, 1280),
    },
    "sd3-medium": {
        "lora_unet_joint_blocks_0_x_block_attn_qkv": (1536, 4608),
        "lora_unet_joint_blocks_22_context_block_mlp_fc2": (6144, 1536),
        "lora_unet_joint_blocks_23_context_block_attn_qkv": (1536, 4608),
        "lora_te2_text_model_encoder_layers_31_mlp_fc2": (5120, 1280),
    },
    "sd35-medium": {
        "lora_unet_joint_blocks_12_x_block_attn2_qkv": (1536, 4608),
        "lora_unet_joint_blocks_12_x_block_attn2_proj": (1536, 1536),
        "lora_unet_joint_blocks_12_x_block_adaLN_modulation_1": (1536, 9 * 1536),
        "lora_unet_joint_blocks_13_x_block_adaLN_modulation_1": (1536, 6 * 1536),
    },
    "flux-dev": {
        "lora_unet_double_blocks_0_img_attn_qkv": (3072, 9216),
        "lora_unet_double_blocks_18_txt_mlp_2": (12288, 3072),
        "lora_unet_double_blocks_0_img_mod_lin": (3072, 18432),
        "lora_unet_single_blocks_0_linear1": (3072, 21504),
        "lora_unet_single_blocks_37_linear2": (15360, 3072),
        "lora_unet_single_blocks_37_modulation_lin": (3072, 9216),
        "lora_te1_text_model_encoder_layers_0_self_attn_out_proj": (768, 768),
    },
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_keys_are_there_in_their_sizes(name: str) -> None:
    tensors = tensors_of(all_layers(name), model(name), "kohya")
    sizes = {
        stem: (tensors[f"{stem}.lora_down.weight"].shape[1], tensors[f"{stem}.lora_up.weight"].shape[0])
        for stem in KNOWN[name]
    }
    assert sizes == KNOWN[name]


def test_convolutions_have_four_axes() -> None:
    """1 x 1 in SD 1.5's transformers, which SDXL has as linear layers."""
    sd15, sdxl = (tensors_of(all_layers(name), model(name), "kohya") for name in ("sd15", "sdxl"))
    assert sd15["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"].shape == (1, 1280, 1, 1)
    assert sd15["lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"].shape == (1280, 1, 1, 1)
    assert sdxl["lora_unet_input_blocks_3_0_op.lora_down.weight"].shape == (1, 320, 3, 3)
    assert sdxl["lora_unet_middle_block_1_proj_in.lora_down.weight"].shape == (1, 1280)


# Converters of diffusers that know the real sizes only


def pairs(state: dict[str, Tensor]) -> Layers:
    """PEFT's pairs in a state dict, by layer."""
    return {
        key.removesuffix(".lora_A.weight"): LoraLayer(tensor, state[key.replace("lora_A", "lora_B")])
        for key, tensor in state.items()
        if key.endswith(".lora_A.weight")
    }


def test_diffusers_converts_a_kohya_file_for_flux_to_the_same_change() -> None:
    """Rank 1 at scale 1.5: an alpha, and q, k and v that come back apart, each with its own rows."""
    blocks = {name: one for name, one in all_layers("flux-dev", scale=1.5).items() if "transformer_blocks." in name}
    theirs = pairs(_convert_kohya_flux_lora_to_diffusers(tensors_of(blocks, model("flux-dev"), "kohya")))
    assert theirs.keys() == blocks.keys()
    for name, layer in blocks.items():
        x = torch.randn(layer.down.shape[1], generator=torch.Generator().manual_seed(0))
        wanted = layer.scale * layer.up @ (layer.down @ x)
        torch.testing.assert_close(theirs[name].up @ (theirs[name].down @ x), wanted, rtol=1e-5, atol=1e-4)


def test_diffusers_understands_every_kohya_name_of_sdxl() -> None:
    """Its converter does not say which key became which: a number in place of the weights does."""
    naming = naming_of(model("sdxl"))
    names = [name for name in naming.layers if name.startswith("unet.")]
    tensors = {}
    for number, name in enumerate(names):
        stem = naming.stem(name, "kohya")
        tensors |= {f"{stem}.lora_{part}.weight": torch.tensor(number) for part in ("down", "up")}
    mapped = _maybe_map_sgm_blocks_to_diffusers(tensors, model("sdxl")["unet"].config)
    converted, _ = _convert_non_diffusers_lora_to_diffusers(mapped)
    found = {names[int(number)]: key for key, number in converted.items() if ".down." in key}
    assert found.keys() == set(names)
    for name, key in found.items():
        bare = re.sub(r"(_lora|\.lora)\.down\.weight$", "", key).replace(".processor", "")
        assert re.sub(r"\.to_out$", ".to_out.0", bare) == name
