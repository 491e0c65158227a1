"""What tables of a data set say about its pictures, before and after files are added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainers.data.layouts import recognise
from trainers.data.lookup import Lookup, OutsideError
from trainers.data.simpletuner import BACKEND_FILE
from trainers.data.tables import Table, read_captions, read_table
from trainers.data.walk import walk
from trainers.errors import DataError


class Listing:
    """Begun before files are added. caption_endings: as in ".txt,.caption"."""

    def __init__(self, folder: Path, caption_endings: str) -> None:
        self._folder, self._endings = folder, caption_endings
        self._before = recognise(folder, caption_endings)
        self._had_pictures = next(walk(folder, ""), None) is not None

    def check(self, tables: Sequence[Path], renamed: Mapping[str, str]) -> list[Path]:
        """Those of the files that are no tables.

        renamed: what pictures are called now, by what a table calls them. Raises DataError for a table that means a
        picture of another name, or one that changes captions of pictures that were there.
        """
        layout = recognise(self._folder, self._endings)
        if layout.kind == "simpletuner":  # the tables of its data sets are read by each of them
            self._check_backends()
            return []
        for path in tables if renamed else ():
            self._check_names(path, renamed)
        used = [path for path in tables if path in layout.tables]
        for name, lines in self._before.captions.items():
            if layout.captions.get(name) != lines:
                named = ", ".join(path.name for path in used)
                message = f"{named} would change captions of pictures that are there, as that of {name}."
                raise DataError(message, "Make a new data set of these files, or edit the captions themselves.")
        return [path for path in tables if path not in used]

    def _check_backends(self) -> None:
        if self._had_pictures and self._before.kind != "simpletuner":
            message = f"{BACKEND_FILE} would take the place of the pictures that are there."
            raise DataError(message, "Make a new data set of these files.")

    def _check_names(self, path: Path, renamed: Mapping[str, str]) -> None:
        rel = path.relative_to(self._folder)
        lookup = Lookup(self._folder, renamed)
        for file in _files(path):
            if name := _found(lookup, file, rel.parent.as_posix(), stems=path.suffix.lower() == ".json"):
                message = f"{path.name} lists {name}, which would have to be called {renamed[name]} here."
                raise DataError(message, "Make a new data set of these files, or rename it, and in the table too.")


def _files(path: Path) -> Iterator[str]:
    """What a table calls its pictures."""
    read = read_captions if path.suffix.lower() == ".json" else read_table
    table: Table | None = read(path, path.name)
    yield from (row.file for row in table.rows) if table else ()


def _found(lookup: Lookup, file: str, base: str, *, stems: bool) -> str | None:
    try:
        return lookup.find(file, "" if base == "." else base, stems=stems)
    except OutsideError:
        return None
