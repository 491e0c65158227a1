"""The tensors of one component, read from its file one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from trainers.weights.header import WeightsError, read_header
from trainers.weights.source import Place

Read = Callable[[str, torch.dtype], Tensor]  # (name in the file, number format) -> tensor
FP8 = ("F8_E4M3", "F8_E5M2")
SCALES = (".scale_weight", ".weight_scale")  # of a weight that is stored in 8 bits, beside it
MARKS = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")  # belong to no layer


class Weights(dict[str, Tensor]):
    """Name -> tensor, read, scaled and cast at the moment it is asked for; a name that is popped is gone.

    So whoever renames and cuts them holds the finished model and one tensor, never the file as a whole.
    """

    def __init__(self, read: Read, names: dict[str, str], dtype: torch.dtype, fp32: frozenset[str]) -> None:
        """names: name here -> name in the file; fp32: parts of names that stay in full precision."""
        super().__init__(dict.fromkeys(names, torch.empty(0)))
        self._read, self._names, self._dtype, self._fp32 = read, names, dtype, fp32

    def __getitem__(self, name: str) -> Tensor:
        if name not in self:
            raise KeyError(name)
        return self._read(self._names[name], self._dtype_of(name))

    def _dtype_of(self, name: str) -> torch.dtype:
        return torch.float32 if self._fp32.intersection(name.split(".")) else self._dtype

    def below(self, prefix: str) -> Weights:
        """The same, each name behind the prefix."""
        names = {prefix + name: self._names[name] for name in self}
        return Weights(self._read, names, self._dtype, self._fp32)

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        return self[name]

    def pop(self, name: str) -> Tensor:  # type: ignore[override]
        tensor = self[name]
        del self[name]
        return tensor

    def __setitem__(self, name: str, value: Tensor) -> None:
        raise TypeError("weights are only read")


@contextmanager
def opened(place: Place, dtype: torch.dtype, fp32: Iterable[str] = ()) -> Iterator[Weights]:
    """The component's weights in `dtype`, by their names without the place's prefix. Whole numbers keep their type.

    fp32: parts of names that stay in full precision. Raises WeightsError when the file is no longer whole.
    """
    header = read_header(place.path)
    mine = [name for name in header.tensors if name.startswith(place.prefix) and not name.endswith(MARKS)]
    names = {name.removeprefix(place.prefix): name for name in mine}
    if header.format == "pickle":
        stored = _unpickled(place.path)
        yield Weights(lambda name, dtype: _cast(stored[name], dtype), names, dtype, frozenset(fp32))
        return
    with safe_open(place.path, "pt") as file:

        def read(name: str, dtype: torch.dtype) -> Tensor:
            tensor = file.get_tensor(name)
            if header.tensors[name].dtype not in FP8:
                return _cast(tensor, dtype)
            scale = next((key for end in SCALES if (key := name.removesuffix(".weight") + end) in header.tensors), "")
            return _scaled(tensor, file.get_tensor(scale), dtype) if scale else tensor.to(dtype)

        yield Weights(read, names, dtype, frozenset(fp32))


def _scaled(tensor: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """weight = stored * scale, one scale for all or one for each row."""
    scale = scale.float()
    if scale.numel() > 1:
        scale = scale.reshape(-1, *[1] * (tensor.ndim - 1))
    return (tensor.float() * scale).to(dtype)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _unpickled(path: str) -> dict[str, Tensor]:
    """weights_only: torch builds tensors and plain containers, and refuses everything else in the file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch has no one error for it
        message = f"{path} holds more than weights, or is damaged."
        raise WeightsError(message, "Convert it to .safetensors with a program that you trust.") from error
    while isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    return state
