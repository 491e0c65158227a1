"""How a folder keeps its pictures and captions, recognised without being told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from trainers.data.decode import CLIP_ENDINGS, PICTURE_ENDINGS
from trainers.data.lookup import Lookup, OutsideError, folders
from trainers.data.simpletuner import BACKEND_FILE
from trainers.data.tables import NAMED_AS_CAPTIONS, NAMED_AS_TABLE, Table, read_captions, read_table

Kind = Literal["flat", "kohya", "imagefolder", "diffsynth", "json", "simpletuner"]

ENDINGS = tuple(PICTURE_ENDINGS | CLIP_ENDINGS)
REPEATS = re.compile(r"(\d+)_(.+)", re.DOTALL)
YEAR = re.compile(r"(19|20)\d\d")
MAX_REPEATS = 9999  # a longer number is a date or a count
REGULARISATION = frozenset({"reg", "regularization", "regularisation", "class_images", "prior"})
MAX_NAMED = 1000
MAX_JSON_FILES = 5


@dataclass(frozen=True, slots=True)
class Concept:
    """What a folder's name says. name: stands in for missing captions; empty for a plain folder `reg`."""

    name: str
    repeats: int
    regularisation: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """What a folder says about its pictures.

    All paths are below the folder, with slashes, and spelled as on the disk. concepts: by folder, "" for the folder
    itself; captions: by picture, never empty; missing: what tables list and is not there, at most MAX_NAMED of
    missing_count; faults: rows that cannot be used, as in "metadata.csv, row 7: no file name", at most MAX_NAMED of
    fault_count; tables: files that captions came from.
    """

    kind: Kind
    concepts: dict[str, Concept] = field(default_factory=dict)
    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    missing_count: int = 0
    faults: tuple[str, ...] = ()
    fault_count: int = 0
    tables: tuple[Path, ...] = ()

    def concept_of(self, rel: str) -> Concept | None:
        """The concept of the nearest folder above a picture."""
        if not self.concepts:
            return None
        while rel:
            rel = rel.rpartition("/")[0]
            if rel in self.concepts:
                return self.concepts[rel]
        return None

    def lines_of(self, rel: str) -> tuple[str, ...] | None:
        """What tables say about a picture; None when they say nothing."""
        return self.captions.get(rel)


def recognise(folder: Path, caption_extension: str) -> Layout:
    """The layout of a folder. caption_extension: as in ".txt,.caption"; such files are never tables.

    Reads the names below the folder and its tables, no picture. Raises OSError when the folder cannot be listed.
    """
    if (folder / BACKEND_FILE).is_file():
        return Layout("simpletuner")
    notes = _Notes()
    concepts, tables = _concepts_and_tables(folder, notes)
    captions = _captions(folder, tables, concepts, tuple(caption_extension.lower().split(",")), notes)
    numbered = any(concept.name for concept in concepts.values())
    return Layout(
        "kohya" if numbered else notes.kind,
        concepts,
        captions,
        tuple(notes.missing),
        notes.missing_count,
        tuple(notes.faults),
        notes.fault_count,
        tuple(folder / rel for rel in notes.tables),
    )


class _Notes:
    """What is noted while tables are read."""

    def __init__(self) -> None:
        self.kind: Kind = "flat"
        self.missing: list[str] = []
        self.faults: list[str] = []
        self.tables: list[str] = []
        self.missing_count = self.fault_count = 0

    def misses(self, file: str) -> None:
        self.missing_count += 1
        if len(self.missing) < MAX_NAMED:
            self.missing.append(file)

    def fails(self, fault: str) -> None:
        self.fault_count += 1
        if len(self.faults) < MAX_NAMED:
            self.faults.append(fault)

    def uses(self, rel: str, table: Table) -> None:
        if not self.tables:
            self.kind = table.kind
        self.tables.append(rel)


# concepts


def _concepts_and_tables(folder: Path, notes: _Notes) -> tuple[dict[str, Concept], list[str]]:
    """The concepts of folders with pictures below them, and the names of tables."""
    named: dict[str, Concept] = {}
    used: set[str] = set()
    tables: list[str] = []
    for base, files in folders(folder):
        rel = base.rstrip("/")
        if concept := _concept(folder, rel, notes):
            named[rel] = concept
        if named and any(name.lower().endswith(ENDINGS) for name in files):
            used.add(_nearest(named, rel))
        tables += sorted(base + name for name in files if NAMED_AS_TABLE.fullmatch(name))
    return {rel: concept for rel, concept in named.items() if rel in used}, tables


def _nearest(named: dict[str, Concept], rel: str) -> str:
    while rel and rel not in named:
        rel = rel.rpartition("/")[0]
    return rel


def _concept(folder: Path, rel: str, notes: _Notes) -> Concept | None:
    """What the name of one folder says, and the names above it."""
    *above, name = rel.split("/") if rel else (folder.parent.name, folder.name)
    match = REPEATS.fullmatch(name)
    repeats = _repeats(match[1]) if match else None
    is_regularisation = any(part.lower() in REGULARISATION for part in above)
    if match and repeats is not None:
        label = match[2].strip()
        if not repeats:
            notes.fails(f"{name}: a folder cannot have 0 repeats; it counts as 1")
        return Concept(label, max(repeats, 1), is_regularisation or label.lower() in REGULARISATION)
    # the folder that a person chose is not a regularisation set because of its plain name
    return Concept("", 1, True) if rel and name.lower() in REGULARISATION else None


def _repeats(digits: str) -> int | None:
    """None for a year or a date, as in 2024_holiday."""
    return None if YEAR.fullmatch(digits) or int(digits) > MAX_REPEATS else int(digits)


# captions


def _captions(
    folder: Path, tables: list[str], concepts: Iterable[str], no_tables: tuple[str, ...], notes: _Notes
) -> dict[str, tuple[str, ...]]:
    """The captions of all tables; of JSON files only where there is no other table, and only of the folder itself and
    of those that name a concept."""
    found = _Captions(folder, notes)
    for rel in tables:
        if not rel.lower().endswith(no_tables):
            found.take(rel, read_table(folder / rel, rel))
    if not notes.tables:
        for rel in (name for base in dict.fromkeys(["", *concepts]) for name in _json_files(folder, base)):
            if not rel.lower().endswith(no_tables):
                found.take(rel, read_captions(folder / rel, rel))
    return found.lines


def _json_files(folder: Path, base: str) -> list[str]:
    """A few JSON files of the folder `base` below, the likeliest first. One named like a picture is that one's own."""
    _, files = next(folders(folder / base))
    candidates = [name for name in files if name.lower().endswith(".json")]
    if not candidates:
        return []
    pictures = {name.rpartition(".")[0] for name in files if name.lower().endswith(ENDINGS)}
    candidates = [name for name in candidates if name.rpartition(".")[0] not in pictures]
    candidates.sort(key=lambda name: (not NAMED_AS_CAPTIONS.fullmatch(name), name))
    return [f"{base}/{name}" if base else name for name in candidates[:MAX_JSON_FILES]]


class _Captions:
    """Gathers the captions of tables under the names of the pictures that are there."""

    def __init__(self, folder: Path, notes: _Notes) -> None:
        self._folder, self._notes = folder, notes
        self.lines: dict[str, tuple[str, ...]] = {}

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self._folder, (base + name for base, files in folders(self._folder) for name in files))

    def take(self, rel: str, table: Table | None) -> None:
        """Add a table's captions. A JSON with none for a picture that is there is something else."""
        if table is None:
            return
        known, missing, faults = self._placed(rel, table)
        if table.kind == "json" and not known and (table.rows or not table.faults):
            return
        self._notes.uses(rel, table)
        for file, lines in known:
            # several rows of one file are several captions
            before = self.lines.get(file)
            self.lines[file] = lines if before is None else tuple(dict.fromkeys(before + lines))
        for file in missing:
            self._notes.misses(file)
        for fault in [*table.faults, *faults]:
            self._notes.fails(fault)

    def _placed(self, rel: str, table: Table) -> tuple[list[tuple[str, tuple[str, ...]]], list[str], list[str]]:
        """Files that are there with their captions, names of those that are not, faults."""
        known, missing, faults = [], [], []
        base, is_json = rel.rpartition("/")[0], table.kind == "json"
        for number, file, lines in table.rows:
            try:
                place = self._lookup.find(file, base, stems=is_json)
            except OutsideError:
                if not is_json or file.lower().endswith(ENDINGS):
                    faults.append(f"{rel}, row {number}: {file} lies outside the folder")
                continue
            if place:
                known.append((place, lines))
            elif not is_json or file.lower().endswith(ENDINGS):  # other keys of a JSON are no files
                missing.append(file)
        return known, missing, faults
