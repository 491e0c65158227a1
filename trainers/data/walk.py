"""The files of a folder tree that belong to pictures, by name and in a stable order. Opens no file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trainers.data.decode import CLIP_ENDINGS, PICTURE_ENDINGS
from trainers.data.lookup import folders, is_folder

MASK_MARK = "-masklabel"
NOT_CAPTIONS = frozenset({"readme", "license", "licence", "copying", "notice"})  # files about a data set

Order = tuple[str, ...]
Identity = tuple[int, int]
Above = tuple[Identity, ...]


class Found(NamedTuple):
    """A picture and what lies beside it. All three are below the folder, with slashes; empty where there is none."""

    name: str
    caption: str = ""
    mask: str = ""


@dataclass
class Leftovers:
    """What a walk met that is no picture of its own; complete when the walk has ended.

    orphans: captions and masks of no picture; clashes: pictures that share one caption file; clips: videos;
    unreadable: folders that could not be listed, and why.
    """

    orphans: list[str] = field(default_factory=list)
    clashes: list[tuple[str, ...]] = field(default_factory=list)
    clips: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def order_of(name: str) -> Order:
    """Names in the order of the walk have ascending orders."""
    return tuple(name.split("/"))


def walk(folder: Path, caption_extension: str, leftovers: Leftovers | None = None) -> Iterator[Found]:
    """Pictures of the folder and its sub-folders, those behind links too. Hidden files and folders are left out.

    caption_extension: as in ".txt,.caption", first match wins. Holds the names of one folder, and of those above it,
    at a time. Raises OSError when the folder itself cannot be listed.
    """
    endings = tuple(caption_extension.lower().split(","))
    left = leftovers if leftovers is not None else Leftovers()
    yield from _walk(os.fspath(folder), "", endings, left, ())


def count(folder: Path) -> int:
    """Pictures that a walk finds. Raises OSError when the folder itself cannot be listed."""
    return sum(_is_picture(name) for _, names in folders(folder) for name in names)


def _walk(folder: str, below: str, endings: tuple[str, ...], left: Leftovers, above: Above) -> Iterator[Found]:
    """below: what stands in front of the names in this folder, with a slash."""
    try:
        here, listing = _listing(folder, endings, above)
    except OSError as error:
        if not below:
            raise
        left.unreadable.append((below[:-1], (error.strerror or str(error)).lower()))
        return
    listing.tell_leftovers(below, left)
    for name in sorted([*listing.pictures, *listing.folders]):
        if name in listing.folders:
            yield from _walk(os.path.join(folder, name), f"{below}{name}/", endings, left, (*above, here))
        else:
            caption, mask = listing.caption_of(name), listing.masks.get(_stem(name), "")
            yield Found(below + name, caption and below + caption, mask and below + mask)


def _listing(folder: str, endings: tuple[str, ...], above: Above) -> tuple[Identity, _Listing]:
    """The folder's identity and its names: none when it is one of those above, where a link would never end."""
    status = os.stat(folder)
    here = status.st_dev, status.st_ino
    listing = _Listing(endings)
    if here not in above:
        listing.read(folder)
    return here, listing


class _Listing:
    """The names in one folder."""

    def __init__(self, endings: tuple[str, ...]) -> None:
        self._endings = endings
        self.pictures: list[str] = []
        self.folders: dict[str, None] = {}
        self.clips: list[str] = []
        self.captions: dict[str, str] = {}  # by name with the ending in small letters
        self.masks: dict[str, str] = {}  # by stem of the picture

    def read(self, folder: str) -> None:
        with os.scandir(folder) as found:
            for entry in found:
                if not entry.name.startswith("."):
                    self._add(entry)

    def _add(self, entry: os.DirEntry[str]) -> None:
        name = entry.name
        stem, dot, ending = name.rpartition(".")
        ending = (dot + ending).lower()
        if is_folder(entry):
            self.folders[name] = None
        elif _is_picture(name):
            self.pictures.append(name)
        elif ending in PICTURE_ENDINGS:
            self._prefer(self.masks, stem.removesuffix(MASK_MARK), name)
        elif ending in self._endings:
            self._prefer(self.captions, stem + ending, name)
        elif ending in CLIP_ENDINGS:
            self.clips.append(name)

    @staticmethod
    def _prefer(names: dict[str, str], key: str, name: str) -> None:
        """Of two files for one thing the usual one, whatever order the system lists them in: `.txt` before `.TXT`."""
        names[key] = max(names.get(key, ""), name, key=lambda known: (known.endswith(".png"), known))

    def caption_of(self, picture: str) -> str:
        """`v1.2.txt` or `v1.2.png.txt` of `v1.2.png`."""
        stem = _stem(picture)
        for ending in self._endings:
            if found := self.captions.get(stem + ending) or self.captions.get(picture + ending):
                return found
        return ""

    def tell_leftovers(self, below: str, left: Leftovers) -> None:
        clips = sorted(self.clips)
        left.clips += (below + name for name in clips)
        owners = {owner for name in (*self.pictures, *clips) for owner in (name, _stem(name))}
        captions = (name for key, name in self.captions.items() if _stem(key) not in owners and not _is_about(key))
        masks = (name for stem, name in self.masks.items() if stem not in owners)
        left.orphans += (below + name for name in sorted([*captions, *masks]))
        left.clashes += self._clashes(below)

    def _clashes(self, below: str) -> Iterator[tuple[str, ...]]:
        stems = Counter(map(_stem, self.pictures))
        sharing: dict[str, list[str]] = {}
        for picture in sorted(name for name in self.pictures if stems[_stem(name)] > 1):
            if caption := self.caption_of(picture):
                sharing.setdefault(caption, []).append(below + picture)
        return (tuple(names) for names in sharing.values() if len(names) > 1)


def _is_picture(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return (dot + ending).lower() in PICTURE_ENDINGS and not stem.endswith(MASK_MARK)


def _stem(name: str) -> str:
    """The name without its ending; a picture always has one."""
    return name.rpartition(".")[0]


def _is_about(caption: str) -> bool:
    """Whether it is a file about the data set."""
    return _stem(caption).casefold() in NOT_CAPTIONS
