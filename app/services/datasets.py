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
from trainers import paths
from trainers.data.decode import PICTURE_ENDINGS
from trainers.errors import DataError

MAX_FILES = 10_000  # of one drop, those inside zips counted one by one
MAX_BYTES = 8 * 2**30
SPARE_BYTES = 200 * 2**20
MAX_STEM = 100  # letters; file systems take 255 bytes, and a number may be added
COUNTED_NAME = "pictures"

CLUTTER = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$", re.IGNORECASE)  # names that Windows keeps for itself
ZIP_IN_UTF8 = 0x800
ZIP_ENCRYPTED = 0x1
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, lzma.LZMAError)
BLOCK = 2**20

_adding = threading.Lock()  # two drops at once would choose the same names


@dataclass(frozen=True)
class Dropped:
    """A file as the browser sent it. place: folder that it came from, in which a caption belongs to a picture."""

    file: Path
    place: str = ""


@dataclass(frozen=True)
class Added:
    """What came of a drop. known: files that were there already; left_out: names of those that are not used."""

    folder: Path
    pictures: int
    captions: int
    known: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    """One file to be copied, wherever it lies. stem, ending: its safe name; ending in small letters, with its dot."""

    place: str
    stem: str
    ending: str
    length: int
    open: Callable[[], IO[bytes]]

    @property
    def name(self) -> str:
        return self.stem + self.ending


def add(dropped: Sequence[Dropped], datasets: Path, chosen: str, caption_endings: str) -> Added:
    """Copy pictures and captions, and what zips hold of them, into a folder below `datasets`; all of them or none.

    They join the folder `chosen` if it lies directly below `datasets`, else they get a new one, named after the first
    zip or "pictures-1", "pictures-2" ... Nothing is overwritten: a picture whose name is taken gets a number, and its
    caption with it. The dropped files are gone afterwards. caption_endings: as in ".txt,.caption".
    Raises DataError with the remedy.
    """
    try:
        with contextlib.ExitStack() as zips, _adding:
            endings = frozenset(caption_endings.lower().split(","))
            entries, left_out = _sorted_out(_entries(dropped, zips), endings)
            _check(entries, left_out, datasets)
            folder = _target(dropped, datasets, chosen)
            if not folder.exists() and not any(entry.ending in PICTURE_ENDINGS for entry in entries):
                raise DataError("There are captions, but no pictures.", "Drop the pictures with them.")
            return _Copy(folder).all(entries, left_out)
    except ZIP_ERRORS as error:
        raise DataError(f"The zip cannot be read: {error}.", "Pack it again, or drop its pictures.") from error
    except OSError as error:
        message = f"The pictures could not be copied: {error.strerror or error}."
        raise DataError(message, "Nothing was added. Try again, or give the path of their folder.") from error
    finally:
        for one in dropped:
            one.file.unlink(missing_ok=True)


def _entries(dropped: Sequence[Dropped], zips: contextlib.ExitStack) -> Iterator[_Entry | str]:
    """Every file, and the name of each that may not be used. Clutter of operating systems is passed over."""
    for one in dropped:
        if one.file.suffix.lower() == ".zip":
            yield from _zip_entries(zips.enter_context(zipfile.ZipFile(one.file)), one.file.name)
        elif not _is_clutter(PurePosixPath(one.file.name)):
            path = one.file
            yield _entry(one.place, path.name, path.stat().st_size, _opener(path))


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _zip_entries(archive: zipfile.ZipFile, name: str) -> Iterator[_Entry | str]:
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
            yield _entry(f"{name}/{path.parent}", path.name, info.file_size, partial(archive.open, info))


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


def _entry(place: str, name: str, length: int, opening: Callable[[], IO[bytes]]) -> _Entry | str:
    if name.startswith("."):
        return name
    stem, ending = _safe_stem(PurePosixPath(name).stem), PurePosixPath(name).suffix.lower()
    return _Entry(place, stem, ending, length, opening)


def _safe_stem(stem: str) -> str:
    """A name that every file system takes: letters of all scripts stay."""
    safe = UNSAFE.sub("_", stem)[:MAX_STEM].strip(" .")
    return f"_{safe}" if not safe or DEVICES.match(safe) else safe


def _sorted_out(entries: Iterable[_Entry | str], endings: frozenset[str]) -> tuple[list[_Entry], list[str]]:
    used: list[_Entry] = []
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


def _check(entries: list[_Entry], left_out: list[str], datasets: Path) -> None:
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


class _Copy:
    """Copies entries into one folder; takes them back when it cannot finish."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._is_new = folder, not folder.exists()
        folder.mkdir(exist_ok=True)
        self._written: list[Path] = []
        # by small letters: two names that differ only in capitals are one file on Windows and macOS
        self._there = {path.name.casefold(): path for path in folder.iterdir()}

    def all(self, entries: list[_Entry], left_out: list[str]) -> Added:
        """Raises what reading a zip or writing a file raises; the folder is then as it was."""
        known = 0
        try:
            for group in _groups(entries):
                stem = self._free_stem(group)
                if stem is None:
                    left_out += [entry.name for entry in group]
                    continue
                for entry in group:
                    known += not self._write(entry, stem + entry.ending)
        except BaseException:
            self._take_back()
            raise
        pictures = sum(path.suffix in PICTURE_ENDINGS for path in self._written)
        return Added(self._folder, pictures, len(self._written) - pictures, known, tuple(left_out))

    def _free_stem(self, group: list[_Entry]) -> str | None:
        """The group's own name, or the first one with a number that is free; None for a caption of nobody."""
        stem = group[0].stem
        if self._fits(group, stem):
            return stem
        if not any(entry.ending in PICTURE_ENDINGS for entry in group):
            return None
        number = 2
        while not self._fits(group, f"{stem}-{number}"):
            number += 1
        return f"{stem}-{number}"

    def _fits(self, group: list[_Entry], stem: str) -> bool:
        """No file would be replaced, and no caption would go to the picture of somebody else."""
        endings = {entry.ending for entry in group}
        others = any((stem + ending).casefold() in self._there for ending in PICTURE_ENDINGS - endings)
        if others and endings & PICTURE_ENDINGS:
            return False
        there = ((entry, self._there.get((stem + entry.ending).casefold())) for entry in group)
        return all(path is None or _same(entry, path) for entry, path in there)

    def _write(self, entry: _Entry, name: str) -> bool:
        """False when the very file is there."""
        if name.casefold() in self._there:
            return False
        path = self._folder / name
        with entry.open() as source, path.open("xb") as target:
            self._written.append(path)
            shutil.copyfileobj(source, target, BLOCK)
        self._there[name.casefold()] = path
        return True

    def _take_back(self) -> None:
        for path in self._written:
            path.unlink(missing_ok=True)
        if self._is_new:
            self._folder.rmdir()


def _groups(entries: list[_Entry]) -> list[list[_Entry]]:
    """A picture with its captions: files of one place and one name, each ending once."""
    found: dict[tuple[str, str, int], list[_Entry]] = {}
    for entry in entries:
        rounds = (found.setdefault((entry.place, entry.stem, number), []) for number in itertools.count())
        next(group for group in rounds if all(entry.ending != other.ending for other in group)).append(entry)
    return list(found.values())


def _same(entry: _Entry, path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != entry.length:
        return False
    with entry.open() as one, path.open("rb") as other:
        while block := one.read(BLOCK):
            if block != other.read(len(block)):
                return False
    return True
