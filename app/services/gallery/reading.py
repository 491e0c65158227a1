"""Reads a data set in the background: first what the files say, then every picture, then the small pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from app.services import files
from app.services.gallery.collection import Collection, Facts, Progress
from app.services.gallery.item import Item, item_of
from trainers.data.decode import DECODE_ERRORS
from trainers.data.folder import index_file
from trainers.data.index import Entry, entries
from trainers.data.layouts import Layout, recognise
from trainers.data.walk import Leftovers

log = logging.getLogger(__name__)

BATCH = 200  # items that come into sight together


class Closed(Exception):
    """Nobody wants to know any more."""


def read(collection: Collection, cache: Path) -> None:
    """Fill a collection from its folder, ending early when it is closed. cache: DATA_DIR/cache."""
    is_done, number = False, 0
    try:
        while not is_done:
            number = collection.begin_reading()
            _read(collection, cache)
            is_done = collection.end_reading()
    except Closed:
        return
    except OSError as error:
        collection.end_reading(f"The folder cannot be read: {(error.strerror or str(error)).lower()}.")
    except Exception:  # the boundary of this thread: the page says that something is wrong
        log.exception("%s could not be read", collection.folder)
        collection.end_reading("The folder could not be read. The terminal says why.")
    else:
        _make_thumbnails(collection, cache / "thumbs", number)


def _read(collection: Collection, cache: Path) -> None:
    is_first = not collection.items()
    layout, leftovers = recognise(collection.folder, collection.endings), Leftovers()
    found: list[Item] = []
    headers = (item_of(entry, layout) for entry in _entries(collection, cache, leftovers, content=False))
    while batch := list(islice(headers, BATCH)):
        found += batch
        if is_first:
            collection.add(batch)
    facts = Facts(
        {"kind": layout.kind, "concepts": _concepts(layout)}, tuple(leftovers.orphans), tuple(leftovers.unreadable)
    )
    collection.replace(found, facts)
    by_name = {item.name: item for item in found}
    for entry in _entries(collection, cache, Leftovers(), content=True):
        if (item := by_name.get(entry.name)) and item.entry.changed_ns == entry.changed_ns:
            item.examined(entry)
    collection.compare()


def _entries(collection: Collection, cache: Path, leftovers: Leftovers, content: bool) -> Iterator[Entry]:
    store = index_file(collection.folder, collection.endings, cache / "index")

    def progress(done: int, total: int | None) -> None:
        if collection.closed.is_set():
            raise Closed
        collection.progress = Progress(done=done, total=total or 0)

    return entries(
        collection.folder, store, collection.endings, content=content, progress=progress, leftovers=leftovers
    )


def _concepts(layout: Layout) -> int:
    return len({concept.name for concept in layout.concepts.values() if concept.name})


def _make_thumbnails(collection: Collection, cache: Path, number: int) -> None:
    """Ahead of the page, so that turning it waits for nothing. number: of the reading that this is the end of."""
    for item in collection.items():
        if collection.closed.is_set() or collection.reading != number:
            return
        try:
            files.thumbnail(collection.folder / item.name, cache, files.GALLERY_PX)
        except DECODE_ERRORS as error:  # it is among the bad ones, or went away
            log.debug("no thumbnail of %s: %s", item.name, error)
