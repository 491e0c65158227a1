"""Encoded pictures and captions on disk, named by what they were made from, never by position."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from trainers.data.storage import mark_wanted
from trainers.rundir import write_atomic

RAM_LIMIT = 2 << 30  # bytes of tensors that a cache keeps in memory beside the disk

Tensors = dict[str, Tensor]


def key_of(*parts: object) -> str:
    """Name of an entry: a hash of everything that its content depends on."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


class TensorCache:
    """Tensors by key below `root`; files are shared between runs and written whole or not at all."""

    def __init__(self, root: Path, ram_limit: int = RAM_LIMIT) -> None:
        self.root = root
        self._ram: dict[str, Tensors] = {}
        self._room = ram_limit

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.safetensors"

    def __contains__(self, key: str) -> bool:
        """Whether the entry is there, by its file's head and length alone; a damaged file counts as not there."""
        if key in self._ram:
            return True
        path = self._path(key)
        try:
            changed = path.stat().st_mtime
            with safe_open(path, framework="np"):
                pass
        except (FileNotFoundError, SafetensorError):
            return False
        mark_wanted(path, changed)
        return True

    def get(self, key: str) -> Tensors | None:
        """The entry, on the CPU; None when it is not there. A damaged file counts as not there."""
        if key in self._ram:
            return self._ram[key]
        try:
            tensors = load_file(self._path(key))
        except (FileNotFoundError, SafetensorError):
            return None
        self._remember(key, tensors)
        return tensors

    def put(self, key: str, tensors: Tensors) -> None:
        tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
        write_atomic(self._path(key), save(tensors))
        self._remember(key, tensors)

    def _remember(self, key: str, tensors: Tensors) -> None:
        size = sum(tensor.nbytes for tensor in tensors.values())
        if size <= self._room:
            self._ram[key] = tensors
            self._room -= size

    def fill(
        self,
        keys: Iterable[str],
        make: Callable[[list[int]], list[Tensors]],
        *,
        batch: int,
        progress: Callable[[int, int], None],
    ) -> None:
        """Make the entries that are missing. make: positions in `keys` -> their tensors, `batch` at a time."""
        keys = list(keys)
        missing = [index for index, key in enumerate(keys) if key not in self]
        for first in range(0, len(missing), batch):
            progress(first, len(missing))
            part = missing[first : first + batch]
            for index, tensors in zip(part, make(part), strict=True):
                self.put(keys[index], tensors)
