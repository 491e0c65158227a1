"""A LoRA that becomes part of the base, and one file of it and of the adapter that was trained on top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.errors import ConfigError
from trainers.lora.layers import Layers, LoraLayer, row_norms


@dataclass(frozen=True)
class Merged:
    """layers: what was merged; turned: of those with a magnitude, what each row of W + scale * up @ down was multiplied
    by, [out] fp32; name: of the file."""

    layers: Layers
    turned: dict[str, Tensor]
    name: str = ""


def merge(layers: Layers, modules: dict[str, nn.Module], name: str = "") -> Merged:
    """Add the change of every layer to the base's weights in place, computed in fp32 and rounded once.

    Raises ConfigError for layers of parts that are not there, and for a base in 8 bits, in which most of the change
    would be lost to rounding.
    """
    _refuse(layers, modules)
    turned = {}
    for full, layer in layers.items():
        component, _, module = full.partition(".")
        weight = modules[component].get_submodule(module).weight
        assert isinstance(weight, Tensor)
        layer = _on(layer, weight.device)
        if layer.magnitude is not None:
            turned[full] = layer.magnitude.float() / row_norms(weight.float() + layer.product())
        with torch.no_grad():
            weight.copy_(weight.float() + layer.delta(weight))
    return Merged(layers, turned, name)


def _refuse(layers: Layers, modules: dict[str, nn.Module]) -> None:
    if lost := sorted(name for name in layers if name.partition(".")[0] not in modules):
        raise ConfigError(
            "objective.sft_lora",
            f"{len(lost)} of its layers are of parts that take no adapter here, first {lost[0]}.",
            "Set adapter.text_encoders = true to train them too.",
        )
    if any(parameter.dtype.itemsize == 1 for module in modules.values() for parameter in module.parameters()):
        message = "a LoRA cannot be merged into a base stored in 8 bits: rounding would lose most of it."
        raise ConfigError("objective.sft_lora", message, "Set memory.quantize = none.")


def combined(below: Merged, layers: Layers, weight: Callable[[str], Tensor]) -> Layers:
    """Layers that do on the plain base what `layers` do on the base with `below` in it; exact, of the sum of ranks.

    weight: of a layer with `below` in it. Where any layer has a magnitude all get one, as a file then needs them. With
    D = diag(turned), the merged weight is D (W + B1 A1); D (W + B1 A1) + B2 A2 = D (W + B1 A1 + D^-1 B2 A2), and a
    magnitude undoes the length of rows, so the one of the whole stays that of the upper layer, or is its length.
    """
    every = {**below.layers, **layers}
    needed = any(layer.magnitude is not None for layer in every.values())
    found = {}
    for name in every:
        under, over = below.layers.get(name), layers.get(name)
        layer = _joined(under, over, below.turned.get(name))
        if needed:
            layer = LoraLayer(layer.down, layer.up, layer.scale, _magnitude(over, weight(name)))
        found[name] = layer
    return found


def _joined(under: LoraLayer | None, over: LoraLayer | None, turned: Tensor | None) -> LoraLayer:
    """Both products in one, or the only one: down [r1 + r2,...], up [out, r1 + r2,...] with the scales in it."""
    if under is None or over is None:
        only = under or over
        assert only
        return LoraLayer(only.down, only.up, only.scale)
    over_up = over.scale * over.up.float()
    under = _on(under, over_up.device)
    if turned is not None:
        over_up = over_up / turned.to(over_up.device).reshape(-1, *[1] * (over_up.dim() - 1))
    ups = [under.scale * under.up.float(), over_up]
    return LoraLayer(torch.cat([under.down.float(), over.down.float()]), torch.cat(ups, 1))


def _magnitude(over: LoraLayer | None, weight: Tensor) -> Tensor:
    """Of the whole, [out] fp32. weight: with what lies below in it."""
    if over is None:
        return row_norms(weight)
    if over.magnitude is not None:
        return over.magnitude
    return row_norms(weight.float() + over.product())


def _on(layer: LoraLayer, device: torch.device) -> LoraLayer:
    magnitude = None if layer.magnitude is None else layer.magnitude.to(device)
    return LoraLayer(layer.down.to(device), layer.up.to(device), layer.scale, magnitude)
