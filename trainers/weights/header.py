"""What a weights file says of itself: names, shapes and places of its tensors. The tensors themselves stay on disk."""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from trainers.errors import EXIT_USAGE, AtelierError

LONGEST_HEADER = 100_000_000  # bytes, as in safetensors itself
BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
GB = 1e9
AGAIN = "Download it again; a download by Atelier goes on where it stopped."
SAFETENSORS = "Give a .safetensors file."


class WeightsError(AtelierError):
    """A model file cannot be used."""

    exit_code = EXIT_USAGE


class TensorInfo(NamedTuple):
    """dtype: as safetensors writes it, such as BF16 or F8_E4M3; begin, end: bytes of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, eq=False)  # by identity, so that what is found in a header can be remembered
class Header:
    """path: absolute; format: of the file. begin and end of a pickle's tensors are 0."""

    path: str
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    size: int
    format: Literal["safetensors", "pickle"] = "safetensors"

    def shape(self, name: str) -> tuple[int, ...]:
        """Empty for a tensor that is not there."""
        info = self.tensors.get(name)
        return info.shape if info else ()


def read_header(path: str | Path) -> Header:
    """Reads a file's header, again only when it has changed. Raises WeightsError for what is no whole model file."""
    located = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(located):
        raise WeightsError(f"{located} is a folder, and a file is expected.", "Give the file within it.")
    try:
        state = os.stat(located)
        return _read(located, state.st_size, state.st_mtime_ns)
    except FileNotFoundError as error:
        raise WeightsError(
            f"{located} is not there (any more).", "Check its name, or that the drive is connected."
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{located} cannot be read: {error.strerror}.", "Check its permissions and the drive."
        ) from error


@lru_cache(maxsize=4096)
def _read(path: str, size: int, changed: int) -> Header:
    with open(path, "rb") as file:
        start = file.read(512)
        _refuse_others(path, start)
        # the length of a safetensors header may begin with any byte; its text follows with a brace
        if start[8:9] != b"{" and (start[:4] == b"PK\x03\x04" or start[:1] == b"\x80"):
            from trainers.weights.pickles import read_pickle

            return Header(path, read_pickle(path), {}, size, "pickle")
        length = int.from_bytes(start[:8], "little")
        if length > LONGEST_HEADER or start[8:9] not in (b"{", b""):
            raise WeightsError(f"{_name(path)} is no model file: its beginning makes no sense.", SAFETENSORS)
        if 8 + length > size:
            raise _incomplete(path, size, 8 + length)
        file.seek(8)
        text = file.read(length)
    tensors, metadata = _parse(path, text, offset=8 + length)
    whole = max((info.end for info in tensors.values()), default=8 + length)
    if whole > size:
        raise _incomplete(path, size, whole)
    return Header(path, tensors, metadata, size)


def _refuse_others(path: str, start: bytes) -> None:
    """Files that are often taken for models, each by its name."""
    name, text = _name(path), start.lstrip().lower()
    if not start:
        raise WeightsError(f"{name} is empty.", "Download it again.")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        hint = "Accept the model's licence on its page, sign in with `hf auth login`, and download the file again."
        raise WeightsError(f"{name} is a web page that was saved under the name of a model.", hint)
    if text.startswith(b"version https://git-lfs"):
        hint = "Run `git lfs pull` in its folder, or download the file itself."
        raise WeightsError(f"{name} is only a pointer of Git LFS, not the model.", hint)
    if start.startswith(b"GGUF"):
        hint = "Give the fp16, bf16 or fp8 .safetensors file of the same model."
        raise WeightsError(f"{name} is a GGUF file, which cannot be trained on.", hint)
    if len(start) < 8:
        raise _incomplete(path, len(start), 8)


def _incomplete(path: str, there: int, whole: int) -> WeightsError:
    unit, divisor = ("GB", GB) if whole >= 0.1 * GB else ("bytes", 1)
    amounts = f"{there / divisor:,.1f} of {whole / divisor:,.1f}" if divisor > 1 else f"{there:,} of {whole:,}"
    return WeightsError(f"{_name(path)} is incomplete: {amounts} {unit} are there.", AGAIN)


def _parse(path: str, text: bytes, offset: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    try:
        entries = json.loads(text)
        metadata = {str(key): str(value) for key, value in (entries.pop("__metadata__", None) or {}).items()}
        tensors = {name: _tensor(entry, offset) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f"{_name(path)} is damaged: its list of tensors cannot be read.", AGAIN) from error
    return tensors, metadata


def _tensor(entry: dict, offset: int) -> TensorInfo:
    begin, end = entry["data_offsets"]
    shape = tuple(int(side) for side in entry["shape"])
    if (
        end < begin
        or begin < 0
        or (entry["dtype"] in BYTES and end - begin != math.prod(shape) * BYTES[entry["dtype"]])
    ):
        raise ValueError("offsets and shape disagree")
    return TensorInfo(str(entry["dtype"]), shape, offset + begin, offset + end)


def _name(path: str) -> str:
    return os.path.basename(path)


def read_numbers(header: Header, name: str) -> list[float]:
    """The numbers of a small tensor, row by row, without torch. Raises KeyError for one that is not there."""
    info = header.tensors[name]
    with open(header.path, "rb") as file:
        file.seek(info.begin)
        data = file.read(info.end - info.begin)
    count = math.prod(info.shape)
    if info.dtype == "BF16":  # the upper half of an fp32 number
        return [struct.unpack("<f", b"\0\0" + data[2 * i : 2 * i + 2])[0] for i in range(count)]
    code = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i"}[info.dtype]
    return [float(number) for number in struct.unpack(f"<{count}{code}", data)]
