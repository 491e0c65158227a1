"""From the text beside a picture to the text that the model reads. Pure functions, no torch."""

from __future__ import annotations

import random
import re

from trainers.config import Captions

SHUFFLES = 8  # orders of tags that a caption is encoded in; each visit draws one of them


def with_trigger(caption: str | None, trigger: str) -> str:
    """The caption, with the trigger word in front where it is missing; a missing caption is the trigger alone."""
    if not caption:
        return trigger
    if trigger and trigger.lower() not in caption.lower():
        return f"{trigger}, {caption}"
    return caption


def variants(caption: str | None, config: Captions) -> tuple[str, ...]:
    """Every text that a visit may see, but for the empty one of dropout. The first keeps the written order."""
    text = with_trigger(caption, config.trigger)
    if not config.shuffle:
        return (text,)
    tags = [tag.strip() for tag in text.split(",") if tag.strip()]
    kept, rest = tags[: config.keep_tokens], tags[config.keep_tokens :]
    found = [", ".join(tags)]
    for number in range(1, SHUFFLES):
        order = list(rest)
        random.Random(f"{text}:{number}").shuffle(order)
        found.append(", ".join(kept + order))
    return tuple(dict.fromkeys(found))


def draw(texts: tuple[str, ...], dropout: float, *keys: int | str) -> str:
    """The text of one visit; it follows from `keys` alone."""
    rng = random.Random(repr(keys))
    if rng.random() < dropout:
        return ""
    return texts[rng.randrange(len(texts))]


def preserved(text: str, trigger: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The caption with each of `words` in the trigger's place; the empty one when there is no place or no word."""
    if not trigger or not words or trigger.lower() not in text.lower():
        return ("",)
    pattern = re.compile(re.escape(trigger), re.IGNORECASE)
    return tuple(pattern.sub(lambda _, word=word: word, text) for word in words)
