"""An index of the pictures in a folder tree: streamed, read in parallel, and remembered from scan to scan."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from trainers.data import walk
from trainers.data.decode import DECODE_ERRORS, read_header, reason_of
from trainers.data.examine import examine
from trainers.data.remembered import Recalled, Store
from trainers.data.text import TextError, read_text

Progress = Callable[[int, int | None], None]
Stamp = list[int]  # bytes, time of change in nanoseconds

BATCH = 16  # pictures of one task: enough that handing it to a thread costs little
THREADS = min(8, os.cpu_count() or 1)
MAX_CAPTION_BYTES = 2**20  # far more than any text encoder reads
SETTLED_S = 2.0  # the coarsest clock of a file system: a file changed again within it may keep its stamp


@dataclass(slots=True)
class Entry:
    """One picture file, as it is now.

    name: below the folder, with slashes; size: bytes; width, height: upright; error: why it cannot be read, and then
    the fields from width to frames say nothing. caption: the text of its file with LF between lines, None without
    file; caption_name, mask: files beside it, below the folder, empty for none. digest, dhash, sharpness: see
    `examine`; the digest is empty when the content was not asked for.
    """

    name: str
    size: int = 0
    changed_ns: int = 0
    width: int = 0
    height: int = 0
    alpha: bool = False
    frames: int = 0
    error: str = ""
    caption: str | None = None
    caption_name: str = ""
    caption_error: str = ""
    mask: str = ""
    mask_error: str = ""
    digest: str = ""
    dhash: int = 0
    sharpness: float = 0.0


@dataclass
class _Facts:
    """What a store keeps of a picture, each part with the stamp of the file that it was read from; None is unknown.

    picture: stamp, width, height, alpha, frames; content: digest, dhash, sharpness; caption: name, stamp, text;
    mask: name, stamp.
    """

    picture: list[Any] | None = None
    content: list[Any] | None = None
    caption: list[Any] | None = None
    mask: list[Any] | None = None

    def line(self, name: str) -> str:
        values = [name, *(getattr(self, field.name) for field in fields(self))]
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"


Task = tuple[walk.Found, Recalled | None]
Result = tuple[Entry, str, Recalled | None]  # the line: what to remember of it


def entries(
    folder: Path,
    store: Path | None,
    caption_extension: str,
    *,
    content: bool = False,
    progress: Progress | None = None,
    leftovers: walk.Leftovers | None = None,
    threads: int = THREADS,
) -> Iterator[Entry]:
    """Every picture of the folder, in the order of `walk.walk`, which also fills `leftovers`.

    Only files that are new or changed are opened: the others are as `store` remembers them. Memory is bounded by the
    largest single folder. content: decode each picture once in its life, for damage, digest and likeness.
    progress: is told (pictures done, pictures in all; None while these are counted).
    Raises OSError when the folder cannot be listed; what is wrong with a file is in its entry.
    """
    total = 0
    if progress:
        progress(0, None)
        total = walk.count(folder)
    found = walk.walk(folder, caption_extension, leftovers)
    for done, entry in enumerate(_read_all(_Reader(folder, content), found, store, threads), start=1):
        if progress:
            progress(done, max(done, total))
        yield entry


def listed(
    paths: Iterable[Path],
    store: Path | None,
    *,
    content: bool = False,
    progress: Progress | None = None,
    threads: int = THREADS,
) -> Iterator[Entry]:
    """The same for pictures by their absolute paths, wherever they lie; each once, and nothing beside them counts."""
    names = sorted({path.as_posix() for path in paths}, key=walk.order_of)
    found = (walk.Found(name) for name in names)
    for done, entry in enumerate(_read_all(_Reader(Path(), content), found, store, threads), start=1):
        if progress:
            progress(done, len(names))
        yield entry


def _read_all(reader: _Reader, found: Iterator[walk.Found], store: Path | None, threads: int) -> Iterator[Entry]:
    """Entries of what was found, in its order; only what the store does not remember is read."""
    remembered = Store(store)
    tasks = ((one, remembered.recall(one.name)) for one in found)
    with closing(remembered), closing(_in_threads(reader.read, tasks, threads)) as results:
        for entry, line, recalled in results:
            remembered.keep(line, recalled)
            yield entry
        remembered.commit()


def _in_threads(
    read: Callable[[list[Task]], list[Result]], tasks: Iterator[Task], threads: int
) -> Generator[Result, None, None]:
    """Results in the order of the tasks; only a few batches wait at a time, however many there are."""
    waiting: deque[Future[list[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, "index")
    try:
        while batch := list(islice(tasks, BATCH)):
            waiting.append(pool.submit(read, batch))
            if len(waiting) > 2 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Reader:
    """Makes entries: of what a store remembers where the files have not changed, else of the files."""

    def __init__(self, folder: Path, content: bool) -> None:
        self._folder, self._content = os.fspath(folder), content

    def read(self, tasks: list[Task]) -> list[Result]:
        return [self._read(found, recalled) for found, recalled in tasks]

    def _read(self, found: walk.Found, recalled: Recalled | None) -> Result:
        known, facts = _Facts(*recalled.facts) if recalled else _Facts(), _Facts()
        entry = Entry(found.name, caption_name=found.caption, mask=found.mask)
        self._picture(entry, known, facts)
        if found.caption:
            self._caption(entry, known, facts)
        if found.mask:
            self._mask(entry, known, facts)
        return entry, facts.line(found.name), recalled

    def _picture(self, entry: Entry, known: _Facts, facts: _Facts) -> None:
        path = self._path(entry.name)
        try:
            stamp = _stamp(path)
            entry.size, entry.changed_ns = stamp
            if is_known := known.picture is not None and known.picture[0] == stamp:
                picture, content = known.picture or [], known.content
            else:
                picture, content = [stamp, *_header(path)], None
            if self._content:
                content = content or _content(path)
        except DECODE_ERRORS as error:  # not remembered: a package or a permission may come without a new stamp
            entry.error = reason_of(error)
            return
        _, entry.width, entry.height, entry.alpha, entry.frames = picture
        if self._content and content:
            entry.digest, entry.dhash, entry.sharpness = content
        if is_known or _is_settled(stamp):
            facts.picture, facts.content = picture, content

    def _caption(self, entry: Entry, known: _Facts, facts: _Facts) -> None:
        path, caption = self._path(entry.caption_name), known.caption or []
        try:
            stamp = _stamp(path)
            is_known = caption[:2] == [entry.caption_name, stamp]
            if not is_known:
                caption = [entry.caption_name, stamp, _caption_text(path, stamp)]
        except TextError as error:
            entry.caption_error = error.reason
            return
        except OSError as error:
            entry.caption_error = f"its caption: {reason_of(error)}"
            return
        entry.caption = caption[2]
        if is_known or _is_settled(stamp):
            facts.caption = caption

    def _mask(self, entry: Entry, known: _Facts, facts: _Facts) -> None:
        path = self._path(entry.mask)
        try:
            stamp = _stamp(path)
            is_known = known.mask == [entry.mask, stamp]
            if not is_known:
                read_header(Path(path))
        except DECODE_ERRORS as error:
            entry.mask_error = reason_of(error)
            return
        if is_known or _is_settled(stamp):
            facts.mask = [entry.mask, stamp]

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


def _stamp(path: str) -> Stamp:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _is_settled(stamp: Stamp) -> bool:
    return abs(time.time_ns() - stamp[1]) > SETTLED_S * 1e9


def _header(path: str) -> list[Any]:
    header = read_header(Path(path))
    return [header.width, header.height, header.alpha, header.frames]


def _content(path: str) -> list[Any]:
    content = examine(Path(path))
    return [content.digest, content.dhash, content.sharpness]


def _caption_text(path: str, stamp: Stamp) -> str:
    if stamp[0] > MAX_CAPTION_BYTES:
        raise TextError(f"its caption has more than {MAX_CAPTION_BYTES // 2**20} MB")
    return read_text(Path(path))
