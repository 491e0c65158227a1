"""What can be adapted in a model: names and shapes, from modules without weights."""

from __future__ import annotations

from torch import nn

from trainers.lora.names import Naming

Shapes = dict[str, tuple[int, ...]]
_CLASSES = {"FluxTransformer2DModel": "flux", "SD3Transformer2DModel": "sd3"}


def layer_shapes(skeleton: dict[str, nn.Module]) -> Shapes:
    """ "COMPONENT.MODULE" -> shape of the weight, of each linear layer and convolution."""
    return {
        f"{component}.{name}": tuple(layer.weight.shape)
        for component, module in skeleton.items()
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


def family_of(skeleton: dict[str, nn.Module]) -> str:
    """The family of the catalog whose denoiser it is."""
    if unet := skeleton.get("unet"):
        return "sdxl" if unet.config.addition_embed_type == "text_time" else "sd15"
    return _CLASSES[type(skeleton["transformer"]).__name__]


def naming_of(skeleton: dict[str, nn.Module]) -> Naming:
    return Naming(family_of(skeleton), tuple(layer_shapes(skeleton)))
