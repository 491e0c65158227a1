"""SimpleTuner's multidatabackend.json: several local folders, each with settings of its own.

Keys as in SimpleTuner's documentation/DATALOADER.md. Its cache folders and suffixes are not read: pictures are cached
under their content here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainers.config import Crop
from trainers.data.text import TextError, read_text
from trainers.errors import DataError

BACKEND_FILE = "multidatabackend.json"
NOT_TRAINED = frozenset({"text_embeds", "image_embeds", "conditioning_image_embeds", "eval"})
TRAINED = frozenset({"image", "video"})
CROPS: dict[str, Crop] = {
    "center": "centre",
    "centre": "centre",
    "corner": "centre",
    "random": "random",
    "face": "detail",
}
ASPECTS = frozenset({"square", "preserve", "closest", "random"})
CAPTIONS = frozenset({"textfile", "filename", "instanceprompt"})
SIDE_STEP = 64  # px; megapixels are rounded to it, so that 1.05 are 1024 x 1024
MEGAPIXELS_BELOW = 16  # a resolution below it cannot be pixels
# settings that choose pictures or captions and have no counterpart here
WITHOUT_COUNTERPART = (
    "minimum_image_size",
    "minimum_aspect_ratio",
    "maximum_aspect_ratio",
    "max_num_samples",
    "start_epoch",
    "start_step",
    "end_epoch",
    "end_step",
    "caption_shuffle",
    "disable_multiline_split",
    "conditioning_data",
    "conditioning",
    "slider_strength",
    "timestep_sampling_offset",
)


@dataclass(frozen=True, slots=True)
class Backend:
    """One data set of the file. None: the file does not say.

    visits: per epoch; probability: how much more often than others it is drawn; resolution: side of a square, in
    pixels; aspect: "square" or "buckets"; unused: settings of the file without a counterpart here.
    """

    id: str
    folder: Path
    visits: int
    probability: float
    resolution: int | None
    crop: Crop | None
    aspect: Literal["square", "buckets"] | None
    is_regularisation: bool
    prompt: str
    only_prompt: bool
    prepend_prompt: bool
    filename_captions: bool
    unused: tuple[str, ...]


def read_backends(path: Path, step: int) -> tuple[Backend, ...]:
    """The data sets of a multidatabackend.json that are trained on.

    step: sides become multiples of it. Raises DataError that names the entry, OSError.
    """
    try:
        content = json.loads(read_text(path, "it"))
    except TextError as error:
        raise DataError(f"{path.name} cannot be read: {error.reason}.", "Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is not JSON: {error}.", "Check its commas and brackets.") from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise DataError(f"{path.name} is not a list of data sets.", "SimpleTuner's file begins with [ and {.")
    found = tuple(_Reader(entry, path, step).backend() for entry in content if _is_trained(entry))
    if not found:
        raise DataError(f"{path.name} names no data set of pictures.", 'One needs "type": "local" and no "disabled".')
    return found


def _is_trained(entry: dict[str, Any]) -> bool:
    is_off = entry.get("disabled") or entry.get("disable")
    return not is_off and entry.get("dataset_type", "image") not in NOT_TRAINED


class _Reader:
    """Reads one entry; each fault names its id and its key."""

    def __init__(self, entry: dict[str, Any], path: Path, step: int) -> None:
        self._entry, self._path, self._step = entry, path, step
        self._id = str(entry.get("id") or "without id")

    def backend(self) -> Backend:
        self._check_kind()
        strategy = self._choice("caption_strategy", CAPTIONS) or "textfile"
        prompt = self._text("instance_prompt")
        only = strategy == "instanceprompt" or self._flag("only_instance_prompt")
        if only and not prompt:
            raise self._fault("has no instance_prompt, which its captions should be", "Give one.")
        return Backend(
            self._id,
            self._folder(),
            int(self._number("repeats", 0, lambda value: value >= 0 and value == int(value))) + 1,
            self._number("probability", 1.0, lambda value: 0 < value <= 1000),
            self._side(),
            CROPS[style] if (style := self._choice("crop_style", CROPS)) else None,
            self._aspect(),
            self._flag("is_regularisation_data") or self._flag("is_regularization_data"),
            prompt,
            only,
            self._flag("prepend_instance_prompt"),
            strategy == "filename",
            tuple(key for key in WITHOUT_COUNTERPART if self._entry.get(key)),
        )

    def _fault(self, what: str, hint: str) -> DataError:
        return DataError(f"{self._path.name}: data set {self._id!r} {what}.", hint)

    def _check_kind(self) -> None:
        kind = self._entry.get("type", "local")
        trained = "conditioning" if self._entry.get("conditioning_type") else self._entry.get("dataset_type", "image")
        if kind != "local":
            hint = 'Copy its files into a folder and set "type": "local", or set "disabled": true.'
            raise self._fault(f"is of type {kind!r}; only local folders are read", hint)
        if trained not in TRAINED:
            raise self._fault(f"has dataset_type {trained!r}, which is not trained here", 'Set "disabled": true.')

    def _folder(self) -> Path:
        """Relative to the file, else to the working folder."""
        given = self._text("instance_data_dir")
        if not given:
            raise self._fault("has no instance_data_dir", "Give the folder of its pictures.")
        folder = Path(given).expanduser()
        beside = self._path.absolute().parent / folder
        return beside if beside.exists() or not folder.exists() else folder.absolute()

    def _side(self) -> int | None:
        if "resolution" not in self._entry:
            return None
        size = self._number("resolution", 0, lambda value: value > 0)
        kind = self._choice("resolution_type", {"pixel", "area", "pixel_area"})
        if kind == "area" or size < MEGAPIXELS_BELOW:
            step = SIDE_STEP if SIDE_STEP % self._step == 0 else self._step
            return max(step, round(math.sqrt(size * 1e6) / step) * step)
        return max(self._step, round(size / self._step) * self._step)

    def _aspect(self) -> Literal["square", "buckets"] | None:
        """Square only where both crop and crop_aspect say so: a set that is not cropped keeps its shapes."""
        aspect = self._choice("crop_aspect", ASPECTS)
        if "crop" not in self._entry and aspect is None:
            return None
        return "square" if self._flag("crop", default=True) and aspect in (None, "square") else "buckets"

    def _choice(self, key: str, known: Any) -> str | None:
        value = self._entry.get(key)
        if value is not None and not (isinstance(value, str) and value in known):
            raise self._fault(
                f"has {key} {value!r}, which is not known here", f"Use one of {', '.join(sorted(known))}."
            )
        return value

    def _text(self, key: str) -> str:
        value = self._entry.get(key) or ""
        if not isinstance(value, str):
            raise self._fault(f"has {key} {value!r}, which is no text", "Put it into quotes.")
        return value.strip()

    def _flag(self, key: str, default: bool = False) -> bool:
        value = self._entry.get(key, default)
        if not isinstance(value, bool):
            raise self._fault(f"has {key} {value!r}", "Use true or false.")
        return value

    def _number(self, key: str, default: float, is_right: Callable[[float], bool]) -> float:
        value = self._entry.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._fault(f"has {key} {value!r}", "Give a number, without quotes.")
        if not is_right(value):
            raise self._fault(f"has {key} {value!r}", "Give a number that makes sense there.")
        return value
