"""Whether a file that was written is what was meant, read back as another program would read it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from trainers.catalog import Layout
from trainers.errors import AtelierError
from trainers.lora.keys import Part, group_keys
from trainers.lora.layers import Layers, LoraLayer
from trainers.lora.read import read_lora
from trainers.lora.shapes import layer_shapes, naming_of
from trainers.weights.header import Header, read_header

WRITTEN: dict[str, torch.dtype] = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def verify_lora(path: Path, layers: Layers, skeleton: dict[str, nn.Module], layout: Layout) -> None:
    """Compare a file with the layers that it was made of. Raises AtelierError for the first thing that is not right.

    Every key is of a layer, with all axes of its weight; every layer that changes anything is there once; the numbers
    are finite; kohya's layout has an alpha everywhere and the others none; no metadata of PEFT; and every layer does
    what it should to a random input, within the rounding of the file.
    """
    header = read_header(path)
    groups = group_keys(header.tensors)
    if "lora_adapter_metadata" in header.metadata:
        raise _wrong(path, "it has lora_adapter_metadata, which programs obey or ignore")
    for stem, keys in groups.items():
        _check_alpha(path, stem, keys, layout)
    found = read_lora(path, skeleton)
    changed = {name for name, layer in layers.items() if layer.magnitude is not None or layer.up.any()}
    if lost := sorted(changed - found.keys()):
        raise _wrong(path, f"{len(lost)} layers are missing, first {lost[0]}")
    if more := [name for name in found.keys() - layers.keys() if found[name].up.any()]:
        raise _wrong(path, f"{len(more)} layers are there that were not trained, first {sorted(more)[0]}")
    _check_axes(path, groups, header, skeleton)
    dtype = WRITTEN[header.tensors[next(iter(groups.values()))["down"]].dtype]
    for name in layers.keys() & found.keys():
        _check_effect(path, name, layers[name], found[name], dtype)


def _check_alpha(path: Path, stem: str, keys: dict[Part, str], layout: Layout) -> None:
    if layout == "kohya" and "alpha" not in keys:
        raise _wrong(path, f"{stem} has no alpha")
    if layout != "kohya" and "alpha" in keys:
        raise _wrong(path, f"{stem} has an alpha, which programs refuse in this layout")


def _check_axes(path: Path, groups: dict[str, dict[Part, str]], header: Header, skeleton: dict[str, nn.Module]) -> None:
    """`read_lora` takes 1 x 1 convolutions with two axes too; other programs do not."""
    shapes, known = layer_shapes(skeleton), naming_of(skeleton).known_stems
    for stem, keys in groups.items():
        axes = len(shapes[known[stem][0]])
        if any(len(header.shape(keys[part])) != axes for part in ("down", "up")):
            raise _wrong(path, f"{stem} has not the {axes} axes of its layer")


def _check_effect(path: Path, name: str, meant: LoraLayer, found: LoraLayer, dtype: torch.dtype) -> None:
    """up @ down @ x without the product of the matrices, which would be as large as the model."""
    x = torch.randn(meant.down[0].numel(), generator=torch.Generator().manual_seed(0))
    if not (found.down.isfinite().all() and found.up.isfinite().all()):
        raise _wrong(path, f"{name} has numbers that are not finite")
    difference = (_effect(meant, x) - _effect(found, x)).abs()
    if (difference > _rounding(meant, x, dtype)).any():
        raise _wrong(path, f"{name} has another strength or other weights than were trained")
    if not _same_magnitude(meant.magnitude, found.magnitude):
        raise _wrong(path, f"{name} has another magnitude than was trained")


def _effect(layer: LoraLayer, x: Tensor) -> Tensor:
    return layer.scale * (layer.up.float().cpu().flatten(1) @ (layer.down.float().cpu().flatten(1) @ x))


def _rounding(layer: LoraLayer, x: Tensor, dtype: torch.dtype) -> Tensor:
    """How far off `_effect` may be [out]: each number of both halves by its last place, and of 64 sums in fp32."""
    limits = torch.finfo(dtype)
    smallest = limits.tiny * limits.eps
    last = limits.eps + 64 * torch.finfo(torch.float32).eps
    down, up = layer.down.float().cpu().flatten(1).abs(), layer.up.float().cpu().flatten(1).abs()
    inner = down @ x.abs()
    off = last * inner + smallest * x.abs().sum()
    return layer.scale * (up @ off + (last * up + smallest) @ inner)


def _same_magnitude(meant: Tensor | None, found: Tensor | None) -> bool:
    if meant is None or found is None:
        return meant is found
    return torch.equal(meant.float().cpu().flatten(), found.flatten())


def _wrong(path: Path, what: str) -> AtelierError:
    return AtelierError(
        f"{path.name} is not what was to be saved: {what}.", "Please report this; the checkpoint is safe."
    )
