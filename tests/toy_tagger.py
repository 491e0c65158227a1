"""Taggers in their published layouts, whose graph tells the colours of a picture: of its mean, and of a corner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 16
COLUMNS = 6
OPSET = 17  # an older one, which every onnxruntime of the last years reads

# a line for each column: blue, green and red of the mean, then of the left upper corner
CSV = (
    "tag_id,name,category,count\n"
    "1,blue_theme,0,5\n"
    "2,hatsune_miku_(vocaloid),4,5\n"
    "3,general,9,5\n"
    "4,^_^,0,5\n"
    "5,explicit,9,5\n"
    '6,"red,_or_not",0,5\n'
)
MAPPING = {
    "0": {"tag": "blue_theme", "category": "General"},
    "1": {"tag": "hatsune_miku_(vocaloid)", "category": "Character"},
    "2": {"tag": "general", "category": "Rating"},
    "3": {"tag": "vocaloid", "category": "Copyright"},
    "4": {"tag": "highres", "category": "Meta"},
    "5": {"tag": "some_artist", "category": "Artist"},
}


def wd_folder(folder: Path, *, batch: int | str = "N", csv: str = CSV, half: bool = False) -> Path:
    """model.onnx takes [N, H, W, 3] from 0 to 255 and tells probabilities."""
    folder.mkdir(parents=True, exist_ok=True)
    number = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    _save(folder / "model.onnx", (batch, SIZE, SIZE, 3), (1, 2), scale=1 / 255, number=number)
    (folder / "selected_tags.csv").write_text(csv, encoding="utf-8")
    return folder


def cl_folder(folder: Path, *, mapping: object = MAPPING, size: int | str = SIZE) -> Path:
    """The graph takes [N, 3, H, W] from -1 to 1 and tells logits: 4 times the colours."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "model_optimized.onnx", ("N", 3, size, size), (2, 3), scale=4)
    (folder / "tag_mapping.json").write_text(json.dumps(mapping), encoding="utf-8")
    return folder


def _save(
    path: Path, shape: Sequence[int | str], sides: tuple[int, int], scale: float, number: int = TensorProto.FLOAT
) -> None:
    kind = np.float16 if number == TensorProto.FLOAT16 else np.float32
    starts, ends, axes = np.array([0, 0]), np.array([1, 1]), np.array(sides)
    constants = {"starts": starts, "ends": ends, "axes": axes, "scale": np.array(scale, kind)}
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=list(sides), keepdims=0),
        helper.make_node("Slice", ["picture", "starts", "ends", "axes"], ["part"]),
        helper.make_node("Squeeze", ["part", "axes"], ["corner"]),
        helper.make_node("Concat", ["mean", "corner"], ["colours"], axis=1),
        helper.make_node("Mul", ["colours", "scale"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("picture", number, shape)],
        [helper.make_tensor_value_info("answer", number, [shape[0], COLUMNS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
