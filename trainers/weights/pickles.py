"""Names and shapes in a pickled checkpoint, read without running what is in it."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from trainers.weights.header import TensorInfo, WeightsError

DTYPES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
}


class _Inert:
    """Stands for every class that a pickle names: takes whatever it is given and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None: ...


class _Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]


def _rebuild(storage: str, offset: int, size: tuple[int, ...], *rest: Any) -> _Tensor:
    return _Tensor(storage, tuple(size))


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Never the class that is named, but for the dict of weights: a pickle could name any program."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in DTYPES:
            return type(name, (_Inert,), {})
        return _Inert

    def persistent_load(self, pid: Any) -> str:
        """("storage", class, key, device, count): the storage's number format."""
        return DTYPES.get(getattr(pid[1], "__name__", ""), "?")


def read_pickle(path: str) -> dict[str, TensorInfo]:
    """The tensors of a checkpoint as torch.save writes it since 1.6. Raises WeightsError for others."""
    name = os.path.basename(path)
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next(entry for entry in archive.namelist() if entry.endswith("/data.pkl"))
            with archive.open(inside) as file:
                state = _Reader(file).load()
    except (
        zipfile.BadZipFile,
        StopIteration,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
    ) as error:
        message = f"{name} is a pickle that cannot be read: it is damaged, or of an old kind."
        raise WeightsError(message, "Convert it to .safetensors, or download such a file.") from error
    while isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise WeightsError(f"{name} is a pickle that holds no weights.", "Give a .safetensors file.")
    return {
        key: TensorInfo(value.dtype, value.shape, 0, 0) for key, value in state.items() if isinstance(value, _Tensor)
    }
