"""A labelled set and what tests of exports and imports ask of it."""

from __future__ import annotations

from pathlib import Path

from tests.preference_pictures import add_pair, prefer, say
from trainers.preferences.formats.incoming import Imported
from trainers.preferences.prefset import Auto, Prefset


def labelled_set(folder: Path) -> Prefset:
    """Three prompts: a clear winner against the scores, a majority with repeats, a pair that only scores have seen."""
    prefset = Prefset.create(folder)
    first = add_pair(prefset, "ein Tier, 動物", "cat", "dog", Auto("a", 0.75, 1.0))
    say(prefset, first, "b")
    second = add_pair(prefset, "a bird", "fox", "owl")
    for person in ("p1", "p2", "p3"):
        prefer(prefset, second, "owl", person)
    prefer(prefset, second, "fox", "p3", repeat=True)
    add_pair(prefset, "a farm", "hen", "cow", Auto("b", 1.5, 1.0))
    return prefset


def tree(path: Path) -> dict[str, bytes]:
    """The content of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {one.relative_to(path.parent).as_posix(): one.read_bytes() for one in files}


def added(result: Imported) -> int:
    return result.prompts + result.pictures + result.pairs + result.votes + result.scores


def votes_of(prefset: Prefset) -> int:
    return len(prefset.votes.standing())
