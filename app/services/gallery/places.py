"""Which data sets there are, and where."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.services import browse
from trainers import paths
from trainers.data.edits import set_id_of
from trainers.data.lookup import folders
from trainers.errors import DataError
from trainers.rundir import write_atomic

log = logging.getLogger(__name__)

MAX_NAME = 100  # letters
BUILT_IN = "These pictures come with Atelier."
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


@dataclass(frozen=True)
class Place:
    """A data set. own: it lies directly below DATA_DIR/datasets; added: the owner put it into the list; locked: why it
    cannot be changed, or ""."""

    id: str
    folder: Path
    own: bool
    added: bool
    locked: str = ""


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
        known = {*added, *(folder for folder in drafted if folder.is_dir())}
        if self.datasets.is_dir():
            known |= {path for path in self.datasets.iterdir() if path.is_dir() and not path.name.startswith(".")}
        found = [
            Place(
                set_id_of(one),
                one,
                one.parent == self.datasets,
                one in added,
                BUILT_IN if self._is_built_in(one) else "",
            )
            for one in known
        ]
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
        return set_id_of(folder)

    def forget(self, set_id: str) -> None:
        """Take a folder out of the list. Raises DataError when it is not one that was added."""
        with self._lock:
            added = self._added()
            kept = [path for path in added if set_id_of(Path(path)) != set_id]
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
        return set_id_of(folder)

    def copy(self, set_id: str) -> str:
        """Make an own data set of another one, with its folders and without hidden files; its id. Raises DataError."""
        source = self.get(set_id).folder
        growing = self.datasets / f".copy-{secrets.token_hex(4)}"
        try:
            for base, names in folders(source):
                (growing / base).mkdir(parents=True)
                for name in names:
                    shutil.copyfile(source / base / name, growing / base / name)
            with self._lock:
                target = self._free(source.name)
                os.rename(growing, target)
        except OSError as error:
            message = f"The pictures could not be copied: {error.strerror or error}."
            raise DataError(message, "Free some space and try again.") from error
        finally:
            shutil.rmtree(growing, ignore_errors=True)
        return set_id_of(target)

    def _free(self, name: str) -> Path:
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(self.datasets / free for free in names if not (self.datasets / free).exists())

    def _is_built_in(self, folder: Path) -> bool:
        """Below the program's own folder, which a new version replaces; the data folder may lie in there."""
        is_mine = folder.is_relative_to(self._data_dir) and not folder.is_relative_to(paths.ASSETS)
        return folder.is_relative_to(paths.PROGRAM) and not is_mine

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
