"""The data sets of a run: where their pictures lie, and how each is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainers import paths
from trainers.config import Crop, Data
from trainers.errors import ConfigError

Code = Literal["missing_folder", "not_a_folder", "not_readable", "bad_zip", "bad_backend"]
Aspect = Literal["buckets", "square", "area"]


class SourceError(ConfigError):
    """A data set that cannot be opened. code: what is wrong, for findings and their translations."""

    def __init__(self, code: Code, field: str, message: str, hint: str = "") -> None:
        super().__init__(field, message, hint)
        self.code = code


@dataclass(frozen=True, slots=True)
class Source:
    """One folder of pictures and how it is trained.

    name: for people, unique in a run; repeats: visits per epoch, times those of a concept folder; weight: how much
    more often than others it is drawn; resolutions: sides of a square, the first one first; loss_weight: of
    regularisation sets with `data.prior_weight` in it. prompt: stands in for a missing caption; only_prompt: is every
    caption; prepend_prompt: stands in front of every caption; filename_captions: captions are the files' names.
    """

    folder: Path
    name: str
    repeats: int
    weight: float
    resolutions: tuple[int, ...]
    crop: Crop
    flip: bool
    aspect: Aspect
    regularisation: bool = False
    loss_weight: float = 1.0
    prompt: str = ""
    only_prompt: bool = False
    prepend_prompt: bool = False
    filename_captions: bool = False


def sources(data: Data) -> tuple[Source, ...]:
    """The data sets of `data.folder` and `data.sets`, in this order; needs a resolved config. Raises SourceError."""
    folder = paths.locate(data.folder)
    return (Source(folder, folder.name, data.repeats, 1.0, data.resolutions, data.crop, data.flip, data.aspect),)
