"""Key points of whole bodies by RTMW with rtmlib, after a detector that was trained on drawn people too (HumanArt)."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainers.errors import AtelierError
from trainers.preferences.rewards.anatomy import Anatomy
from trainers.preferences.rewards.anatomy_parts import Calibration, Found
from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.loading import AGAIN

# peaks of SimCC are no probabilities: RTMW was trained to about 10, DWPose to about 1
RTMW = Calibration(body=3.5, hands=4.0, feet=3.0, face=3.5, width=0.7)
DWPOSE = Calibration(body=0.35, hands=0.4, feet=0.3, face=0.35, width=0.07)


def load(files: Files, runtime: Runtime, version: str) -> Anatomy:
    """See `base.Load`."""
    calibration = RTMW if "rtmw" in files["pose"].name.lower() else DWPOSE
    return Anatomy("anatomy", Rtmlib(files["detector"], files["pose"], runtime), calibration, version)


class Rtmlib:
    """detector, pose: graphs (.onnx), or archives as they are published, with a graph in them."""

    def __init__(self, detector: Path, pose: Path, runtime: Runtime) -> None:
        from rtmlib import YOLOX, RTMPose  # type: ignore[import-not-found]

        device = runtime.device if runtime.device.startswith("cuda") else "cpu"
        self._detector = _opened(YOLOX, detector, device)
        self._pose = _opened(RTMPose, pose, device)
        side = _sides(self._pose)
        self._pose.model_input_size = (side[1], side[0])
        self._detector.model_input_size = _sides(self._detector)

    def __call__(self, image: Image.Image) -> Found:
        pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])  # blue first, as OpenCV has it
        with _memory_told():
            boxes = np.asarray(self._detector(pixels)).reshape(-1, 4)
            if not len(boxes):  # without boxes RTMPose would take the whole picture for a person
                return np.zeros((0, 133, 2)), np.zeros((0, 133))
            points, scores = self._pose(pixels, bboxes=boxes)
        if points.shape[1] != 133:
            raise AtelierError(f"The pose model tells {points.shape[1]} points, not 133.", AGAIN)
        return points, scores


def _opened(kind: Any, file: Path, device: str) -> Any:
    with graph_in(file) as graph, contextlib.redirect_stdout(io.StringIO()):
        try:
            return kind(str(graph), backend="onnxruntime", device=device)
        except Exception as error:
            if not _is_of_onnxruntime(error):
                raise
            raise AtelierError(f"{file} cannot be opened: {str(error).partition(chr(10))[0]}", AGAIN) from error


def _sides(tool: Any) -> tuple[int, int]:
    """Height and width that a graph takes."""
    shape = tool.session.get_inputs()[0].shape
    if len(shape) == 4 and all(isinstance(side, int) for side in shape[2:]):
        return (shape[2], shape[3])
    raise AtelierError(f"The graph {tool.onnx_model} takes {shape}, not pictures of one size.", AGAIN)


@contextlib.contextmanager
def graph_in(file: Path) -> Iterator[Path]:
    """The graph, which lies in an archive for as long as this lasts only. Raises AtelierError."""
    if file.suffix != ".zip":
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="atelier-graph-") as folder:
        place = Path(folder, "graph.onnx")
        try:
            with zipfile.ZipFile(file) as archive:
                name = next(name for name in archive.namelist() if name.endswith(".onnx"))
                place.write_bytes(archive.read(name))
        except (zipfile.BadZipFile, StopIteration, OSError) as error:
            raise AtelierError(f"{file} holds no graph that can be read.", AGAIN) from error
        yield place


@contextlib.contextmanager
def _memory_told() -> Iterator[None]:
    """onnxruntime says in words that memory ran out; the caller tries a smaller batch for MemoryError."""
    try:
        yield
    except Exception as error:
        if _is_of_onnxruntime(error) and "allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def _is_of_onnxruntime(error: Exception) -> bool:
    """Its errors are classes of their own with no common base but Exception."""
    return type(error).__module__.startswith("onnxruntime")
