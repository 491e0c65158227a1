"""One picture of a data set, as the gallery remembers it."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from trainers.data.decode import DECODE_ERRORS, read_header
from trainers.data.index import Entry
from trainers.data.layouts import Layout
from trainers.data.tags import tags_in
from trainers.data.text import lines_of
from trainers.data.walk import walk

SHOWN_LETTERS = 160
COVER_TRIES = 20
Order = list[tuple[int, str]]

DIGITS = re.compile(r"(\d+)")


@dataclass(slots=True)
class Item:
    """A picture with its caption. What the file says is in `entry`; the caption may be of a table.

    order: sorts by name, 2.png before 10.png.
    """

    pid: str
    order: Order
    entry: Entry
    text: str | None  # None: no caption anywhere
    from_table: bool
    concept: str
    _tags: tuple[str | None, list[str]] = ("", [])

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def locked(self) -> str:
        """Why the caption cannot be edited; empty when it can."""
        return self.entry.caption_error

    @property
    def reason(self) -> str:
        """Why the picture cannot be trained; empty when it can."""
        return self.entry.error or self.entry.caption_error

    @property
    def tags(self) -> list[str]:
        if self._tags[0] != self.text:
            self._tags = self.text, tags_in(self.text or "")
        return self._tags[1]

    @property
    def lines(self) -> tuple[str, ...]:
        return lines_of(self.text or "")

    def caption_name(self, endings: str) -> str:
        """The caption file beside it, or the one that it would get; below the folder."""
        return self.entry.caption_name or self.name.rpartition(".")[0] + endings.split(",")[0]

    def written(self, name: str, text: str | None) -> None:
        """The caption file has this text now; None: it is gone."""
        self.entry.caption, self.entry.caption_name = text, name if text is not None else ""
        self.text, self.from_table = text, False

    def examined(self, entry: Entry) -> None:
        """Take over what decoding the picture told."""
        self.entry.error = entry.error
        self.entry.digest, self.entry.dhash, self.entry.sharpness = entry.digest, entry.dhash, entry.sharpness

    def thumb_url(self, set_id: str) -> str:
        return "" if self.entry.error else f"/thumb/data/{set_id}/{self.pid}?v={self.entry.changed_ns:x}"

    def picture_url(self, set_id: str) -> str:
        return "" if self.entry.error else f"/file/data/{set_id}/{self.pid}?v={self.entry.changed_ns:x}"

    def record(self, set_id: str, flags: tuple[str, ...]) -> list[Any]:
        """As `Gallery.page` gives it."""
        entry = self.entry
        return [
            self.pid,
            self.name,
            entry.width,
            entry.height,
            (self.text or "")[:SHOWN_LETTERS],
            len(self.lines),
            list(flags),
            self.thumb_url(set_id),
            entry.changed_ns // 10**9,
        ]


def item_of(entry: Entry, layout: Layout) -> Item:
    listed = layout.lines_of(entry.name) if entry.caption is None and not entry.caption_name else None
    concept = layout.concept_of(entry.name)
    text = "\n".join(listed) if listed else entry.caption
    return Item(pid_of(entry.name), _order(entry.name), entry, text, bool(listed), concept.name if concept else "")


def pid_of(name: str) -> str:
    """12 hex letters of the name in the set."""
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


def _order(name: str) -> Order:
    parts = DIGITS.split(name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def first_picture(folder: Path) -> Item | None:
    """The first picture below a folder whose header can be read; None if the first few are all damaged."""
    with contextlib.suppress(OSError):  # a folder that cannot be listed has no cover
        for found in islice(walk(folder, ""), COVER_TRIES):
            with contextlib.suppress(*DECODE_ERRORS):
                read_header(folder / found.name)
                changed_ns = (folder / found.name).stat().st_mtime_ns
                return Item(pid_of(found.name), [], Entry(found.name, changed_ns=changed_ns), None, False, "")
    return None
