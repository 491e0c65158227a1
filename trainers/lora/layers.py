"""One adapter in a form that no file has: by the name of the layer that it changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LoraLayer:
    """What an adapter does to one layer: W + scale * up @ down, or with a magnitude (DoRA, Liu et al. 2024)
    magnitude * V / |V| of V = W + scale * up @ down, row by row.

    down [r,in] or [r,in,kh,kw]; up [out,r] or [out,r,1,1]; magnitude [out].
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that it changes."""
        return (self.up.shape[0], *self.down.shape[1:])

    def product(self) -> Tensor:
        """scale * up @ down in the shape of the weight, fp32."""
        flat = self.up.float().flatten(1) @ self.down.float().flatten(1)
        return (self.scale * flat).reshape(self.shape)

    def delta(self, weight: Tensor | None = None) -> Tensor:
        """The change of the weight, fp32. Raises ValueError when there is a magnitude and no weight is given."""
        if self.magnitude is None:
            return self.product()
        if weight is None:
            raise ValueError("the change by a magnitude depends on the weight")
        base = weight.float()
        moved = base + self.product()
        return moved * _column(self.magnitude.float() / row_norms(moved), moved) - base


Layers = dict[str, LoraLayer]  # "COMPONENT.MODULE", as in "unet.conv_in" -> what is done to it


def row_norms(weight: Tensor) -> Tensor:
    """Lengths [out] of what each output has of a weight [out,...], fp32."""
    return torch.linalg.vector_norm(weight.float().flatten(1), dim=1)


def _column(values: Tensor, weight: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (weight.dim() - 1))
