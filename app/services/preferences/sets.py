"""The preference sets of the data folder, each opened once."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.errors import DataError
from trainers.preferences.prefset import Prefset

NAME = re.compile(r"[\w][\w.+-]{0,79}")


class Sets:
    """Sets lie in DATA_DIR/preferences/NAME; the name is the id that the page knows. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Prefset, threading.RLock]] = {}

    def names(self) -> list[str]:
        """The newest first."""
        found = [one.parent for one in self.folder.glob("*/set.json") if NAME.fullmatch(one.parent.name)]
        return [one.name for one in sorted(found, key=lambda one: (one / "set.json").stat().st_mtime, reverse=True)]

    def path(self, name: str) -> Path:
        """Where a set of this name lies, or would. Raises DataError for what is no name of a set."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise DataError("This is no name of a set.", "Use letters, digits, dots, - and _.")
        return self.folder / name

    @contextmanager
    def opened(self, name: str) -> Iterator[Prefset]:
        """The set, up to date, for this thread alone meanwhile. Raises DataError when there is none."""
        path = self.path(name)
        with self._lock:
            if name not in self._open:
                self._open[name] = (Prefset(path), threading.RLock())
            prefset, lock = self._open[name]
        with lock:
            prefset.refresh()
            yield prefset
