"""Layers that are one in the original model, such as q, k and v: put together for a file, and taken apart again."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from trainers.lora.layers import LoraLayer


def fuse(slots: list[LoraLayer | None], rows: list[int], magnitudes: list[Tensor] | None) -> LoraLayer:
    """One layer that does what those of the slots do to their rows; exact, and its rank is the sum of theirs.

    rows: of each slot, of which those without an adapter get zeros; magnitudes: [rows] of each slot, with an adapter or
    without. The downs lie below each other, the ups along a diagonal. Where all have one rank, a slot without an
    adapter takes its share of it: programs that take the layer apart again expect equal shares.
    """
    there = [slot for slot in slots if slot is not None]
    scale = there[0].scale
    if any(slot.scale != scale for slot in there):
        scale = 1.0
    if len({slot.rank for slot in there}) == 1:
        slots = [slot or _nothing(there[0], height) for slot, height in zip(slots, rows, strict=True)]
        there = [slot for slot in slots if slot is not None]
    up = torch.zeros(sum(rows), sum(slot.rank for slot in there), dtype=there[0].up.dtype, device=there[0].up.device)
    row = column = 0
    for slot, height in zip(slots, rows, strict=True):
        if slot is not None:
            up[row : row + height, column : column + slot.rank] = slot.up * (slot.scale / scale)
            column += slot.rank
        row += height
    magnitude = torch.cat([part.to(up.device) for part in magnitudes]) if magnitudes else None
    return LoraLayer(torch.cat([slot.down for slot in there]), up, scale, magnitude)


def _nothing(like: LoraLayer, height: int) -> LoraLayer:
    return replace(like, down=torch.zeros_like(like.down), up=like.up.new_zeros(height, *like.up.shape[1:]))


def split(layer: LoraLayer, rows: list[int]) -> list[LoraLayer | None]:
    """The layers of the slots; None for one that is left as it is, beside others that are not. Exact in every case.

    A diagonal of blocks gives back the ranks that were put together; otherwise all slots share the down.
    """
    ups = layer.up.split(rows)
    magnitudes = layer.magnitude.split(rows) if layer.magnitude is not None else (None,) * len(rows)
    columns = _equal_columns(ups, layer.rank) or _own_columns(ups)
    slots: list[LoraLayer | None] = []
    for index, (up, magnitude) in enumerate(zip(ups, magnitudes, strict=True)):
        kept = columns[index] if columns else list(range(layer.rank))
        if magnitude is None and not up.any() and layer.up.any():
            kept = []
        if not kept and magnitude is not None:
            kept = [0]  # nothing but a magnitude: a layer must have a rank
        slots.append(LoraLayer(layer.down[kept], up[:, kept], layer.scale, magnitude) if kept else None)
    return slots


def _equal_columns(ups: tuple[Tensor, ...], rank: int) -> list[list[int]] | None:
    """Equal shares of the columns in the order of the slots, if no slot uses another's."""
    if rank % len(ups):
        return None
    share = rank // len(ups)
    columns = [list(range(index * share, (index + 1) * share)) for index in range(len(ups))]
    alone = all(not up[:, _others(own, rank)].any() for up, own in zip(ups, columns, strict=True))
    return columns if alone else None


def _own_columns(ups: tuple[Tensor, ...]) -> list[list[int]] | None:
    """The columns that each slot uses, if no column is used by two: slots of unequal rank, or left out."""
    used = torch.stack([up.ne(0).any(dim=0) for up in ups])
    if (used.sum(dim=0) > 1).any():
        return None
    return [own.nonzero().flatten().tolist() for own in used]


def _others(own: list[int], rank: int) -> list[int]:
    return [column for column in range(rank) if column not in set(own)]


def swap_halves(layer: LoraLayer) -> LoraLayer:
    """The rows of scale and shift the other way round; its own inverse."""
    magnitude = layer.magnitude
    return replace(layer, up=_swapped(layer.up), magnitude=magnitude if magnitude is None else _swapped(magnitude))


def _swapped(rows: Tensor) -> Tensor:
    first, second = rows.chunk(2)
    return torch.cat([second, first])
