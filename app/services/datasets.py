"""Pictures that a person drops on the page: copied, with captions and tables, into a folder of the data folder."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from app.services import format
from app.services.copying import Added, Copy, Entry, entered
from trainers import paths
from trainers.data.decode import PICTURE_ENDINGS
from trainers.data.tables import may_be_table
from trainers.data.walk import walk
from trainers.data.zips import ZIP_ERRORS, is_clutter, members
from trainers.errors import DataError

MAX_FILES = 10_000  # of one drop, those inside zips counted one by one
MAX_BYTES = 8 * 2**30
SPARE_BYTES = 200 * 2**20
MAX_DEPTH = 8  # folders inside folders
MAX_STEM = 230  # bytes; file systems take 255, and a number and an ending may be added
MAX_TABLE_BYTES = 64 * 2**20
COUNTED_NAME = "pictures"

UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f]')
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)  # names that Windows keeps for itself

_adding = threading.Lock()  # two drops at once would choose the same names


@dataclass(frozen=True)
class Dropped:
    """A file as the browser sent it. place: folder that it lay in, as in "/dogs/10_dog"; "" for a file by itself."""

    file: Path
    place: str = ""


def add(
    dropped: Sequence[Dropped], datasets: Path, chosen: str, caption_endings: str, *, into: Path | None = None
) -> Added:
    """Copy pictures, captions, tables, and what zips hold of them, into a folder below `datasets`; all or none.

    They join the folder `chosen` if it lies directly below `datasets`, else they get a new one, named after the first
    zip or "pictures-1", "pictures-2" ... into: a folder anywhere, which takes them whatever `chosen` says.
    Folders inside a zip or a dropped folder stay, so that 10_dog keeps its meaning; one that holds all the rest is
    entered. Nothing is overwritten: a picture whose name is taken gets a number, and its caption with it, unless a
    table lists it. The dropped files are gone afterwards. caption_endings: as in ".txt,.caption". Raises DataError
    with the remedy.
    """
    try:
        with contextlib.ExitStack() as zips, _adding:
            endings = frozenset(caption_endings.lower().split(","))
            entries, left_out = _sorted_out(_entries(dropped, zips), endings)
            _check(entries, left_out, into or datasets)
            folder = into or _target(dropped, datasets, chosen)
            if not any(entry.ending in PICTURE_ENDINGS for entry in entries) and not _has_pictures(folder):
                raise DataError("There are captions, but no pictures.", "Drop the pictures with them.")
            return Copy(folder, caption_endings).all(entered(entries), left_out)
    except ZIP_ERRORS as error:
        raise DataError(f"The zip cannot be read: {error}.", "Pack it again, or drop its pictures.") from error
    except OSError as error:
        message = f"The pictures could not be copied: {error.strerror or error}."
        raise DataError(message, "Nothing was added. Try again, or give the path of their folder.") from error
    finally:
        for one in dropped:
            one.file.unlink(missing_ok=True)


def _entries(dropped: Sequence[Dropped], zips: contextlib.ExitStack) -> Iterator[Entry | str]:
    """Every file, and the name of each that may not be used. Clutter of operating systems is passed over."""
    for one in dropped:
        if one.file.suffix.lower() == ".zip":
            yield from _zip_entries(zips.enter_context(zipfile.ZipFile(one.file)), one.file.name)
        elif not is_clutter(PurePosixPath(one.file.name)):
            path = one.file
            place = PurePosixPath(one.place.lstrip("/"), path.name)
            yield _entry(place, path.stat().st_size, _opener(path))


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _zip_entries(archive: zipfile.ZipFile, name: str) -> Iterator[Entry | str]:
    for member in members(archive, name):
        if member.is_safe:
            yield _entry(member.place, member.info.file_size, partial(archive.open, member.info), source=name)
        else:
            yield member.place.name


def _entry(place: PurePosixPath, length: int, opening: Callable[[], IO[bytes]], source: str = "") -> Entry | str:
    """place: of the file inside its source, from the page or a zip: no part of it may lead elsewhere."""
    *parts, name = place.parts
    if len(parts) > MAX_DEPTH or any(part.startswith(".") for part in place.parts):
        return name
    stem, ending = place.stem, place.suffix.lower()
    inner = PurePosixPath(stem).suffix
    if inner.lower() in PICTURE_ENDINGS and ending not in PICTURE_ENDINGS:  # a.png.txt stays with its a.png
        stem, ending = stem.removesuffix(inner), inner.lower() + ending
    return Entry(source, place, tuple(map(_safe_stem, parts)), _safe_stem(stem), ending, length, opening)


def _safe_stem(stem: str) -> str:
    """A name that every file system takes: letters of all scripts stay."""
    safe = UNSAFE.sub("_", stem).encode("utf-8", "replace")[:MAX_STEM].decode("utf-8", "ignore").strip(" .")
    return f"_{safe}" if not safe or DEVICES.match(safe) else safe


def _sorted_out(entries: Iterable[Entry | str], endings: frozenset[str]) -> tuple[list[Entry], list[str]]:
    used: list[Entry] = []
    left_out: list[str] = []
    for count, entry in enumerate(entries, start=1):
        if count > MAX_FILES:
            raise DataError(f"These are more than {MAX_FILES:,} files.", "Drop them in several portions.")
        if isinstance(entry, str):
            left_out.append(entry)
        elif entry.ending in PICTURE_ENDINGS or PurePosixPath(entry.name).suffix in endings:
            used.append(entry)
        elif may_be_table(entry.name) and entry.length <= MAX_TABLE_BYTES:
            used.append(replace(entry, is_table=True))
        else:
            left_out.append(entry.name)
    return used, left_out


def _has_pictures(folder: Path) -> bool:
    return folder.is_dir() and next(walk(folder, ""), None) is not None


def _check(entries: list[Entry], left_out: list[str], datasets: Path) -> None:
    """Raises DataError when there is nothing to copy, or too much."""
    if not entries:
        kinds = ", ".join(sorted(ending[1:] for ending in PICTURE_ENDINGS))
        found = f" but {left_out[0]}" if len(left_out) == 1 else f" among {len(left_out)} files" if left_out else ""
        raise DataError(f"There is no picture{found}.", f"Drop pictures ({kinds}) or a zip of them.")
    need = sum(entry.length for entry in entries)
    if need > MAX_BYTES:
        message = f"The pictures take {format.size(need)}; at most {format.size(MAX_BYTES)} can be dropped at once."
        raise DataError(message, "Drop them in several portions, or give the path of their folder.")
    datasets.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(datasets).free
    if need + SPARE_BYTES > free:
        message = f"The pictures take {format.size(need)}; {format.size(free)} are free."
        raise DataError(message, "Free some space, or give the path of their folder.")


def _target(dropped: Sequence[Dropped], datasets: Path, chosen: str) -> Path:
    """The chosen folder if it is one of ours, else a name that is free."""
    root = datasets.resolve()
    current = paths.absolute(chosen)
    if chosen and current.parent == root and current.is_dir():
        return current
    zips = (_safe_stem(one.file.stem) for one in dropped if one.file.suffix.lower() == ".zip")
    name = next(zips, "")
    names = (f"{name or COUNTED_NAME}-{number}" for number in itertools.count(2 if name else 1))
    return next(root / free for free in itertools.chain([name] if name else [], names) if not (root / free).exists())
