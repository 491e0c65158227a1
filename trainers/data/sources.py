"""The data sets of a run: where their pictures lie, and how each is trained."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from trainers import paths
from trainers.config import Crop, Data, DataSet
from trainers.data.simpletuner import BACKEND_FILE, Backend, read_backends
from trainers.data.zips import unpacked
from trainers.errors import ConfigError, DataError
from trainers.plan import resolutions

Code = Literal["missing_folder", "not_a_folder", "not_readable", "bad_zip", "bad_backend"]
Aspect = Literal["buckets", "square", "area"]


class SourceError(ConfigError):
    """A data set that cannot be opened. code: what is wrong, for findings and their translations.

    others: what is wrong with further data sets of the run.
    """

    def __init__(self, code: Code, field: str, message: str, hint: str = "") -> None:
        super().__init__(field, message, hint)
        self.code = code
        self.others: tuple[SourceError, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """One folder of pictures and how it is trained.

    name: for people, unique in a run; repeats: visits per epoch, times those of a concept folder; weight: how much
    more often than others it is drawn; resolutions: sides of a square, the first one first; loss_weight: of
    regularisation sets with `data.prior_weight` in it. prompt: stands in for a missing caption; only_prompt: is every
    caption; prepend_prompt: stands in front of every caption; filename_captions: captions are the files' names.
    unused: settings of a SimpleTuner file that have no counterpart here.
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
    unused: tuple[str, ...] = ()


def sources(data: Data) -> tuple[Source, ...]:
    """The data sets of `data.folder` and `data.sets`, in this order; needs a resolved config.

    Zips are unpacked into the cache folder, which may take minutes. Raises the first SourceError; it holds the others.
    """
    found, errors = gather(data)
    if errors:
        first, *others = errors
        first.others = tuple(others)
        raise first
    return tuple(found)


def gather(data: Data) -> tuple[list[Source], list[SourceError]]:
    """The data sets that can be opened, and why the others cannot."""
    found: list[Source] = []
    errors: list[SourceError] = []
    for field, one in _sets(data):
        try:
            for source in _opened(field, one, data):
                found.append(replace(source, name=_free_name(source.name, found)))
        except SourceError as error:
            errors.append(error)
    if not found and not errors:
        message, hint = "no picture folder is given.", "Set data.folder to a folder with pictures."
        errors.append(SourceError("missing_folder", "data.folder", message, hint))
    return found, errors


def _sets(data: Data) -> Iterator[tuple[str, DataSet]]:
    """All sets with their fields; the folder of the section itself is one that leaves everything out."""
    if data.folder:
        yield "data.folder", DataSet(folder=data.folder)
    for one in data.sets:
        yield "data.sets", one


def _free_name(name: str, found: list[Source]) -> str:
    taken = {source.name for source in found}
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _opened(field: str, one: DataSet, data: Data) -> Iterator[Source]:
    path = paths.locate(one.folder)
    ending = path.suffix.lower() if os.path.isfile(path) else ""
    if ending == ".json":
        yield from _backends(field, path, one, data)
        return
    folder = _unzipped(field, path, data) if ending == ".zip" else path
    _check(field, folder)
    if (folder / BACKEND_FILE).is_file():
        yield from _backends(field, folder / BACKEND_FILE, one, data)
    else:
        yield _source(folder, path.stem if ending else path.name, one, data)


def _unzipped(field: str, path: Path, data: Data) -> Path:
    try:
        return unpacked(path, Path(data.cache_dir) / "zips")
    except DataError as error:
        raise SourceError("bad_zip", field, error.message, error.hint) from error


def _check(field: str, folder: Path) -> None:
    """Raises SourceError unless the folder can be listed."""
    # os.path and not pathlib: a typed path may be too long for the system, and pathlib raises then
    if not os.path.exists(folder):
        hint = "Check the spelling, or that the drive is connected."
        raise SourceError("missing_folder", field, f"there is no folder {folder}.", hint)
    if not os.path.isdir(folder):
        hint = f"Give the folder that holds it: {folder.parent}"
        raise SourceError("not_a_folder", field, f"{folder} is a file.", hint)
    if not os.access(folder, os.R_OK | os.X_OK):
        hint = "Change its permissions, or choose another folder."
        raise SourceError("not_readable", field, f"{folder} may not be read.", hint)


def _source(folder: Path, name: str, one: DataSet, data: Data) -> Source:
    """What a set leaves out is as in the section."""
    return Source(
        folder=folder,
        name=name,
        repeats=one.repeats or data.repeats,
        weight=one.weight,
        resolutions=one.resolution or resolutions(data),
        crop=one.crop or data.crop,
        flip=data.flip if one.flip is None else one.flip,
        aspect=data.aspect,
        regularisation=one.regularisation,
        loss_weight=one.loss_weight * (data.prior_weight if one.regularisation else 1.0),
        prompt=one.prompt,
    )


def _backends(field: str, file: Path, one: DataSet, data: Data) -> Iterator[Source]:
    """The data sets of a SimpleTuner file; what the file does not say is as in the set."""
    try:
        found = read_backends(file, step=int(data.bucket_step))
    except OSError as error:
        message = f"{file} cannot be read: {(error.strerror or str(error)).lower()}."
        raise SourceError("not_readable", field, message, "Change its permissions, or choose another file.") from error
    except DataError as error:
        raise SourceError("bad_backend", field, error.message, error.hint) from error
    for backend in found:
        _check(field, backend.folder)
        yield _source_of(backend, one, data)


def _source_of(backend: Backend, one: DataSet, data: Data) -> Source:
    is_regularisation = one.regularisation or backend.is_regularisation
    plain = _source(backend.folder, backend.id, one.model_copy(update={"regularisation": is_regularisation}), data)
    return replace(
        plain,
        repeats=plain.repeats * backend.visits,
        weight=plain.weight * backend.probability,
        resolutions=(backend.resolution,) if backend.resolution else plain.resolutions,
        crop=backend.crop or plain.crop,
        aspect=backend.aspect or plain.aspect,
        prompt=backend.prompt or plain.prompt,
        only_prompt=backend.only_prompt,
        prepend_prompt=backend.prepend_prompt,
        filename_captions=backend.filename_captions,
        unused=backend.unused,
    )
