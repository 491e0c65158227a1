"""The data sets that are in memory, and the pictures that the others are shown by."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.services.gallery.collection import Collection
from app.services.gallery.item import Item, first_picture
from app.services.gallery.places import Place, Places
from app.services.gallery.reading import read
from trainers.data.edits import journal_folder

KEPT_OPEN = 6  # sets in memory
CLOSING_S = 5.0


@dataclass(frozen=True)
class Cover:
    """The picture that a set is shown by while it is not open."""

    folder: Path
    item: Item


class Shelf:
    """Safe from any thread. endings: of caption files, as the draft has them when a set is opened."""

    def __init__(self, data_dir: Path, places: Places, endings: Callable[[], str]) -> None:
        self._data_dir, self._places, self._endings = data_dir, places, endings
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Collection] = OrderedDict()  # the last used last
        self._readers: dict[str, threading.Thread] = {}
        self._covers: dict[str, Cover | None] = {}

    def close(self) -> None:
        """End the threads."""
        with self._lock:
            for collection in self._open.values():
                collection.closed.set()
            readers = [*self._readers.values()]
        for reader in readers:
            reader.join(timeout=CLOSING_S)

    def get(self, set_id: str) -> Collection:
        """The set in memory; one that was not open is read from now on. Raises DataError."""
        with self._lock:
            if set_id in self._open:
                self._open.move_to_end(set_id)
                return self._open[set_id]
            place = self._places.get(set_id)
            collection = Collection(place, journal_folder(self._data_dir, place.folder), self._endings())
            self._open[set_id] = collection
            while len(self._open) > KEPT_OPEN:
                self._open.popitem(last=False)[1].closed.set()
            self.read(collection)
            return collection

    def read(self, collection: Collection) -> None:
        """Read the folder in a thread; when one does, it will do it again."""
        if collection.wants_reading():
            reader = threading.Thread(
                target=read, args=(collection, self._data_dir / "cache"), name="gallery", daemon=True
            )
            self._readers[collection.id] = reader
            reader.start()

    def drop(self, set_id: str) -> None:
        with self._lock:
            if collection := self._open.pop(set_id, None):
                collection.closed.set()

    def peek(self, set_id: str) -> Collection | None:
        """The set if it is in memory."""
        with self._lock:
            return self._open.get(set_id)

    def cover(self, place: Place) -> Item | None:
        """The first readable picture of a set that is not open."""
        if not self._covers.get(place.id):
            found = first_picture(place.folder)
            self._covers[place.id] = Cover(place.folder, found) if found else None
        cover = self._covers[place.id]
        return cover.item if cover else None

    def picture(self, set_id: str, pid: str) -> Path:
        """The file of a picture. Raises FileNotFoundError for all that could not be read as one."""
        collection, cover = self.peek(set_id), self._covers.get(set_id)
        if collection:
            item, folder = collection.find(pid), collection.folder
        else:
            item, folder = (cover.item, cover.folder) if cover and cover.item.pid == pid else (None, Path())
        if item is None or item.entry.error or not (folder / item.name).is_file():
            raise FileNotFoundError(pid)
        return folder / item.name
