"""One data set in memory: its items, what is known of them, and what changes them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.services.gallery.context import Context
from app.services.gallery.flags import FILTERS, Likeness, flags_of, likeness
from app.services.gallery.item import Item
from app.services.gallery.places import Place
from app.services.gallery.query import Query, select
from trainers.data import tokens
from trainers.data.edits import Journal
from trainers.data.lengths import too_long
from trainers.data.walk import order_of
from trainers.errors import DataError

QUERIES = 32  # whose answers are remembered while nothing changes


@dataclass
class Progress:
    """ready: every picture was decoded once; done of total: of the step that goes on, total 0 while not known."""

    ready: bool = False
    done: int = 0
    total: int = 0
    error: str = ""


@dataclass(frozen=True)
class Facts:
    """What a walk told about the folder as a whole. layout: {kind, concepts}."""

    layout: Mapping[str, Any] = field(default_factory=lambda: {"kind": "", "concepts": 0})
    orphans: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


class Collection:
    """Every method may be called from any thread. rev grows with every change."""

    def __init__(self, place: Place, journal: Path, endings: str) -> None:
        self.place, self.endings = place, endings
        self.journal = Journal(journal)
        self.progress = Progress()
        self.facts = Facts()
        self.closed = threading.Event()
        self.rev = 0
        self.reading = 0
        self._is_read = self._again = False
        self._lock = threading.RLock()
        self._items: dict[str, Item] = {}
        self._away: dict[str, Item] = {}  # in the trash, by pid
        self._written: set[str] = set()  # captions that were written since reading began
        self._alike = Likeness()
        self._flags: dict[str, tuple[str, ...]] = {}
        self._flagged: tuple[Any, ...] = ()  # what the flags are made from
        self._known_flags: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {}
        self._selected: dict[Any, list[Item]] = {}

    @property
    def id(self) -> str:
        return self.place.id

    @property
    def folder(self) -> Path:
        return self.place.folder

    # reading

    def wants_reading(self) -> bool:
        """Ask for the folder to be read; True when the caller must do so, False when who reads it will do it again."""
        with self._lock:
            self._again = self._is_read
            if not self._is_read:
                self._is_read, self.progress = True, Progress()
            return not self._again

    def begin_reading(self) -> int:
        """A number that says which reading this is."""
        with self._lock:
            self._again = False
            self._written.clear()
            self._away.clear()
            self.reading += 1
            return self.reading

    def end_reading(self, error: str = "") -> bool:
        """False when the folder must be read again. error: why it could not be read."""
        with self._lock:
            if self._again and not error:
                return False
            count = len(self._items)
            self._is_read, self.progress = False, Progress(ready=True, done=count, total=count, error=error)
            return True

    def add(self, items: Iterable[Item]) -> None:
        """More items, in the order of the walk."""
        with self._changing():
            self._items.update((item.pid, self._newest(item)) for item in items)

    def replace(self, items: Iterable[Item], facts: Facts) -> None:
        """All items, as they were read; what was written or thrown away meanwhile is newer."""
        with self._changing():
            self._items = {item.pid: self._newest(item) for item in items if item.pid not in self._away}
            self.facts = facts

    def _newest(self, item: Item) -> Item:
        known = self._items.get(item.pid)
        if known and item.pid in self._written:
            item.written(known.entry.caption_name, known.text)
        if known and known.entry.changed_ns == item.entry.changed_ns:
            item.examined(known.entry)
        return item

    def compare(self) -> None:
        """Items hold what decoding them told."""
        with self._changing():
            self._alike = likeness(self._items.values())

    # asking

    def item(self, pid: str) -> Item:
        """Raises DataError for a picture that is not there."""
        found = self.find(pid)
        if found is None:
            raise DataError("This picture is not there any more.", "Load the page again.")
        return found

    def find(self, pid: str) -> Item | None:
        return self._items.get(pid)

    def items(self) -> list[Item]:
        with self._lock:
            return list(self._items.values())

    def flags(self, context: Context) -> dict[str, tuple[str, ...]]:
        """The filters that each picture is in, by pid."""
        with self._lock:
            if self._flagged != (self.rev, context, self._alike):
                if self._flagged[1:] != (context, self._alike):
                    self._known_flags.clear()
                self._flags = self._new_flags(context)
                self._flagged = self.rev, context, self._alike
                self._selected.clear()
            return self._flags

    def _new_flags(self, context: Context) -> dict[str, tuple[str, ...]]:
        """One caption changes at a time, mostly: the flags of other items are remembered."""
        known = self._known_flags
        stale = [item for item in self._items.values() if known.get(item.pid, ((), ()))[0] != (item.text, item.reason)]
        long = self._too_long(stale, context)
        for item in stale:
            own = flags_of(item, context, self._alike, item.pid in long)
            known[item.pid] = (item.text, item.reason), own
        return {pid: known[pid][1] for pid in self._items}

    def counts(self, context: Context) -> dict[str, int]:
        """{"": pictures that can be trained, filter: n}."""
        flags = self.flags(context)
        found = Counter(name for own in flags.values() for name in own)
        return {"": len(flags) - found["bad"], **{name: found[name] for name in FILTERS}}

    def select(self, query: Query, context: Context) -> list[Item]:
        with self._lock:
            flags = self.flags(context)
            if query not in self._selected:
                if len(self._selected) >= QUERIES:
                    self._selected.clear()
                lengths = self._lengths(context) if query.sort == "tokens" else {}
                self._selected[query] = select(
                    list(self._items.values()), query, flags, self._alike.group, lambda item: lengths[item.text or ""]
                )
            return self._selected[query]

    def group(self, pid: str) -> list[str]:
        """Pids of near-duplicates, this one among them; empty when there are none."""
        number = self._alike.group.get(pid)
        return [other for other, group in self._alike.group.items() if group == number and other in self._items]

    def _lengths(self, context: Context) -> dict[str, int]:
        """Tokens of captions for the encoder that reads every word, by text."""
        texts = {item.text or "" for item in self._items.values()}
        return dict(zip(texts, tokens.encoders(context.base, context.family)[-1].lengths(texts), strict=True))

    def _too_long(self, items: list[Item], context: Context) -> set[str]:
        encoder = tokens.encoders(context.base, context.family)[-1]
        return {items[place].pid for place in too_long([item.lines for item in items], context.captions, encoder)}

    # changes

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            yield
            self.rev += 1

    def caption_path(self, item: Item) -> Path:
        return self.folder / item.caption_name(self.endings)

    def captions_written(self, texts: Mapping[Path, str | None]) -> None:
        """Caption files have these texts now; several pictures may share one."""
        by_name = {path.relative_to(self.folder).as_posix(): text for path, text in texts.items()}
        with self._changing():
            for item in self._items.values():
                name = item.caption_name(self.endings)
                if name in by_name:
                    item.written(name, by_name[name])
                    self._written.add(item.pid)

    def take_away(self, names: Sequence[str]) -> None:
        """Pictures went to the trash."""
        if not names:
            return
        with self._changing():
            for item in [item for item in self._items.values() if item.name in names]:
                self._away[item.pid] = self._items.pop(item.pid)

    def bring_back(self, names: Sequence[str]) -> bool:
        """Pictures came back from the trash; False when one is not remembered, and the folder must be read."""
        if not names:
            return True
        with self._changing():
            self._again = self._is_read  # who reads has walked past them
            back = [item for item in self._away.values() if item.name in names]
            for item in back:
                self._items[item.pid] = self._away.pop(item.pid)
            self._items = dict(sorted(self._items.items(), key=lambda found: order_of(found[1].name)))
        return len(back) == len(names)
