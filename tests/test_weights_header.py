"""A model file is known by its header alone; what is no whole model file is told in one sentence with a remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainers.weights.header import WeightsError, read_header, read_numbers

WHOLE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}


def whole(folder: Path) -> Path:
    save_file(WHOLE, folder / "model.safetensors", {"note": "a b c"})
    return folder / "model.safetensors"


def with_header(folder: Path, text: bytes, length: int | None = None) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text)
    return path


def test_header_has_names_shapes_and_places(tmp_path: Path) -> None:
    header = read_header(whole(tmp_path))
    assert {name: (info.dtype, info.shape) for name, info in header.tensors.items()} == {
        "a.weight": ("F32", (2, 3)),
        "b": ("BF16", (4,)),
    }
    assert header.metadata == {"note": "a b c"} and header.shape("a.weight") == (2, 3) and header.shape("c") == ()
    assert max(info.end for info in header.tensors.values()) == header.size == Path(header.path).stat().st_size


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_small_tensors_are_read_without_torch(dtype: torch.dtype, tmp_path: Path) -> None:
    numbers = torch.tensor([[1, -2.5, 16], [0, 8, 0.125]]).to(dtype)
    save_file({"first": torch.ones(3), "x.alpha": numbers, "one": numbers[0, 2].clone()}, tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    assert read_numbers(header, "x.alpha") == numbers.flatten().tolist()
    assert read_numbers(header, "one") == [16.0]


def test_header_of_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = whole(tmp_path)
    first = read_header(path)
    assert read_header(path) is first
    save_file({"other": torch.ones(5)}, path)
    assert list(read_header(path).tensors) == ["other"]


def cut(folder: Path) -> Path:
    path = whole(folder)
    path.write_bytes(path.read_bytes()[:-10])
    return path


def cut_in_header(folder: Path) -> Path:
    path = whole(folder)
    path.write_bytes(path.read_bytes()[:40])
    return path


def holding(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "model.safetensors").write_bytes(data)
        return folder / "model.safetensors"

    return make


OVERLAPPING = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}).encode()
BAD = {
    "cut": (cut, r"model\.safetensors is incomplete: \d+ of \d+ bytes are there\.", "goes on where it stopped"),
    "cut in the header": (cut_in_header, "is incomplete: 40 of", "Download it again"),
    "a few bytes": (holding(b"\x10\0\0"), "is incomplete: 3 of 8 bytes", "Download it again"),
    "empty": (holding(b""), "is empty", "Download it again"),
    "a web page": (holding(b"\n<!DOCTYPE html><html>"), "is a web page", "Accept the model's licence"),
    "a Git LFS pointer": (
        holding(b"version https://git-lfs.github.com/spec/v1\n"),
        "pointer of Git LFS",
        "git lfs pull",
    ),
    "GGUF": (holding(b"GGUF\x03\0\0\0\0\0\0\0"), "is a GGUF file", "fp16, bf16 or fp8"),
    "noise": (holding(bytes(range(7, 250))), "its beginning makes no sense", r"\.safetensors"),
    "text": (holding(b"just a note, and no model at all"), "its beginning makes no sense", r"\.safetensors"),
    "half a list": (lambda folder: with_header(folder, b'{"a": {"dtype"'), "its list of tensors", "Download it again"),
    "no list": (lambda folder: with_header(folder, b'{"a": 3}'), "its list of tensors", "Download it again"),
    "lying": (lambda folder: with_header(folder, OVERLAPPING), "its list of tensors", "Download it again"),
    "a folder": (lambda folder: folder, "is a folder", "within it"),
    "gone": (lambda folder: folder / "gone.safetensors", "is not there", "drive"),
    "a broken pickle": (holding(b"\x80\x02garbage"), "is a pickle that cannot be read", "Convert it"),
    "a broken archive": (holding(b"PK\x03\x04garbage"), "is a pickle that cannot be read", "Convert it"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_whole_model_file_is_told_with_a_remedy(name: str, tmp_path: Path) -> None:
    make, message, hint = BAD[name]
    with pytest.raises(WeightsError, match=message) as caught:
        read_header(make(tmp_path))
    assert re.search(hint, caught.value.hint)


def test_sizes_of_large_files_are_said_in_gigabytes(tmp_path: Path) -> None:
    entry = {"a": {"dtype": "F16", "shape": [3_450_000_000], "data_offsets": [0, 6_900_000_000]}}
    path = with_header(tmp_path, json.dumps(entry).encode())
    with path.open("r+b") as file:
        file.truncate(3_100_000_000)  # a hole: it takes no room
    with pytest.raises(WeightsError, match=r"incomplete: 3\.1 of 6\.9 GB are there\."):
        read_header(path)


def test_pickle_gives_names_and_shapes_without_being_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2, 3).half()}, "epoch": 4}, tmp_path / "model.ckpt")
    header = read_header(tmp_path / "model.ckpt")
    assert header.format == "pickle"
    assert {name: (info.dtype, info.shape) for name, info in header.tensors.items()} == {"a": ("F16", (2, 3))}
