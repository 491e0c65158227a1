"""Where the pictures lie that a file names, and which of them may be read. Light."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from trainers.data.lookup import Lookup, OutsideError, folders
from trainers.data.tables import HALF_LETTER


class UnusableError(ValueError):
    """Something in a source that cannot be taken over. Its text is the cause, for people."""


class Places:
    """Finds pictures below the folder of a source. A file may come from anywhere, so it opens nothing outside of it.

    absolute: files elsewhere may be read too, when they are named from the root of the disk.
    """

    def __init__(self, root: Path, absolute: bool = False) -> None:
        self.root, self._absolute = Path(os.path.realpath(root)), absolute

    def find(self, name: str, base: Path) -> Path:
        """The file of this name in `base`, or below the root where another program or machine had it.

        Raises UnusableError for what is not there or must not be read.
        """
        if not name.strip() or "\0" in name or HALF_LETTER.search(name):
            raise UnusableError("no file name")
        path = Path(os.path.realpath(base / name))
        if self._may_read(path, name) and os.path.isfile(path):  # of Path it raises for a long name
            return path
        found = self._searched(name, base)
        if found is None:
            raise UnusableError(f"{name} is not there")
        path = Path(os.path.realpath(self.root / found))
        if not self._may_read(path, ""):  # a link that leads out
            raise UnusableError(f"{name} leads out of {self.root}")
        return path

    def _may_read(self, path: Path, name: str) -> bool:
        return path.is_relative_to(self.root) or (self._absolute and os.path.isabs(name))

    def _searched(self, name: str, base: Path) -> str | None:
        real = Path(os.path.realpath(base))
        below = real.relative_to(self.root).as_posix() if real.is_relative_to(self.root) else "."
        try:
            return self._lookup.find(name, "" if below == "." else below)
        except OutsideError as error:
            hint = " (allow absolute paths to read it)" if os.path.isabs(name) and not self._absolute else ""
            raise UnusableError(f"{name} lies outside of {self.root}{hint}") from error

    @cached_property
    def _lookup(self) -> Lookup:
        names = [f"{base}{name}" for base, found in folders(self.root) for name in found]
        return Lookup(self.root, names)
