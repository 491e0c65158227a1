"""Folders chosen/ and rejected/ with pictures of the same names, and captions beside them. Light."""

from __future__ import annotations

from pathlib import Path
from posixpath import splitext

from trainers.data.decode import PICTURE_ENDINGS
from trainers.data.lookup import folders
from trainers.data.text import TextError, read_text
from trainers.preferences.formats.incoming import Incoming, sides_of
from trainers.preferences.formats.places import UnusableError

SIDES = ("chosen", "rejected")


def is_two_folders(folder: Path) -> bool:
    return all((folder / side).is_dir() for side in SIDES)


def read_two_folders(folder: Path, incoming: Incoming) -> None:
    """Pictures below belong together that have the same path but for the ending; the caption is in PATH.txt of either
    side. Raises OSError."""
    found = {side: _by_stem(folder / side, side, incoming) for side in SIDES}
    for stem in sorted(found["chosen"].keys() | found["rejected"].keys()):
        with incoming.row(stem):
            for side in SIDES:
                if stem not in found[side]:
                    raise UnusableError(f"no picture of this name in {side}/")
            prompt_id = incoming.prompt(_caption(folder, stem))
            winner, loser = (
                incoming.picture(prompt_id, found[side][stem], folder / side, "external") for side in SIDES
            )
            pair = incoming.pair(prompt_id, winner, loser)
            incoming.vote(pair, sides_of(pair, winner)[0], incoming.reading.annotator)


def _by_stem(folder: Path, side: str, incoming: Incoming) -> dict[str, str]:
    """Names of pictures by what they are without the ending."""
    found: dict[str, str] = {}
    doubled: set[str] = set()
    for base, names in folders(folder):
        for name in sorted(names):
            stem, ending = splitext(f"{base}{name}")
            if ending.lower() in PICTURE_ENDINGS:
                doubled |= {stem} & found.keys()
                found[stem] = f"{base}{name}"
    for stem in sorted(doubled):
        incoming.fault(f"{stem}: several pictures of this name in {side}/, of which {found[stem]} is taken")
    return found


def _caption(folder: Path, stem: str) -> str:
    for side in SIDES:
        path = folder / side / f"{stem}.txt"
        if path.is_file():
            try:
                return read_text(path).strip()
            except TextError as error:
                raise UnusableError(error.reason) from error
    raise UnusableError(f"no caption ({stem}.txt) in chosen/ or rejected/")
