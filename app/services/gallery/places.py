"""Which data sets there are, and where."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.services import browse
from trainers import paths
from trainers.errors import DataError
from trainers.rundir import write_atomic

log = logging.getLogger(__name__)

MAX_NAME = 100  # letters
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


@dataclass(frozen=True)
class Place:
    """A data set. own: it lies directly below DATA_DIR/datasets; added: the owner put it into the list."""

    id: str
    folder: Path
    own: bool
    added: bool


class Places:
    """The data sets that are known: own ones, folders that the owner added, and folders of the draft."""

    def __init__(self, data_dir: Path, draft_folders: Callable[[], Sequence[str]]) -> None:
        self._data_dir, self._draft_folders = data_dir, draft_folders
        self.datasets = data_dir / "datasets"
        self._file = data_dir / "settings" / "folders.json"
        self._lock = threading.Lock()

    def all(self) -> list[Place]:
        """Own ones first, each by name."""
        added = {paths.absolute(path) for path in self._added()}
        drafted = {paths.locate(path) for path in self._draft_folders() if path}
        folders = {*added, *(folder for folder in drafted if folder.is_dir())}
        if self.datasets.is_dir():
            folders |= {path for path in self.datasets.iterdir() if path.is_dir() and not path.name.startswith(".")}
        found = [Place(id_of(folder), folder, folder.parent == self.datasets, folder in added) for folder in folders]
        return sorted(found, key=lambda place: (not place.own, place.folder.name.casefold(), str(place.folder)))

    def get(self, set_id: str) -> Place:
        """Raises DataError."""
        found = next((place for place in self.all() if place.id == set_id), None)
        if found is None:
            raise DataError("There is no such data set.", "Choose another one.")
        return found

    def add(self, path: str) -> str:
        """Keep a folder in the list; its id. Raises DataError."""
        folder = paths.absolute(path.strip())
        self._check(folder, path)
        with self._lock:
            added = self._added()
            if str(folder) not in added:
                self._save([*added, str(folder)])
        return id_of(folder)

    def forget(self, set_id: str) -> None:
        """Take a folder out of the list. Raises DataError when it is not one that was added."""
        with self._lock:
            added = self._added()
            kept = [path for path in added if id_of(Path(path)) != set_id]
            if kept == added:
                raise DataError("Only a folder that was added can be taken out of the list.")
            self._save(kept)

    def create(self, name: str) -> str:
        """Make an empty data set; its id. Raises DataError for a name that is taken, or none."""
        safe = UNSAFE.sub("_", name)[:MAX_NAME].strip(" .")
        if not safe:
            raise DataError("A data set needs a name.", "Type one.")
        folder = self.datasets / safe
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise DataError(f"There is a data set {safe!r} already.", "Choose another name.") from None
        except OSError as error:
            raise DataError(f"The folder cannot be made: {error.strerror}.", "Choose another name.") from error
        return id_of(folder)

    def _check(self, folder: Path, path: str) -> None:
        if not path.strip() or not folder.is_dir():
            raise DataError(f"{path!r} is no folder.", "Give the path of a folder that has pictures in it.")
        if browse.is_system(folder) or browse.is_root(folder):
            raise DataError(f"{folder} belongs to the system.", "Choose the folder that the pictures are in.")
        is_inside = folder.is_relative_to(self._data_dir) and not folder.is_relative_to(self.datasets)
        if is_inside or folder in (self.datasets, *self.datasets.parents):
            raise DataError(f"Atelier keeps its own files in {folder}.", "Choose the folder that the pictures are in.")

    def _added(self) -> list[str]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        except ValueError as error:
            log.warning("%s is damaged (%s): the list of folders starts anew", self._file, error)
            return []
        return [path for path in found if isinstance(path, str)] if isinstance(found, list) else []

    def _save(self, folders: list[str]) -> None:
        write_atomic(self._file, json.dumps(folders, ensure_ascii=False, indent=1))


def id_of(folder: Path) -> str:
    """12 hex letters of the path."""
    return hashlib.blake2b(str(folder).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
