"""LoRA files with random weights, for tests that draw with one."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from trainers.families.base import ModelFamily

ENDINGS = ("to_q", "to_v", "q_proj", "v_proj")
STRONG = 0.3  # of the halves: enough that a picture of a tiny model changes visibly


def write_lora(
    path: Path, family: ModelFamily, *components: str, rank: int = 2, seed: int = 7, **metadata: str
) -> Path:
    """In the diffusers layout, on queries and values of the components."""
    generator = torch.Generator().manual_seed(seed)
    skeleton, tensors = family.skeleton(), {}
    for component in components:
        for name, layer in skeleton[component].named_modules():
            if isinstance(layer, nn.Linear) and name.endswith(ENDINGS):
                stem = f"{component}.{name}"
                tensors[f"{stem}.lora_A.weight"] = STRONG * torch.randn(rank, layer.in_features, generator=generator)
                tensors[f"{stem}.lora_B.weight"] = STRONG * torch.randn(layer.out_features, rank, generator=generator)
    save_file(tensors, path, metadata=metadata)
    return path
