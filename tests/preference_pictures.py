"""Preference sets with real picture files, and what is in them by the names that tests gave."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from tests.pictures import encoded
from trainers.preferences.prefset import Auto, Pair, Picture, Prefset, Source, image_id_of, make_pair
from trainers.preferences.training_pairs import TrainingPair
from trainers.preferences.votes import Choice, Vote, left_of


def png(name: str, size: tuple[int, int] = (24, 16)) -> bytes:
    """A PNG of one colour, which follows from the name."""
    return encoded(Image.new("RGB", size, tuple(hashlib.sha256(name.encode()).digest()[:3])), "PNG")


def add(prefset: Prefset, prompt: str, name: str, source: Source = "generated", **gen: object) -> str:
    """Draw a picture for the prompt; its id. The file is named as an import would name it."""
    data = png(name)
    image_id = image_id_of(data)
    path = f"images/{image_id[:32]}.png"
    (prefset.folder / path).write_bytes(data)
    (written,) = prefset.add_prompts([(prompt, "")])
    prefset.add_pictures([Picture(image_id, written.prompt_id, path, 24, 16, source, gen)])
    return image_id


def add_pair(prefset: Prefset, prompt: str, one: str, other: str, auto: Auto | None = None) -> Pair:
    """Draw two pictures and pair them. auto: in terms of the pair's own a and b."""
    (written,) = prefset.add_prompts([(prompt, "")])
    pair = make_pair(add(prefset, prompt, one), add(prefset, prompt, other), written.prompt_id, "auto", auto)
    prefset.add_pairs([pair])
    return pair


def side(pair: Pair, name: str) -> Choice:
    """The side of the picture of this name."""
    return "a" if pair.a == image_id_of(png(name)) else "b"


def say(prefset: Prefset, pair: Pair, choice: Choice, annotator: str = "ann", *, repeat: bool = False) -> None:
    left = left_of(pair.pair_id, annotator, repeat=repeat)
    vote_id = f"{annotator} {pair.pair_id} {repeat}"
    prefset.votes.add(Vote(vote_id, pair.pair_id, annotator, choice, left, 900, 1.5, repeat))


def prefer(prefset: Prefset, pair: Pair, name: str, annotator: str = "ann", *, repeat: bool = False) -> None:
    """The person votes for the picture of this name."""
    say(prefset, pair, side(pair, name), annotator, repeat=repeat)


def names(row: TrainingPair, known: tuple[str, ...]) -> tuple[str, str]:
    """What a row says is chosen and rejected, by names; "" for none. The files are read, so what counts is their
    content."""
    by_content = {png(name): name for name in known}
    chosen, rejected = (by_content[Path(path).read_bytes()] if path else "" for path in (row.chosen, row.rejected))
    return chosen, rejected
