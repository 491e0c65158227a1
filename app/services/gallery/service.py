"""The data sets of the page: everything is answered from memory; reading goes on in the background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.services import files
from app.services.browse import browse
from app.services.gallery import details, edits, shapes
from app.services.gallery.collection import Collection
from app.services.gallery.context import Context
from app.services.gallery.item import Item
from app.services.gallery.places import Place, Places
from app.services.gallery.query import parse
from app.services.gallery.shelf import Shelf
from trainers import paths
from trainers.data.edits import set_id_of
from trainers.errors import DataError

PAGE = 500  # items of a page
NAMED = 200  # files that cannot be used; all are counted
SHOWN_BY_BROWSERS = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
}

Record = dict[str, Any]


class Gallery:
    """Data sets below DATA_DIR/datasets, folders that the owner added, and folders of the draft. Safe from any thread.

    id: of a set, 12 hex letters of its path; pid: of a picture, 12 hex letters of its name in the set. Records are
    plain dicts and lists. Every method that takes an id raises DataError, with the remedy, for a set that is not known
    (also: an unknown pid, an operation that cannot be used, a folder that cannot be read). So do all that change
    pictures or captions for a set that came with the program.

    What depends on settings (sizes, crop, trigger word, encoders) is as the saved draft says at the time of asking.

    query, all keys may be left out: {"filter": "" or one of FILTERS, "search": 'words tag:x -tag:"red hat" name:cat',
    "tag": a whole tag, "sort": one of SORTS, "reverse": bool}.
    operation: see `trainers.data.operations.parse`, as in {"kind": "replace", "find": "cat", "with": "dog"}.
    scope: {"pids": [...]} or {"query": {...}}; {"query": {}} is every picture.
    Labels of acts, for Undo, are "KIND: what", as in "replace: cat > dog"; KIND is a kind of operation, "caption" for
    one caption that was saved, or "trash".
    """

    def __init__(
        self, data_dir: Path, context: Callable[[], Context], draft_folders: Callable[[], Sequence[str]]
    ) -> None:
        self._context, self._cache = context, data_dir / "cache"
        self._places = Places(data_dir, draft_folders)
        self._shelf = Shelf(data_dir, self._places, lambda: context().endings)

    def close(self) -> None:
        """End the threads."""
        self._shelf.close()

    # data sets

    def sets(self) -> list[Record]:
        """[{id, name, path, own: it lies below DATA_DIR/datasets, pictures: number or None when not counted, thumb:
        address of a small picture or "", added: it can be taken out of the list, locked: why it cannot be changed or
        ""}], own ones first, each by name."""
        return [self._card(place) for place in self._places.all()]

    def add_folder(self, path: str) -> str:
        """Keep a folder in the list; its id. Raises DataError when it is none, or a folder of the system."""
        return self._places.add(path)

    def forget(self, set_id: str) -> None:
        """Take an added folder out of the list; its files stay."""
        self._places.forget(set_id)
        self._shelf.drop(set_id)

    def create(self, name: str) -> str:
        """Make an empty data set below DATA_DIR/datasets; its id. Raises DataError for a name that is taken."""
        return self._places.create(name)

    def copy(self, set_id: str) -> str:
        """Make an own data set of a set; its id."""
        return self._places.copy(set_id)

    def id_of(self, path: str) -> str:
        """The id that a folder has, or would have: of the draft's folder, as it is written there."""
        return set_id_of(paths.locate(path))

    def browse(self, path: str = "") -> Record:
        """{path, parent: "" at the top, places: [{name, path}], folders: [{name, path, pictures}]}; "" is the home.

        pictures: directly in the folder, at most 1000. Raises DataError for what is no folder or may not be read.
        """
        return browse(path, [("Atelier", self._places.datasets)])

    # one data set

    def open(self, set_id: str) -> Record:
        """The state of a set; the first call starts to read it. Ask again while `ready` is false.

        {id, name, path, own, locked: why it cannot be changed or "", trigger: word of the draft, ready, done, total,
        layout: {kind, concepts, pictures}, counts: {"": all, filter: n},
        bad: [{pid, name, reason}], orphans: [names of captions without a picture] (200 of each at most), undo: label or
        "", redo: label or "", rev, error: sentence or ""}. rev grows with every change. done of total: of the step that
        goes on; total 0 while it is not known.
        """
        collection, context = self._shelf.get(set_id), self._context()
        counts, progress = collection.counts(context), collection.progress
        return {
            "id": set_id,
            "name": collection.folder.name,
            "path": str(collection.folder),
            "own": collection.place.own,
            "locked": collection.place.locked,
            "trigger": context.captions.trigger,
            "ready": progress.ready,
            "done": progress.done,
            "total": progress.total,
            "error": progress.error,
            "layout": {**collection.facts.layout, "pictures": counts[""]},
            "counts": counts,
            "bad": _bad(collection),
            "orphans": list(collection.facts.orphans[:NAMED]),
            **_acts(collection),
        }

    def reload(self, set_id: str) -> None:
        """Look at the folder again in the background; what is known stays in sight meanwhile."""
        self._shelf.read(self._shelf.get(set_id))

    def page(self, set_id: str, query: Record, first: int, count: int) -> Record:
        """{rev, total, first, items: [[pid, name, width, height, caption (its first 160 letters), lines: their number,
        flags: [filters that it is in], thumb: address, changed: seconds since 1970]]}; at most 500 items.

        A set that was never opened is opened. Near-duplicates come group by group.
        """
        collection, context = self._shelf.get(set_id), self._context()
        found = collection.select(parse(query), context)
        flags = collection.flags(context)
        first = max(0, first)
        shown = found[first : first + max(0, min(count, PAGE))]
        return {
            "rev": collection.rev,
            "total": len(found),
            "first": first,
            "items": [item.record(set_id, flags.get(item.pid, ())) for item in shown],
        }

    def detail(self, set_id: str, pid: str) -> Record:
        """{pid, name, width, height, bytes, caption: whole text, stamp: of the text on disk, caption_file: its name,
        beside: the caption is from a table and saving makes a file that wins over it, locked: why the caption cannot
        be edited or "", tags, prose: it reads as sentences, tokens: [{encoder, n, limit, chunks}], flags, reason: why
        it cannot be trained or "", group: [pids of near-duplicates], url, thumb, cuts: [{resolution, bucket: [w, h],
        box: [left, top, right, bottom] in shares of the picture, loss: share that is cut away, enlarged: factor or 0}],
        texts: what training will see, the first few}.

        tokens: n and limit without the begin and end marks; chunks: places in the text (letters) where the next chunk
        of 75 begins, or where the encoder stops reading.
        """
        collection, context = self._shelf.get(set_id), self._context()
        return details.detail(collection, collection.item(pid), context)

    def save(self, set_id: str, pid: str, text: str, stamp: str) -> Record:
        """Write a caption: {item: as in page, detail: as in detail, rev, undo, redo}.

        When the text on disk is not the one of `stamp`, nothing is written: {conflict: text on disk, stamp: its stamp}.
        """
        collection = self._writable(set_id)
        item = collection.item(pid)
        if conflict := edits.save(collection, item, text, stamp):
            return conflict
        context = self._context()
        record = item.record(set_id, collection.flags(context)[pid])
        return {"item": record, "detail": details.detail(collection, item, context), **_acts(collection)}

    def count(self, text: str) -> list[Record]:
        """Token counts as in `detail`."""
        return details.counts(text, self._context())

    def tags(self, set_id: str, query: Record, limit: int = 500) -> list[list[Any]]:
        """[[tag, number of captions]], most frequent first."""
        found = self._shelf.get(set_id).select(parse(query), self._context())
        often = Counter(tag for item in found for tag in item.tags)
        return [[tag, count] for tag, count in often.most_common(max(0, limit))]

    def histogram(self, set_id: str) -> list[Record]:
        """[{resolution, buckets: [{size: [w, h], n, loss: mean share cut away}]}], buckets from upright to wide."""
        items = (item for item in self._shelf.get(set_id).items() if not item.reason)
        return shapes.histogram(items, self._context())

    # edits

    def preview_edit(self, set_id: str, operation: Record, scope: Record) -> Record:
        """{files, changes, examples: [[pid, name, before, after]] at most 50, warning: "" or "prose"}.

        prose: tags would be sorted or taken apart in captions that read as sentences.
        """
        collection = self._writable(set_id)
        return edits.preview(collection, edits.operation_of(operation), self._targets(collection, scope))

    def apply_edit(self, set_id: str, operation: Record, scope: Record) -> Record:
        """{label, done: captions or pictures, skipped: [[name, reason]], undo, redo, rev}."""
        collection = self._writable(set_id)
        outcome = edits.apply(collection, edits.operation_of(operation), self._targets(collection, scope))
        return self._came_of(collection, outcome)

    def trash(self, set_id: str, pids: Sequence[str]) -> Record:
        """Move pictures with caption and mask into the set's own trash; answers as `apply_edit`."""
        collection = self._writable(set_id)
        return self._came_of(collection, edits.trash(collection, [collection.item(pid) for pid in pids]))

    def undo(self, set_id: str) -> Record:
        """Take the last act back; answers as `apply_edit`. Files that were changed since are left alone (skipped)."""
        collection = self._writable(set_id)
        return self._came_of(collection, edits.turn(collection, collection.journal.undo))

    def redo(self, set_id: str) -> Record:
        """Do again what was undone last; answers as `apply_edit`."""
        collection = self._writable(set_id)
        return self._came_of(collection, edits.turn(collection, collection.journal.redo))

    # captioning jobs, which write as other processes

    def folder(self, set_id: str) -> tuple[Path, str]:
        """The folder of a set, and why it cannot be changed or ""."""
        place = self._places.get(set_id)
        return place.folder, place.locked

    def undo_act(self, set_id: str, act: str) -> Record:
        """Take a certain act back, whatever came after it; answers as `apply_edit`."""
        collection = self._writable(set_id)
        return self._came_of(collection, edits.turn(collection, lambda: collection.journal.undo(act)))

    def redo_act(self, set_id: str, act: str) -> Record:
        """Do a certain act again; answers as `apply_edit`."""
        collection = self._writable(set_id)
        return self._came_of(collection, edits.turn(collection, lambda: collection.journal.redo(act)))

    def is_undone(self, set_id: str, act: str) -> bool | None:
        """None for an act that is not known, or came to nothing."""
        return self._shelf.get(set_id).journal.is_undone(act)

    def captions_written(self, set_id: str, texts: Mapping[str, str | None]) -> None:
        """Captions have these texts now, by the name of the picture. A set that is not in memory is left there."""
        if collection := self._shelf.peek(set_id):
            known = {item.name: item for item in collection.items()}
            paths = {collection.caption_path(known[name]): text for name, text in texts.items() if name in known}
            collection.captions_written(paths)

    def texts(self, set_id: str) -> list[str | None] | None:
        """Captions of all pictures that can be read, in memory; None while the folder is still being read."""
        collection = self._shelf.get(set_id)
        if not collection.progress.ready:
            return None
        return [item.text for item in collection.items() if not item.entry.error]

    def thumb_url(self, set_id: str, pid: str) -> str:
        """Address of a small picture; "" where there is none."""
        collection = self._shelf.peek(set_id)
        item = collection.find(pid) if collection else None
        return item.thumb_url(set_id) if item else ""

    def text_of(self, set_id: str, pid: str) -> tuple[str, str | None]:
        """Name and caption of a picture."""
        item = self._shelf.get(set_id).item(pid)
        return item.name, item.text

    # files, for the routes

    def picture(self, set_id: str, pid: str) -> Path:
        """The file of a picture. Raises FileNotFoundError."""
        return self._shelf.picture(set_id, pid)

    def thumbnail(self, set_id: str, pid: str) -> Path:
        """A WebP of at most 320 px. Raises FileNotFoundError, or one of DECODE_ERRORS."""
        return files.thumbnail(self.picture(set_id, pid), self._cache / "thumbs", files.GALLERY_PX)

    def shown(self, set_id: str, pid: str) -> tuple[Path, str]:
        """A file that browsers can show, and its media type: the picture itself, or a WebP of at most 2048 px."""
        path = self.picture(set_id, pid)
        if media_type := SHOWN_BY_BROWSERS.get(path.suffix.lower()):
            return path, media_type
        return files.thumbnail(path, self._cache / "thumbs", files.SHOWN_PX), "image/webp"

    # inside

    def _writable(self, set_id: str) -> Collection:
        """Raises DataError for a set that may not be changed."""
        collection = self._shelf.get(set_id)
        if reason := collection.place.locked:
            raise DataError(reason, "Copy them to your data sets to change them.")
        return collection

    def _card(self, place: Place) -> Record:
        collection = self._shelf.peek(place.id)
        items = collection.items() if collection else []
        is_known = collection is not None and collection.progress.ready
        cover = next((item for item in items if not item.reason), None) or self._shelf.cover(place)
        return {
            "id": place.id,
            "name": place.folder.name,
            "path": str(place.folder),
            "own": place.own,
            "added": place.added,
            "locked": place.locked,
            "pictures": sum(not item.reason for item in items) if is_known else None,
            "thumb": cover.thumb_url(place.id) if cover else "",
        }

    def _targets(self, collection: Collection, scope: Record) -> list[Item]:
        if isinstance(pids := scope.get("pids"), list):
            return [collection.item(pid) for pid in dict.fromkeys(pids)]
        if isinstance(query := scope.get("query"), dict):
            return collection.select(parse(query), self._context())
        raise DataError("Say which pictures are meant.")

    def _came_of(self, collection: Collection, outcome: edits.Came) -> Record:
        if outcome.read_again:
            self._shelf.read(collection)
        skipped = [[file.path.name, file.reason] for file in outcome.skipped]
        return {"label": outcome.label, "done": outcome.done, "skipped": skipped, **_acts(collection)}


def _acts(collection: Collection) -> Record:
    undo, redo = collection.journal.labels
    return {"undo": undo, "redo": redo, "rev": collection.rev}


def _bad(collection: Collection) -> list[Record]:
    bad = [{"pid": item.pid, "name": item.name, "reason": item.reason} for item in collection.items() if item.reason]
    folders = [{"pid": "", "name": name, "reason": reason} for name, reason in collection.facts.unreadable]
    return [*folders, *bad][:NAMED]
