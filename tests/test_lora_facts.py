"""What a LoRA file is known to be from its header, and what a run that goes on from it takes over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.loras import write
from tests.training import CPU
from trainers import resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.lora.facts import facts_of
from trainers.lora.keys import LoraError

SDXL = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"


def pair(stem: str, into: int, out: int = 8, rank: int = 4, alpha: float | None = None) -> dict[str, Tensor]:
    tensors = {f"{stem}.lora_down.weight": torch.zeros(rank, into), f"{stem}.lora_up.weight": torch.zeros(out, rank)}
    return tensors if alpha is None else {**tensors, f"{stem}.alpha": torch.tensor(alpha)}


@pytest.mark.parametrize(
    ("stem", "into", "family", "title"),
    [
        (SDXL, 2048, "sdxl", "Stable Diffusion XL"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", 768, "sd15", "Stable Diffusion 1.5"),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_v", 1024, "", "Stable Diffusion 2"),
        ("lora_unet_double_blocks_0_img_attn_qkv", 3072, "flux", "FLUX.1"),
        ("transformer.transformer_blocks.0.attn.to_q", 3072, "flux", "FLUX.1"),
        ("transformer.transformer_blocks.0.attn.to_q", 1536, "sd3", "Stable Diffusion 3 and 3.5"),
        ("transformer.transformer_blocks.0.attn.add_k_proj", 2432, "sd3", "Stable Diffusion 3 and 3.5"),
        ("diffusion_model.joint_blocks.3.x_block.attn.qkv", 1536, "sd3", "Stable Diffusion 3 and 3.5"),
        ("transformer.transformer_blocks.0.img_mlp.net.2", 12288, "", "Qwen-Image"),
        ("diffusion_model.blocks.0.self_attn.q", 5120, "", "Wan"),
        ("lora_unet_layers_0_attention_qkv", 2304, "", "Lumina 2 or Z-Image"),
        ("lora_unet_mid_block_attentions_0_proj_in", 1280, "", ""),
        ("lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q", 1280, "sdxl", "Stable Diffusion XL"),
    ],
)
def test_model_is_known_by_names_and_sizes(stem: str, into: int, family: str, title: str, tmp_path: Path) -> None:
    facts = facts_of(write(tmp_path / "lora.safetensors", pair(stem, into)))
    assert (facts.family, facts.title) == (family, title)


def test_metadata_is_believed_where_names_do_not_tell(tmp_path: Path) -> None:
    stem = "lora_unet_mid_block_attentions_0_proj_in"
    facts = facts_of(write(tmp_path / "lora.safetensors", pair(stem, 1280), ss_base_model_version="sd_v1"))
    assert facts.family == "sd15"


def test_layout_rank_alpha_and_kind(tmp_path: Path) -> None:
    tensors = pair(SDXL, 2048, alpha=2.0) | pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, alpha=2.0)
    tensors |= {f"{SDXL}.dora_scale": torch.ones(8, 1)}
    facts = facts_of(write(tmp_path / "lora.safetensors", tensors))
    assert (facts.layout, facts.rank, facts.alpha, facts.kind, facts.text, facts.layers) == (
        "kohya", 4, 2.0, "dora", True, 2,
    )  # fmt: skip


def test_rank_is_the_trained_one_where_most_layers_hold_three(tmp_path: Path) -> None:
    tensors = {}
    for block in range(3):
        tensors |= pair(f"lora_unet_double_blocks_{block}_img_attn_qkv", 3072, rank=12, alpha=6.0)
    tensors |= pair("lora_unet_double_blocks_0_img_attn_proj", 3072, rank=4, alpha=2.0)
    facts = facts_of(write(tmp_path / "lora.safetensors", tensors, ss_network_dim="4"))
    assert (facts.rank, facts.alpha) == (4, 2.0)


def test_alpha_of_peft_is_in_its_metadata(tmp_path: Path) -> None:
    stem = "transformer.transformer_blocks.0.attn.to_q"
    said = json.dumps({"transformer.r": 4, "transformer.lora_alpha": 16})
    assert facts_of(write(tmp_path / "lora.safetensors", pair(stem, 3072), lora_adapter_metadata=said)).alpha == 16


def test_other_adapters_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "lora.safetensors", {"lora_unet_double_blocks_0_img_attn_qkv.lokr_w1": torch.zeros(2, 2)})
    with pytest.raises(LoraError, match="this is a LoKr"):
        facts_of(path)


def test_facts_need_no_torch() -> None:
    program = "import sys, trainers.lora.resume; assert not {'torch', 'safetensors'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent)


# Going on from a file


def resolved(path: Path, base: str = "sdxl", **adapter: object) -> TrainConfig:
    values = {"model": {"base": base}, "adapter": {"resume_from": str(path), **adapter}}
    return resolve.resolve(resolve.validate(values), CPU)


def test_rank_alpha_kind_and_text_encoders_are_those_of_the_file(tmp_path: Path) -> None:
    tensors = pair(SDXL, 2048, rank=6, alpha=3.0) | {f"{SDXL}.dora_scale": torch.ones(8, 1)}
    tensors |= pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, rank=6, alpha=3.0)
    config = resolved(write(tmp_path / "lora.safetensors", tensors))
    adapter = config.adapter
    assert (adapter.rank, adapter.alpha, adapter.kind, adapter.text_encoders) == (6, 3.0, "dora", True)
    assert resolve.resolve(config, CPU) == config


def test_another_rank_is_refused_and_another_alpha_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "lora.safetensors", pair(SDXL, 2048, rank=6, alpha=3.0))
    with pytest.raises(ConfigError, match=r"adapter\.rank: lora\.safetensors has rank 6.*asks for 8.*auto"):
        resolved(path, rank=8)
    assert resolved(path, rank=6, alpha=12.0).adapter.alpha == 12.0


@pytest.mark.parametrize("base", ["flux-dev", "sd15"])
def test_file_of_another_family_is_refused(base: str, tmp_path: Path) -> None:
    path = write(tmp_path / "lora.safetensors", pair(SDXL, 2048))
    with pytest.raises(ConfigError, match=r"adapter\.resume_from: lora\.safetensors is a LoRA for Stable Diffusion XL"):
        resolved(path, base)


def test_file_that_is_no_lora_is_an_error_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "lora.safetensors").write_bytes(b"<html>")
    with pytest.raises(ConfigError, match=r"adapter\.resume_from: .*web page"):
        resolved(tmp_path / "lora.safetensors")
