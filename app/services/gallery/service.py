"""The data sets of the page: everything is answered from memory; reading goes on in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.services.gallery.context import Context

Record = dict[str, Any]


class Gallery:
    """Data sets below DATA_DIR/datasets, folders that the owner added, and folders of the draft. Safe from any thread.

    id: of a set, 12 hex letters of its path; pid: of a picture, 12 hex letters of its name in the set. Records are
    plain dicts and lists. Every method that takes an id raises DataError, with the remedy, for a set that is not known
    (also: an unknown pid, an operation that cannot be used, a folder that cannot be read).

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
        self._context, self._draft_folders = context, draft_folders

    def close(self) -> None:
        """End the threads."""

    # data sets

    def sets(self) -> list[Record]:
        """[{id, name, path, own: it lies below DATA_DIR/datasets, pictures: number or None when not counted, thumb:
        address of a small picture or ""}], own ones first, each by name."""
        raise NotImplementedError

    def add_folder(self, path: str) -> str:
        """Keep a folder in the list; its id. Raises DataError when it is none, or a folder of the system."""
        raise NotImplementedError

    def forget(self, set_id: str) -> None:
        """Take an added folder out of the list; its files stay."""
        raise NotImplementedError

    def create(self, name: str) -> str:
        """Make an empty data set below DATA_DIR/datasets; its id. Raises DataError for a name that is taken."""
        raise NotImplementedError

    def id_of(self, path: str) -> str:
        """The id that a folder has, or would have: of the draft's folder, as it is written there."""
        raise NotImplementedError

    def browse(self, path: str = "") -> Record:
        """{path, parent: "" at the top, places: [{name, path}], folders: [{name, path, pictures}]}; "" is the home.

        pictures: directly in the folder, at most 1000. Raises DataError for what is no folder or may not be read.
        """
        raise NotImplementedError

    # one data set

    def open(self, set_id: str) -> Record:
        """The state of a set; the first call starts to read it. Ask again while `ready` is false.

        {id, name, path, own, ready, done, total, layout: {kind, concepts, pictures}, counts: {"": all, filter: n},
        bad: [{pid, name, reason}], orphans: [names of captions without a picture], undo: label or "", redo: label or
        "", rev, error: sentence or ""}. rev grows with every change. done of total: of the step that goes on; total 0
        while it is not known.
        """
        raise NotImplementedError

    def reload(self, set_id: str) -> None:
        """Look at the folder again in the background; what is known stays in sight meanwhile."""
        raise NotImplementedError

    def page(self, set_id: str, query: Record, first: int, count: int) -> Record:
        """{rev, total, first, items: [[pid, name, width, height, caption (its first 160 letters), lines: their number,
        flags: [filters that it is in], thumb: address, changed: seconds since 1970]]}; at most 500 items.

        A set that was never opened is opened. Near-duplicates come group by group.
        """
        raise NotImplementedError

    def detail(self, set_id: str, pid: str) -> Record:
        """{pid, name, width, height, bytes, caption: whole text, stamp: of the text on disk, caption_file: its name,
        beside: the caption is from a table and saving makes a file that wins over it, locked: why the caption cannot be
        edited or "", tags, prose: it reads as sentences, tokens: [{encoder, n, limit, chunks}], flags, group: [pids of
        near-duplicates], url, thumb, cuts: [{resolution, bucket: [w, h], box: [left, top, right, bottom] in shares of
        the picture, loss: share that is cut away, enlarged: factor or 0}], texts: what training will see, the first
        few}.

        tokens: n and limit without the begin and end marks; chunks: places in the text (letters) where the next chunk
        of 75 begins, or where the encoder stops reading.
        """
        raise NotImplementedError

    def save(self, set_id: str, pid: str, text: str, stamp: str) -> Record:
        """Write a caption: {item: as in page, detail: as in detail, rev, undo, redo}.

        When the text on disk is not the one of `stamp`, nothing is written: {conflict: text on disk, stamp: its stamp}.
        """
        raise NotImplementedError

    def count(self, text: str) -> list[Record]:
        """Token counts as in `detail`."""
        raise NotImplementedError

    def tags(self, set_id: str, query: Record, limit: int = 500) -> list[list[Any]]:
        """[[tag, number of captions]], most frequent first."""
        raise NotImplementedError

    def histogram(self, set_id: str) -> list[Record]:
        """[{resolution, buckets: [{size: [w, h], n, loss: mean share cut away}]}], buckets from upright to wide."""
        raise NotImplementedError

    # edits

    def preview_edit(self, set_id: str, operation: Record, scope: Record) -> Record:
        """{files, changes, examples: [[pid, name, before, after]] at most 50, warning: "" or "prose"}.

        prose: tags would be sorted or taken apart in captions that read as sentences.
        """
        raise NotImplementedError

    def apply_edit(self, set_id: str, operation: Record, scope: Record) -> Record:
        """{label, done, skipped: [[name, reason]], undo, redo, rev}."""
        raise NotImplementedError

    def trash(self, set_id: str, pids: Sequence[str]) -> Record:
        """Move pictures with caption and mask into the set's own trash; answers as `apply_edit`."""
        raise NotImplementedError

    def undo(self, set_id: str) -> Record:
        """Take the last act back; answers as `apply_edit`. Files that were changed since are left alone (skipped)."""
        raise NotImplementedError

    def redo(self, set_id: str) -> Record:
        """Do again what was undone last; answers as `apply_edit`."""
        raise NotImplementedError

    # files, for the routes

    def picture(self, set_id: str, pid: str) -> Path:
        """The file of a picture. Raises FileNotFoundError."""
        raise NotImplementedError

    def thumbnail(self, set_id: str, pid: str) -> Path:
        """A WebP of at most 320 px. Raises FileNotFoundError, or one of DECODE_ERRORS."""
        raise NotImplementedError

    def shown(self, set_id: str, pid: str) -> tuple[Path, str]:
        """A file that browsers can show, and its media type: the picture itself, or a WebP of at most 2048 px."""
        raise NotImplementedError
