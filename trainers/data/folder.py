"""Pictures and captions of the data sets of a run, read without torch."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainers.config import Data
from trainers.data import walk
from trainers.data.index import Entry, Progress, entries
from trainers.data.layouts import Layout, recognise
from trainers.data.sources import Source, sources
from trainers.data.text import lines_of

Lines = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture that can be read, small enough for a million of them.

    root: its data set's folder; name: below it, with slashes; width, height: upright; size: bytes; lines: its
    captions, None where there is none, () for an empty file; concept, repeats: of the kohya folder that it is in;
    mask_name: below root, empty for none; digest, dhash, sharpness: see `examine`, empty unless the content was asked
    for; source: position in `Scan.sources`.
    """

    root: str
    name: str
    width: int
    height: int
    size: int = 0
    lines: Lines = None
    concept: str = ""
    repeats: int = 1
    regularisation: bool = False
    mask_name: str = ""
    alpha: bool = False
    frames: int = 1
    digest: str = ""
    dhash: int = 0
    sharpness: float = 0.0
    source: int = 0

    @property
    def path(self) -> Path:
        return Path(self.root, self.name)

    @property
    def mask(self) -> Path | None:
        return Path(self.root, self.mask_name) if self.mask_name else None


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be read, or a picture whose caption cannot, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class FolderScan:
    """What one folder holds. Names are below the folder, with slashes.

    orphans: caption and mask files without picture; clashes: pictures that share one caption file; clips: videos;
    both: pictures with a caption in a table and in a file, of which the file counts; bad_masks: masks that cannot be
    read.
    """

    folder: Path
    layout: Layout
    pictures: tuple[Picture, ...]
    bad: tuple[BadFile, ...] = ()
    bad_masks: tuple[BadFile, ...] = ()
    orphans: tuple[str, ...] = ()
    clashes: tuple[tuple[str, ...], ...] = ()
    clips: tuple[str, ...] = ()
    both: int = 0


@dataclass(frozen=True)
class Scan:
    """What the data sets of a run hold. folders: one for each source; content: whether pictures were decoded."""

    sources: tuple[Source, ...]
    folders: tuple[FolderScan, ...]
    pictures: tuple[Picture, ...]
    bad: tuple[BadFile, ...]
    content: bool = True


def scan(data: Data, *, content: bool = True, progress: Progress | None = None) -> Scan:
    """Every picture of a resolved config's data sets. What is known of files that have not changed is not read again.

    content: decode pictures that never were, so that damage anywhere is known before anything is loaded; else only
    their headers are read. progress: is told (pictures done, pictures in all; None while these are counted).
    Raises SourceError, OSError.
    """
    wanted, endings, index_dir = sources(data), data.caption_extension, Path(data.cache_dir) / "index"
    told = _Told(progress, wanted) if progress else None
    folders = []
    for position, source in enumerate(wanted):
        collector = _Collector(source.folder, recognise(source.folder, endings), source, position)
        folders.append(_collect(collector, endings, index_dir, content, told.of(position) if told else None))
    return _together(wanted, tuple(folders), content, masks_count=data.mask in ("file", "any"))


def scan_folder(
    folder: Path,
    caption_extension: str,
    index_dir: Path | None,
    *,
    content: bool = True,
    progress: Progress | None = None,
) -> FolderScan:
    """Every picture of one folder, as `scan` does it. index_dir: where files are remembered. Raises OSError."""
    collector = _Collector(folder, recognise(folder, caption_extension))
    return _collect(collector, caption_extension, index_dir, content, progress)


def index_file(folder: Path, caption_extension: str, index_dir: Path) -> Path:
    """Where scans of the folder are remembered."""
    key = f"{os.path.abspath(folder)}\n{caption_extension}".encode("utf-8", "surrogateescape")
    return index_dir / f"{hashlib.blake2b(key, digest_size=16).hexdigest()}.jsonl"


class _Told:
    """Progress over several folders."""

    def __init__(self, progress: Progress, wanted: tuple[Source, ...]) -> None:
        progress(0, None)
        self._progress, self._counts = progress, [walk.count(source.folder) for source in wanted]

    def of(self, position: int) -> Progress:
        before, everything = sum(self._counts[:position]), sum(self._counts)

        def progress(done: int, _: int | None) -> None:
            self._progress(before + done, max(before + done, everything))

        return progress


class _Collector:
    """Makes pictures and bad files of entries."""

    def __init__(self, folder: Path, layout: Layout, source: Source | None = None, position: int = 0) -> None:
        self.folder, self.layout, self._source, self._position = folder, layout, source, position
        self.pictures: list[Picture] = []
        self.bad: list[BadFile] = []
        self.bad_masks: list[BadFile] = []
        self.both = 0

    def add(self, entry: Entry) -> None:
        if reason := entry.error or entry.caption_error:
            self.bad.append(BadFile(self.folder / entry.name, reason))
            return
        if entry.mask_error:
            self.bad_masks.append(BadFile(self.folder / entry.mask, entry.mask_error))
        self.pictures.append(self._picture(entry))

    def _picture(self, entry: Entry) -> Picture:
        concept = self.layout.concept_of(entry.name)
        return Picture(
            root=str(self.folder),
            name=entry.name,
            width=entry.width,
            height=entry.height,
            size=entry.size,
            lines=self._lines(entry),
            concept=concept.name if concept else "",
            repeats=concept.repeats if concept else 1,
            regularisation=bool((concept and concept.regularisation) or (self._source and self._source.regularisation)),
            mask_name=entry.mask,
            alpha=entry.alpha,
            frames=entry.frames,
            digest=entry.digest,
            dhash=entry.dhash,
            sharpness=entry.sharpness,
            source=self._position,
        )

    def _lines(self, entry: Entry) -> Lines:
        listed = self.layout.lines_of(entry.name)
        if listed and entry.caption is not None:
            self.both += 1
        lines = listed if entry.caption is None else lines_of(entry.caption)
        return _prompted(lines, entry.name, self._source) if self._source else lines


def _prompted(lines: Lines, name: str, source: Source) -> Lines:
    """The captions of a picture as its data set wants them."""
    if source.only_prompt:
        return (source.prompt,)
    if source.filename_captions:
        lines = (PurePosixPath(name).stem.replace("_", " ").strip(),)
    if not lines:
        return (source.prompt,) if source.prompt else lines
    return tuple(f"{source.prompt} {line}" for line in lines) if source.prepend_prompt and source.prompt else lines


def _collect(
    collector: _Collector, caption_extension: str, index_dir: Path | None, content: bool, progress: Progress | None
) -> FolderScan:
    folder, leftovers = collector.folder, walk.Leftovers()
    store = index_file(folder, caption_extension, index_dir) if index_dir else None
    for entry in entries(folder, store, caption_extension, content=content, progress=progress, leftovers=leftovers):
        collector.add(entry)
    return FolderScan(
        folder,
        collector.layout,
        tuple(collector.pictures),
        (*collector.bad, *(BadFile(folder / name, reason) for name, reason in leftovers.unreadable)),
        tuple(collector.bad_masks),
        tuple(leftovers.orphans),
        tuple(leftovers.clashes),
        tuple(leftovers.clips),
        collector.both,
    )


def _together(wanted: tuple[Source, ...], folders: tuple[FolderScan, ...], content: bool, masks_count: bool) -> Scan:
    """masks_count: a picture whose mask cannot be read is then as bad as one that cannot be read itself."""
    bad = [file for found in folders for file in found.bad]
    pictures = [picture for found in folders for picture in found.pictures]
    if masks_count and (bad_masks := [file for found in folders for file in found.bad_masks]):
        without = {file.path for file in bad_masks}
        pictures = [picture for picture in pictures if picture.mask not in without]
        bad += bad_masks
    return Scan(wanted, folders, tuple(pictures), tuple(bad), content)
