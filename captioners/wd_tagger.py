"""WD taggers and CL taggers: Danbooru tags by an ONNX graph, with onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioners.base import Request, Result, Runtime, StopAskedError
from captioners.config import CaptionConfig
from captioners.packages import ONNXRUNTIME, remedy
from captioners.tag_lists import AGAIN, TagList, read_tags
from captioners.tags import choose
from trainers.errors import AtelierError, MissingPackageError

log = logging.getLogger(__name__)

GRAPHS = ("model.onnx", "model_optimized.onnx")
USUAL_SIZE = 448  # of graphs that take any size
NUMBERS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
Array = NDArray[Any]


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> WdTagger:
    """source: folder with the graph and the list of its tags."""
    tags = read_tags(source)
    session = open_session(_graph(source), runtime, int(config.run.threads))
    return WdTagger(session, tags, config, runtime.stop_asked)


class WdTagger:
    """A graph that tells the probability of each tag."""

    def __init__(self, session: Any, tags: TagList, config: CaptionConfig, stop_asked: Callable[[], bool]) -> None:
        self._session, self._tags, self._options, self._stop_asked = session, tags, config.tags, stop_asked
        self._separator = config.policy.separator
        self._input = GraphInput.of(session)
        columns = session.get_outputs()[0].shape[-1]
        if isinstance(columns, int):
            tags.check(columns)

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        return [self._result(row) for row in self.probabilities([request.image for request in requests])]

    def probabilities(self, images: Sequence[Image.Image]) -> list[Array]:
        """Of each picture, those of all columns. A graph of a fixed batch gets its pictures in portions of that."""
        portion = self._input.batch or max(1, len(images))
        rows: list[Array] = []
        for start in range(0, len(images), portion):
            if self._stop_asked():
                raise StopAskedError
            inputs = [self._prepare(image) for image in images[start : start + portion]]
            filled = inputs + inputs[-1:] * ((self._input.batch or 0) - len(inputs))
            rows += list(self._run(np.stack(filled))[: len(inputs)])
        return rows

    def _prepare(self, image: Image.Image) -> Array:
        """[H, W, 3] or [3, H, W] in the order BGR, 0 to 255; of CL taggers -1 to 1."""
        pixels = np.asarray(square(image, self._input.size), np.float32)[:, :, ::-1]
        if self._tags.of_cl:
            pixels = pixels / 127.5 - 1
        if self._input.channels_first:
            pixels = pixels.transpose(2, 0, 1)
        return pixels.astype(self._input.number)

    def _run(self, batch: Array) -> Array:
        """[B, N]."""
        try:
            (answer,) = self._session.run([self._session.get_outputs()[0].name], {self._input.name: batch})
        except Exception as error:
            # the caller tries a smaller batch then
            if _is_of_onnxruntime(error) and "allocate memory" in str(error):
                raise MemoryError(str(error)) from error
            raise
        self._tags.check(answer.shape[-1])
        probabilities: Array = answer.astype(np.float32)
        # graphs of CL taggers end before the sigmoid
        return 1 / (1 + np.exp(-probabilities.clip(-30, 30))) if self._tags.of_cl else probabilities

    def _result(self, row: Array) -> Result:
        if not np.isfinite(row).all():
            return Result("", "empty", "the model's probabilities are not numbers")
        tags = choose(self._tags.tags, row.tolist(), self._options)
        if not tags:
            return Result("", "empty", "no tag is likelier than the thresholds")
        return Result(self._separator.join(tags), tags=tags)


@dataclass(frozen=True)
class GraphInput:
    """What the graph takes. size: side in pixels; batch: None where any number of pictures will do."""

    name: str
    size: int
    batch: int | None
    channels_first: bool
    number: Any

    @classmethod
    def of(cls, session: Any) -> GraphInput:
        """Raises AtelierError for a graph that takes no pictures."""
        (first, *others), outputs = session.get_inputs(), session.get_outputs()
        shape = first.shape
        if others or len(shape) != 4 or 3 not in (shape[1], shape[3]) or first.type not in NUMBERS:
            raise AtelierError(f"The graph is no tagger: it takes {shape} of {first.type}.", "Choose another folder.")
        if len(outputs[0].shape) != 2:
            raise AtelierError(f"The graph is no tagger: it tells {outputs[0].shape}.", "Choose another folder.")
        channels_first = shape[1] == 3
        height, width = shape[2:] if channels_first else shape[1:3]
        if height != width and isinstance(height, int) and isinstance(width, int):
            raise AtelierError(f"The graph takes pictures of {width}x{height}, not squares.", "Choose another folder.")
        size = next((side for side in (height, width) if isinstance(side, int)), USUAL_SIZE)
        batch = shape[0] if isinstance(shape[0], int) else None
        return cls(first.name, size, batch, channels_first, NUMBERS[first.type])


def square(image: Image.Image, size: int) -> Image.Image:
    """The picture in the middle of a white square, at the size of the graph: as the taggers were trained."""
    side = max(image.size)
    canvas = Image.new("RGB", (side, side), "white")
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas if side == size else canvas.resize((size, size), Image.Resampling.BICUBIC)


def _graph(source: Path) -> Path:
    for name in GRAPHS:
        if (source / name).is_file():
            return source / name
    raise AtelierError(f"{source} has no {GRAPHS[0]}.", "Choose the folder of a tagger, or download it again.")


def open_session(graph: Path, runtime: Runtime, threads: int) -> Any:
    """The graph on the device that was asked for. Raises MissingPackageError, AtelierError."""
    if runtime.device.type == "cuda":
        # its libraries of CUDA are then in memory, where onnxruntime finds them
        import torch  # noqa: F401
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("Taggers need the package onnxruntime.", remedy(ONNXRUNTIME)) from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; warnings of every graph are about its constants
    wanted = _providers(onnxruntime, runtime)
    try:
        session = onnxruntime.InferenceSession(str(graph), sess_options=options, providers=wanted)
    except Exception as error:
        if not _is_of_onnxruntime(error):
            raise
        raise AtelierError(f"{graph} cannot be opened: {_first_line(error)}", AGAIN) from error
    if runtime.device.type == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        log.warning(
            "The tagger runs on the processor: onnxruntime finds no CUDA. The package onnxruntime-gpu and its versions "
            "of CUDA and cuDNN must fit; requirements-tagger.txt says how to install it."
        )
    return session


def _providers(onnxruntime: Any, runtime: Runtime) -> list[Any]:
    if runtime.device.type != "cuda" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    return [("CUDAExecutionProvider", {"device_id": runtime.device.index or 0}), "CPUExecutionProvider"]


def _is_of_onnxruntime(error: Exception) -> bool:
    """Its errors are classes of their own with no common base but Exception."""
    return type(error).__module__.startswith("onnxruntime")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") + "."
