"""Layers as the tensors of a file, in any layout.

Programs differ in what they take for the strength of a file without an alpha, and most refuse an alpha in the PEFT
layout. So the scale is multiplied into lora_B there and no alpha is written; kohya's layout has an alpha for each
module.

A magnitude is written as trained, by the rows of the output: magnitude * V / |V| of V = W + scale * up @ down. PEFT and
LyCORIS draw that. ComfyUI and Forge divide by |W| instead (ComfyUI's pull request 15458 was open in August 2026), so
they draw a DoRA a little differently; A1111 divides along the inputs, which is wrong for these files.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.catalog import Layout
from trainers.errors import AtelierError
from trainers.lora.fuse import fuse, swap_halves
from trainers.lora.layers import Layers, LoraLayer, row_norms
from trainers.lora.names import TEXT, Naming
from trainers.lora.shapes import Shapes

Weights = Callable[[str], Tensor]  # "COMPONENT.MODULE" -> the base's weight


def write_layers(
    layers: Layers,
    naming: Naming,
    shapes: Shapes,
    layout: Layout,
    dtype: torch.dtype,
    weights: Weights | None = None,
) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Alphas and magnitudes are fp32 in every file: they are tiny, and a rounded
    one would change whole layers.

    weights: of the base, asked only for a DoRA that leaves out a part of a layer of the original. Raises AtelierError
    when a number is not finite or does not fit into `dtype`, and for a layer that the layout has no name for.
    """
    tensors: dict[str, Tensor] = {}
    done: set[str] = set()
    for name in layers:
        if name in done:
            continue
        try:
            together, stem = naming.together(name, layout), naming.stem(name, layout)
        except KeyError as error:
            raise AtelierError(f"{name} has no name in the {layout} layout.", "Use the diffusers layout.") from error
        done.update(together)
        layer = _joined(layers, together, shapes, weights)
        if layout != "diffusers" and name in naming.originals and naming.originals[name].swapped:
            layer = swap_halves(layer)
        tensors.update(_tensors(stem, layer, layout, dtype))
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise AtelierError(
            f"{len(broken)} tensors of the adapter are not finite, first {broken[0]}.",
            "Go on from an earlier checkpoint with a lower learning rate, or save in bf16.",
        )
    return tensors


def _joined(layers: Layers, together: tuple[str, ...], shapes: Shapes, weights: Weights | None) -> LoraLayer:
    if len(together) == 1:
        return layers[together[0]]
    slots = [layers.get(name) for name in together]
    magnitudes = None
    if any(slot is not None and slot.magnitude is not None for slot in slots):
        magnitudes = [_magnitude(name, layers.get(name), weights) for name in together]
    return fuse(slots, [shapes[name][0] for name in together], magnitudes)


def _magnitude(name: str, layer: LoraLayer | None, weights: Weights | None) -> Tensor:
    """Of a layer without a magnitude of its own it is the length that its rows have."""
    if layer is not None and layer.magnitude is not None:
        return layer.magnitude
    if weights is None:
        raise AtelierError(
            f"{name} has no magnitude, but this layout keeps it in one layer with some that have, and the lengths of "
            "its weights are not known without the base.",
            "Give the base's file or folder (--base), or train with save.layout = kohya.",
        )
    return row_norms(weights(name) if layer is None else weights(name).float() + layer.product())


def _tensors(stem: str, layer: LoraLayer, layout: Layout, dtype: torch.dtype) -> dict[str, Tensor]:
    def as_saved(tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu", dtype).contiguous()

    if layout == "kohya":
        tensors = {
            f"{stem}.lora_down.weight": as_saved(layer.down),
            f"{stem}.lora_up.weight": as_saved(layer.up),
            f"{stem}.alpha": torch.tensor(layer.scale * layer.rank, dtype=torch.float32),
        }
    else:
        tensors = {
            f"{stem}.lora_A.weight": as_saved(layer.down),
            f"{stem}.lora_B.weight": as_saved(layer.up.float() * layer.scale),
        }
    if layer.magnitude is not None:
        lengths = layer.magnitude.detach().to("cpu", torch.float32)
        spare = [1] * (layer.down.dim() - 2)
        if layout == "diffusers":  # PEFT keeps those of a convolution along the axis of channels
            # transformers, which loads text encoders, knows the parameter by its whole name only
            ending = ".weight" if stem.startswith(TEXT) else ""
            tensors[f"{stem}.lora_magnitude_vector{ending}"] = lengths.reshape(1, -1, *spare) if spare else lengths
        else:
            tensors[f"{stem}.dora_scale"] = lengths.reshape(-1, 1, *spare)
    # layers that were split from one share their down, and a file may not hold a tensor twice
    return {name: tensor.clone() for name, tensor in tensors.items()}
