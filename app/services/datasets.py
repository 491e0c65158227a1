"""Pictures that a person drops on the page: copied, with their captions, into a folder of the data folder."""

from __future__ import annotations

import contextlib
import itertools
import lzma
import re
import shutil
import stat
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from app.services import format
from app.services.copying import Added, Copy, Entry, entered
from trainers import paths
from trainers.data.decode import PICTURE_ENDINGS
from trainers.errors import DataError

MAX_FILES = 10_000  # of one drop, those inside zips counted one by one
MAX_BYTES = 8 * 2**30
SPARE_BYTES = 200 * 2**20
MAX_DEPTH = 8  # folders inside folders
MAX_STEM = 100  # letters; file systems take 255 bytes, and a number may be added
COUNTED_NAME = "pictures"

CLUTTER = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)  # names that Windows keeps for itself
ZIP_IN_UTF8 = 0x800
ZIP_ENCRYPTED = 0x1
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, lzma.LZMAError)

_adding = threading.Lock()  # two drops at once would choose the same names


@dataclass(frozen=True)
class Dropped:
    """A file as the browser sent it. place: folder that it lay in, as in "/dogs/10_dog"; "" for a file by itself."""

    file: Path
    place: str = ""


def add(
    dropped: Sequence[Dropped], datasets: Path, chosen: str, caption_endings: str, *, into: Path | None = None
) -> Added:
    """Copy pictures and captions, and what zips hold of them, into a folder below `datasets`; all of them or none.

    They join the folder `chosen` if it lies directly below `datasets`, else they get a new one, named after the first
    zip or "pictures-1", "pictures-2" ... into: a folder anywhere, which takes them whatever `chosen` says.
    Folders inside a zip or a dropped folder stay, so that 10_dog keeps its meaning; one that holds all the rest is
    entered. Nothing is overwritten: a picture whose name is taken gets a number, and its caption with it. The dropped
    files are gone afterwards. caption_endings: as in ".txt,.caption". Raises DataError with the remedy.
    """
    try:
        with contextlib.ExitStack() as zips, _adding:
            endings = frozenset(caption_endings.lower().split(","))
            entries, left_out = _sorted_out(_entries(dropped, zips), endings)
            _check(entries, left_out, into or datasets)
            folder = into or _target(dropped, datasets, chosen)
            if not folder.exists() and not any(entry.ending in PICTURE_ENDINGS for entry in entries):
                raise DataError("There are captions, but no pictures.", "Drop the pictures with them.")
            return Copy(folder).all(entered(entries), left_out)
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
        elif not _is_clutter(PurePosixPath(one.file.name)):
            path = one.file
            yield _entry(PurePosixPath(one.place), path.name, path.stat().st_size, _opener(path))


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _zip_entries(archive: zipfile.ZipFile, name: str) -> Iterator[Entry | str]:
    for info in archive.infolist():
        path = PurePosixPath(_zip_name(info).replace("\\", "/"))
        if info.is_dir() or _is_clutter(path):
            continue
        if info.flag_bits & ZIP_ENCRYPTED:
            raise DataError(f"{name} is locked with a password.", "Unpack it yourself and drop the pictures.")
        # a link, or a name that leads elsewhere
        if stat.S_ISLNK(info.external_attr >> 16) or any(part.startswith(".") for part in path.parts):
            yield path.name
        else:
            yield _entry(path.parent, path.name, info.file_size, partial(archive.open, info), source=name)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """macOS writes UTF-8 without saying so, and zipfile then reads it as the old code page 437."""
    if info.flag_bits & ZIP_IN_UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _is_clutter(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name.lower() in CLUTTER or path.name.startswith("._")


def _entry(
    place: PurePosixPath, name: str, length: int, opening: Callable[[], IO[bytes]], source: str = ""
) -> Entry | str:
    """place: folder of the file inside its source, from the page or a zip: no part of it may lead elsewhere."""
    parts = [part for part in place.parts if part != "/"]
    if name.startswith(".") or len(parts) > MAX_DEPTH or any(part.startswith(".") for part in parts):
        return name
    stem, ending = _safe_stem(PurePosixPath(name).stem), PurePosixPath(name).suffix.lower()
    return Entry(source, tuple(map(_safe_stem, parts)), stem, ending, length, opening)


def _safe_stem(stem: str) -> str:
    """A name that every file system takes: letters of all scripts stay."""
    safe = UNSAFE.sub("_", stem)[:MAX_STEM].strip(" .")
    return f"_{safe}" if not safe or DEVICES.match(safe) else safe


def _sorted_out(entries: Iterable[Entry | str], endings: frozenset[str]) -> tuple[list[Entry], list[str]]:
    used: list[Entry] = []
    left_out: list[str] = []
    for count, entry in enumerate(entries, start=1):
        if count > MAX_FILES:
            raise DataError(f"These are more than {MAX_FILES:,} files.", "Drop them in several portions.")
        if isinstance(entry, str):
            left_out.append(entry)
        elif entry.ending in PICTURE_ENDINGS | endings:
            used.append(entry)
        else:
            left_out.append(entry.name)
    return used, left_out


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
