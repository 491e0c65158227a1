"""Copies files into a data set: all of them or none, none over another, and none that a table would not find again."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from app.services.listing import Listing
from trainers.data.decode import PICTURE_ENDINGS
from trainers.data.simpletuner import BACKEND_FILE

BLOCK = 2**20
REPEATS = re.compile(r"\d+_.+")  # a folder whose name says something, as 10_dog


@dataclass(frozen=True)
class Added:
    """What came of a drop. known: files that were there already; left_out: names of those that are not used."""

    folder: Path
    pictures: int
    captions: int
    known: int
    left_out: tuple[str, ...]
    tables: int = 0


@dataclass(frozen=True)
class Entry:
    """One file to be copied. source: zip that holds it, or ""; given: its place in there; folder, stem, ending: the
    same, of safe names; ending in small letters, with its dot, ".png.txt" for the caption of one a.png alone."""

    source: str
    given: PurePosixPath
    folder: tuple[str, ...]
    stem: str
    ending: str
    length: int
    open: Callable[[], IO[bytes]]
    is_table: bool = False

    @property
    def name(self) -> str:
        return self.stem + self.ending

    @property
    def wanted(self) -> str:
        """What a table calls it: its given name below the folder that is filled."""
        parts = self.given.parts
        return "/".join(parts[len(parts) - 1 - len(self.folder) :])


def entered(entries: list[Entry]) -> list[Entry]:
    """Without the one top folder that holds all of a source, unless its name says how often its pictures are shown."""
    tops: dict[str, set[tuple[str, ...]]] = {}
    for entry in entries:
        tops.setdefault(entry.source, set()).add(entry.folder[:1])

    def place(entry: Entry) -> Entry:
        top = tops[entry.source]
        is_wrapping = len(top) == 1 and entry.folder and not REPEATS.fullmatch(entry.folder[0])
        return replace(entry, folder=entry.folder[1:]) if is_wrapping else entry

    return [place(entry) for entry in entries]


class _Shelf:
    """One folder that is filled, and what it holds by small letters: two names that differ only in capitals are one
    file on Windows and macOS."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.there = {file.name.casefold(): file for file in path.iterdir()} if path.is_dir() else {}

    def free_stem(self, group: list[Entry]) -> str | None:
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

    def _fits(self, group: list[Entry], stem: str) -> bool:
        """No file would be replaced, and no caption would go to the picture of somebody else."""
        endings = {entry.ending for entry in group}
        others = any((stem + ending).casefold() in self.there for ending in PICTURE_ENDINGS - endings)
        if others and endings & PICTURE_ENDINGS:
            return False
        there = ((entry, self.there.get((stem + entry.ending).casefold())) for entry in group)
        return all(path is None or _same(entry, path) for entry, path in there)


class Copy:
    """Copies entries into one folder and folders inside; takes them back when it cannot finish.

    caption_endings: as in ".txt,.caption".
    """

    def __init__(self, folder: Path, caption_endings: str) -> None:
        self._folder, self._endings = folder, caption_endings
        self._made: list[Path] = []
        self._written: list[Path] = []
        self._shelves: dict[tuple[str, ...], _Shelf] = {}
        self._renamed: dict[str, str] = {}
        self._tables: list[Path] = []  # of this drop, those that were there too

    def all(self, entries: list[Entry], left_out: list[str]) -> Added:
        """Raises DataError when a table would miss a picture, or change captions that are there, and what reading a
        zip or writing a file raises; the folder is then as it was."""
        tables, groups = [entry for entry in entries if entry.is_table], _groups(entries)
        try:
            self._make(self._folder)
            listing = Listing(self._folder, self._endings) if tables else None
            known = sum(self._take(group, left_out) for group in groups)
            pictures = sum(path.suffix in PICTURE_ENDINGS for path in self._written)
            captions = len(self._written) - pictures
            known += sum(self._take_table(entry, left_out) for entry in tables)
            if listing:
                self._drop_unused(listing.check(self._tables, self._renamed), left_out)
        except BaseException:
            self._take_back()
            raise
        return Added(self._folder, pictures, captions, known, tuple(left_out), len(self._written) - pictures - captions)

    def _take(self, group: list[Entry], left_out: list[str]) -> int:
        """Copy a picture with its captions; how many of these files were there."""
        shelf = self._shelf(group[0].folder)
        stem = shelf.free_stem(group)
        if stem is None:
            left_out += [entry.name for entry in group]
            return 0
        for entry in group:
            new = "/".join((*entry.folder, stem + entry.ending))
            if entry.ending in PICTURE_ENDINGS and new.casefold() != entry.wanted.casefold():
                self._renamed[entry.wanted] = new
        return sum(not self._write(entry, shelf, stem + entry.ending) for entry in group)

    def _take_table(self, entry: Entry, left_out: list[str]) -> int:
        """Copy a table, under a number where its name is taken; how many were there."""
        shelf = self._shelf(entry.folder)
        names = itertools.chain([entry.name], (f"{entry.stem}-{n}{entry.ending}" for n in itertools.count(2)))
        places = ((name, shelf.there.get(name.casefold())) for name in names)
        name, there = next((name, path) for name, path in places if path is None or _same(entry, path))
        if entry.name.casefold() == BACKEND_FILE and name != entry.name:  # it is read under this name alone
            left_out.append(entry.name)
            return 0
        self._tables.append(there or shelf.path / name)
        return int(not self._write(entry, shelf, name))

    def _drop_unused(self, unused: list[Path], left_out: list[str]) -> None:
        """Files that looked like tables and are none go again, and folders that were made for them alone."""
        for path in unused:
            if path in self._written:
                path.unlink()
                self._written.remove(path)
                left_out.append(path.name)
        for folder in reversed(self._made):
            if folder != self._folder and not any(folder.iterdir()):
                folder.rmdir()

    def _shelf(self, folder: tuple[str, ...]) -> _Shelf:
        key = tuple(part.casefold() for part in folder)
        return self._shelves.setdefault(key, _Shelf(self._folder.joinpath(*folder)))

    def _make(self, folder: Path) -> None:
        missing = list(itertools.takewhile(lambda path: not path.exists(), [folder, *folder.parents]))
        for path in reversed(missing):
            path.mkdir()
            self._made.append(path)

    def _write(self, entry: Entry, shelf: _Shelf, name: str) -> bool:
        """False when the very file is there."""
        if name.casefold() in shelf.there:
            return False
        self._make(shelf.path)
        path = shelf.path / name
        with entry.open() as source, path.open("xb") as target:
            self._written.append(path)
            shutil.copyfileobj(source, target, BLOCK)
        shelf.there[name.casefold()] = path
        return True

    def _take_back(self) -> None:
        for path in self._written:
            path.unlink(missing_ok=True)
        for path in reversed(self._made):
            path.rmdir()


def _groups(entries: list[Entry]) -> list[list[Entry]]:
    """A picture with its captions: files of one folder and one name, each ending once."""
    found: dict[tuple[str, tuple[str, ...], str, int], list[Entry]] = {}
    for entry in (entry for entry in entries if not entry.is_table):
        rounds = (
            found.setdefault((entry.source, entry.folder, entry.stem, number), []) for number in itertools.count()
        )
        next(group for group in rounds if all(entry.ending != other.ending for other in group)).append(entry)
    return list(found.values())


def _same(entry: Entry, path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != entry.length:
        return False
    with entry.open() as one, path.open("rb") as other:
        while block := one.read(BLOCK):
            if block != other.read(len(block)):
                return False
    return True
