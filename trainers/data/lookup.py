"""The files below a folder, and which of them a table means."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from posixpath import join, normpath, splitext

Identity = tuple[int, int]
ABSOLUTE = re.compile(r"([A-Za-z]:)?/")


class OutsideError(ValueError):
    """A path that leads out of the folder."""


def is_folder(entry: os.DirEntry[str]) -> bool:
    """As `entry.is_dir()`; False for a link to itself, which that raises OSError for."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def folders(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder, those behind links too, and its files: ("", [...]), then ("img/", [...]) and so on.

    Hidden ones are left out, and folders below the first that cannot be listed. Raises OSError for the first.
    """
    yield from _folders(os.fspath(folder), "", ())


def _folders(folder: str, base: str, above: tuple[Identity, ...]) -> Iterator[tuple[str, list[str]]]:
    try:
        status = os.stat(folder)
        here = status.st_dev, status.st_ino
        with os.scandir(folder) as found:
            shown = [(entry.name, is_folder(entry)) for entry in found if entry.name[0] != "."]
    except OSError:
        if not base:
            raise
        return
    if here in above:  # a link to a folder above would never end
        return
    yield base, [name for name, is_folder in shown if not is_folder]
    for name in sorted(name for name, is_folder in shown if is_folder):
        yield from _folders(os.path.join(folder, name), f"{base}{name}/", (*above, here))


class Lookup:
    """Finds files below a folder by what tables call them, and opens none.

    names: of all its files, relative with slashes. A table may write them in another case, with backslashes, or with
    letters and accents apart. Where a table was written in another place, its first absolute path
    with a known end tells what stood in front, and the other paths must begin with the same.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._roots = {f"{root.as_posix().rstrip('/')}/" for root in (folder.absolute(), folder.resolve())}
        self._old_root = ""

    def find(self, file: str, base: str = "", *, stems: bool = False) -> str | None:
        """The name of the file that is there; None if none is.

        base: folder of the table, tried before the folder itself; stems: the ending may be left out.
        Raises OutsideError.
        """
        rel = f"{base}/{file}" if base else file
        return rel if rel in self._names else self._search(file.replace("\\", "/"), base, stems)

    def _search(self, file: str, base: str, stems: bool) -> str | None:
        if ABSOLUTE.match(file):
            return self._absolute(normpath(file), stems)
        rels = dict.fromkeys(normpath(join(folder, file)) for folder in (base, ""))
        if all(rel.startswith("../") for rel in rels):
            raise OutsideError(file)
        return next((found for rel in rels if (found := self._known(rel, stems))), None)

    def _known(self, rel: str, stems: bool) -> str | None:
        if rel in self._names:
            return rel
        folded = _folded(rel)
        return self._folded_names.get(folded) or (self._folded_stems.get(folded) if stems else None)

    def _absolute(self, path: str, stems: bool) -> str | None:
        for root in self._roots:
            if path.startswith(root):
                return self._known(path.removeprefix(root), stems)
        if self._old_root and path.startswith(self._old_root):
            return self._known(path.removeprefix(self._old_root), stems)
        if not self._old_root:
            for slash in re.finditer("/", path):
                if found := self._known(path[slash.end() :], stems):
                    self._old_root = path[: slash.end()]
                    return found
        raise OutsideError(path)

    @cached_property
    def _folded_names(self) -> dict[str, str]:
        return {_folded(name): name for name in sorted(self._names, reverse=True)}

    @cached_property
    def _folded_stems(self) -> dict[str, str]:
        return {splitext(folded)[0]: name for folded, name in self._folded_names.items()}


def _folded(name: str) -> str:
    """Equal for names that differ in case, or in how letters with accents are put together."""
    return unicodedata.normalize("NFC", name).casefold()
