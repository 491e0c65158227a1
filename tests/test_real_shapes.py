"""Published sizes without weights: built on the meta device, so that a laptop can hold FLUX.1 dev."""

from __future__ import annotations

import re

import pytest
import torch
from diffusers import FluxTransformer2DModel

from trainers import catalog
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig

# the published transformer/config.json of FLUX.1-dev
DEV = {
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
}


@pytest.fixture(scope="module")
def transformer() -> FluxTransformer2DModel:
    with torch.device("meta"):
        return FluxTransformer2DModel(**DEV)


def test_parameters_and_the_share_that_8_bits_take(transformer: FluxTransformer2DModel) -> None:
    model = catalog.MODELS["flux-dev"]
    total = sum(p.numel() for p in transformer.parameters())
    skipped = tuple(transformer._skip_layerwise_casting_patterns)
    packed = sum(
        module.weight.numel() + (module.bias.numel() if module.bias is not None else 0)
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
        and name != "proj_out"
        and not any(re.search(pattern, name) for pattern in skipped)
    )
    assert total == 11_901_408_320
    assert total / 1e9 == pytest.approx(model.denoiser_params, rel=1e-3)
    assert packed / total == pytest.approx(model.packable, abs=1e-3)


@pytest.mark.parametrize(
    ("scope", "layers"),
    [
        ("mmdit", 19 * 4 + 38 * 3),
        ("all", 19 * 8 + 38 * 3),
        ("all+ffs", 19 * 12 + 38 * 5),
        ("context", 19 * 4),
        ("tiny", 2),
        ("nano", 1),
    ],
)
def test_adapters_attach_at_real_size(scope: str, layers: int) -> None:
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**DEV)
        config = AdapterConfig(rank=16, alpha=16.0, targets=scope)
        adapter = Adapter(transformer, config, catalog.FAMILIES["flux"].targets[scope].pattern, seed=0)
    state = adapter.state()
    assert len(adapter.layers()) == layers and len(state) == 2 * layers
    for name, tensor in state.items():
        assert (tensor.shape[0] if ".lora_A." in name else tensor.shape[1]) == 16
