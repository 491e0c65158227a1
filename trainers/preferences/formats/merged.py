"""Another preference set, prefset.v1: all that it holds, as it is. Light."""

from __future__ import annotations

from pathlib import Path

from trainers.preferences.formats.incoming import Incoming
from trainers.preferences.formats.places import UnusableError
from trainers.preferences.prefset import Prefset


def is_set(folder: Path) -> bool:
    return (folder / "set.json").is_file()


def read_set(folder: Path, incoming: Incoming) -> None:
    """Votes keep their ids and tombstones, so that copies of a set that people labelled apart become one again.

    Raises DataError for a set of another schema, OSError.
    """
    other = Prefset(folder)
    taken: set[tuple[str, str]] = set()
    for prompt in other.prompts.values():
        with incoming.row(f"prompts.jsonl, {prompt.prompt_id}"):
            prompt_id = incoming.prompt(prompt.prompt, prompt.negative)
            if prompt_id != prompt.prompt_id:
                raise UnusableError("its id is not that of its text")
            taken |= _pictures(other, prompt_id, incoming)
    pairs = set()
    for pair in other.pairs.values():
        if {(pair.prompt_id, pair.a), (pair.prompt_id, pair.b)} <= taken:
            incoming.pair_as_is(pair)
            pairs.add(pair.pair_id)
    for score in other.scores.values():
        if (score.prompt_id, score.image_id) in taken:
            incoming.score(score)
    for vote in other.votes.events():
        if vote.pair_id in pairs:
            incoming.vote_as_is(vote)


def _pictures(other: Prefset, prompt_id: str, incoming: Incoming) -> set[tuple[str, str]]:
    taken = set()
    for picture in other.pictures_of(prompt_id):
        with incoming.row(f"images.jsonl, {picture.path}"):
            found = incoming.picture(prompt_id, picture.path, other.folder, picture.source, picture.gen)
            if found != picture.image_id:
                raise UnusableError("the file has changed since it was listed")
            taken.add((prompt_id, found))
    return taken
