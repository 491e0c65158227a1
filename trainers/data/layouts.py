"""How a folder keeps its pictures and captions, recognised without being told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["flat", "kohya", "imagefolder", "diffsynth", "json", "simpletuner"]


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
        while self.concepts:
            rel = rel.rpartition("/")[0]
            if rel in self.concepts:
                return self.concepts[rel]
            if not rel:
                break
        return None

    def lines_of(self, rel: str) -> tuple[str, ...] | None:
        """What tables say about a picture; None when they say nothing."""
        return self.captions.get(rel)


def recognise(folder: Path, caption_extension: str) -> Layout:
    """The layout of a folder. Raises OSError when the folder cannot be listed."""
    return Layout("flat")
