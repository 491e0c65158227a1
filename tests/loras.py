"""Models of all families with trained adapters on them, for tests of LoRA files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from trainers import catalog
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.lora.layers import Layers, LoraLayer
from trainers.lora.shapes import layer_shapes, naming_of
from trainers.lora.write import write_layers

COMPONENTS: dict[str, dict[str, Any]] = {
    "flux": {"transformer": FluxTransformer2DModel, "text_encoder": CLIPTextModel},
    "sd15": {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel},
    "sdxl": {
        "unet": UNet2DConditionModel,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
    },
    "sd3": {
        "transformer": SD3Transformer2DModel,
        "text_encoder": CLIPTextModelWithProjection,
        "text_encoder_2": CLIPTextModelWithProjection,
    },
}
LARGEST = {"flux": "ai-toolkit", "sd15": "all+convs", "sdxl": "all+convs", "sd3": "all+ffs"}  # sets of targets
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def load_components(family: str, folder: Path) -> dict[str, nn.Module]:
    """Everything that takes an adapter, from a pipeline's folder."""
    return {
        name: cls.from_pretrained(folder, subfolder=name).eval().requires_grad_(False)
        for name, cls in COMPONENTS[family].items()
    }


def on_meta(family: str, folder: Path) -> dict[str, nn.Module]:
    """The same without weights, from configurations alone."""
    modules = {}
    for name, cls in COMPONENTS[family].items():
        with torch.device("meta"):
            if hasattr(cls, "config_class"):
                modules[name] = cls(cls.config_class.from_pretrained(folder, subfolder=name))
            else:
                modules[name] = cls.from_config(cls.load_config(folder, subfolder=name))
    return modules


def targets(family: str, modules: dict[str, nn.Module], scope: str = "") -> dict[str, str | list[str]]:
    spec = catalog.FAMILIES[family]
    pattern = spec.targets[scope or LARGEST[family]].pattern
    return {name: pattern if name == spec.denoiser else TEXT for name in modules}


def trained(family: str, modules: dict[str, nn.Module], scope: str = "", **settings: Any) -> Adapter:
    """An adapter of rank 4 and alpha 6, with weights as after some training."""
    config = AdapterConfig(**{"rank": 4, "alpha": 6.0, **settings})
    adapter = Adapter(modules, config, targets(family, modules, scope), seed=0)
    disturb(adapter)
    return adapter


def disturb(adapter: Adapter, by: float = 0.1) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in adapter.parameters():
        parameter.data += by * torch.randn(parameter.shape, generator=generator)


def random_layers(shapes: dict[str, tuple[int, ...]], names: list[str], rank: int = 1, scale: float = 1.0) -> Layers:
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for name in names:
        height, *rest = shapes[name]
        down = torch.randn(rank, *rest, generator=generator)
        up = torch.randn(height, rank, *[1] * (len(rest) - 1), generator=generator)
        layers[name] = LoraLayer(down, up, scale)
    return layers


def tensors_of(layers: Layers, skeleton: dict[str, nn.Module], layout: catalog.Layout) -> dict[str, Tensor]:
    return write_layers(layers, naming_of(skeleton), layer_shapes(skeleton), layout, torch.float32)


def write(path: Path, tensors: dict[str, Tensor], **metadata: str) -> Path:
    save_file(tensors, path, metadata=metadata)
    return path
