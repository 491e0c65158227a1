"""Published sizes without weights: built on the meta device, so that a laptop can hold FLUX.1 dev."""

from __future__ import annotations

import json
import re

import diffusers
import pytest
import torch
from torch import nn

from trainers import catalog
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.families.unet import KEEP

MODELS = [name for name, model in catalog.MODELS.items() if not model.built_in]


def denoiser(name: str) -> nn.Module:
    component = catalog.FAMILIES[catalog.MODELS[name].family].denoiser
    config = json.loads((catalog.CONFIGS / name / component / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        return getattr(diffusers, config["_class_name"]).from_config(config)


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_the_share_that_8_bits_take(name: str) -> None:
    """Linear layers alone, but for norms, embedders and the ends of the model."""
    model, published = catalog.MODELS[name], denoiser(name)
    kept = [*published._skip_layerwise_casting_patterns, "^proj_in$", "^proj_out$", *KEEP]
    packed = sum(
        parameter.numel()
        for layer, module in published.named_modules()
        if isinstance(module, nn.Linear) and not any(re.search(pattern, layer) for pattern in kept)
        for parameter in module.parameters()
    )
    total = sum(parameter.numel() for parameter in published.parameters())
    assert total / 1e9 == pytest.approx(model.denoiser_params, rel=1e-3)
    assert packed / total == pytest.approx(model.packable, abs=2e-3)


@pytest.mark.parametrize(
    ("name", "scope", "layers"),
    [
        ("flux-dev", "mmdit", 19 * 4 + 38 * 3),
        ("flux-dev", "all", 19 * 8 + 38 * 3),
        ("flux-dev", "all+ffs", 19 * 12 + 38 * 5),
        ("flux-dev", "context", 19 * 4),
        ("flux-dev", "tiny", 2),
        ("flux-dev", "nano", 1),
        ("sd15", "attention", 16 * 8),
        ("sd15", "all", 16 * 12),  # kohya's LoRA: 8 of attention, 2 feed-forward, and the ends of each transformer
        ("sdxl", "all", 70 * 10 + 11 * 2),  # kohya's LoRA has 722
        ("sdxl", "cross", 70 * 4),
        ("sd3-medium", "all", 24 * 8 - 1),  # the last block has no output for the words
        ("sd35-medium", "all", 24 * 8 - 1 + 13 * 4),  # 13 blocks have a second attention
        ("sd35-large", "all+ffs", 38 * 12 - 3),
    ],
)
def test_adapters_attach_at_real_size(name: str, scope: str, layers: int) -> None:
    family = catalog.FAMILIES[catalog.MODELS[name].family]
    pattern = family.targets[scope].pattern
    with torch.device("meta"):
        config = AdapterConfig(rank=16, alpha=16.0, targets=scope)
        adapter = Adapter({family.denoiser: denoiser(name)}, config, {family.denoiser: pattern}, seed=0)
    state = adapter.state()
    assert len(adapter.names()) == layers and len(state) == 2 * layers
    for key, tensor in state.items():
        assert (tensor.shape[0] if ".lora_A." in key else tensor.shape[1]) == 16
