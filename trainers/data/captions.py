"""From the text beside a picture to the text that the model reads. Pure functions, no torch."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from trainers.config import Captions
from trainers.data.wildcards import choose, has_choices

Pick = Callable[[int, int], int]  # (place of the choice in the text, number of options) -> option


def stand_in(concept: str, folder: str, config: Captions) -> str:
    """What stands in for a missing caption.

    concept: name of the kohya folder that the picture is in, or empty; folder: name of its folder.
    """
    match config.fallback:
        case "concept":
            return concept or config.trigger
        case "folder":
            return concept or folder  # the name of 10_dog is dog
        case "trigger":
            return config.trigger
        case "empty":
            return ""


def written(lines: Sequence[str] | None, config: Captions, stand_in: str) -> tuple[str, ...]:
    """The captions of a picture before anything is drawn. lines: None for no caption at all."""
    texts = tuple(lines or ())
    if not texts:
        return (stand_in,)
    match config.lines:
        case "draw":
            return texts
        case "first":
            return texts[:1]
        case "join":
            return (" ".join(texts),)


def variants(lines: Sequence[str] | None, config: Captions, stand_in: str) -> tuple[str, ...]:
    """The texts that a visit draws one of, but for the empty one of dropout. They follow from the captions alone.

    The first has the written order, the first choices and all tags. Each line has the same number of them, at most
    `config.variants`, so that all lines are as likely; a text that is more likely than others stands there more often.
    """
    texts = written(lines, config, stand_in)
    number = config.variants if is_random(config, texts) else 1
    return tuple(_variant(text, config, which) for text in texts for which in range(number))


def live(lines: Sequence[str] | None, config: Captions, stand_in: str, *keys: int | str) -> str:
    """The text of one visit before dropout, with no limit of variants; it follows from the captions and `keys`."""
    rng = random.Random(repr(("live", *keys)))  # not the numbers that `draw` decides dropout by
    text = rng.choice(written(lines, config, stand_in))
    return _arranged(_chosen(text, config, lambda _, options: rng.randrange(options)), config, rng)


def draw(texts: Sequence[str], dropout: float, *keys: int | str) -> str:
    """The text of one visit; it follows from `keys` alone."""
    rng = random.Random(repr(keys))
    if rng.random() < dropout:
        return ""
    return texts[rng.randrange(len(texts))]


def is_random(config: Captions, texts: Sequence[str]) -> bool:
    """Whether one of these captions may be seen in several forms; several lines and dropout do not count."""
    return any((config.wildcards and has_choices(text)) or _tags_move(text, config) for text in texts)


def preserved(text: str, trigger: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The caption with each of `words` in the trigger's place; the empty one when there is no place or no word."""
    if not trigger or not words or trigger.lower() not in text.lower():
        return ("",)
    pattern = re.compile(re.escape(trigger), re.IGNORECASE)
    return tuple(pattern.sub(word.replace("\\", "\\\\"), text) for word in words)


# --------------------------------------------------------------------------- one text


def _variant(text: str, config: Captions, which: int) -> str:
    def pick(place: int, options: int) -> int:
        # each option once before any comes again: few variants show as many options as they can
        rounds, position = divmod(which, options)
        first = [] if rounds else [0]
        rest = list(range(len(first), options))
        random.Random(f"{text}:{place}:{rounds}").shuffle(rest)
        return [*first, *rest][position]

    return _arranged(_chosen(text, config, pick), config, random.Random(f"{text}:{which}") if which else None)


def _chosen(text: str, config: Captions, pick: Pick) -> str:
    return choose(text, pick) if config.wildcards else text


def _arranged(text: str, config: Captions, rng: random.Random | None) -> str:
    """Tags left out and put in order, then trigger word, prefix and suffix. rng: None for the written order."""
    front, flexible, back = _parts(text, config)
    if _moves(flexible, config):
        if rng:
            flexible = _drawn(flexible, front + back, config, rng)
        text = _glue(config.separator).join([*front, *flexible, *back])
    elif config.keep_separator and config.keep_separator in text:
        text = _unmarked(text, config)
    if not _holds(config.prefix + "\n" + text + "\n" + config.suffix, config.trigger):
        text = f"{config.trigger}{_glue(config.separator)}{text}" if text else config.trigger
    if not text.startswith(config.prefix):
        text = _beside(config.prefix, text)
    return text if text.endswith(config.suffix) else _beside(text, config.suffix)


def _drawn(tags: list[str], others: list[str], config: Captions, rng: random.Random) -> list[str]:
    """Some tags, in some order. Never none at all: that would be a dropout of the whole caption."""
    kept = tags
    if config.tag_dropout:
        trigger = config.trigger
        kept = [t for t in tags if rng.random() >= config.tag_dropout or (trigger and _holds(t, trigger))]
        kept = kept if kept or others else tags[:1]
    if config.shuffle:
        kept = list(kept)
        rng.shuffle(kept)
    return kept


def _parts(text: str, config: Captions) -> tuple[list[str], list[str], list[str]]:
    """Tags that stay in front, that move, and that stay behind."""
    mark = config.keep_separator
    if mark and mark in text:
        front, flexible, *back = text.split(mark, 2)
        behind = back[0].replace(mark, config.separator) if back else ""
        return _tags(front, config), _tags(flexible, config), _tags(behind, config)
    tags = _tags(text, config)
    return tags[: config.keep_tokens], tags[config.keep_tokens :], []


def _tags(text: str, config: Captions) -> list[str]:
    return [tag.strip() for tag in text.split(config.separator) if tag.strip()]


def _tags_move(text: str, config: Captions) -> bool:
    return (config.shuffle or config.tag_dropout > 0) and _moves(_parts(text, config)[1], config)


def _moves(tags: list[str], config: Captions) -> bool:
    return (config.tag_dropout > 0 and bool(tags)) or (config.shuffle and len(tags) > 1)


def _unmarked(text: str, config: Captions) -> str:
    """Without the marks of kept tags; what lies between them stays as it is written."""
    around = f" \t{config.separator}"
    parts = (part.strip(around) for part in text.split(config.keep_separator))
    return _glue(config.separator).join(part for part in parts if part)


def _holds(text: str, trigger: str) -> bool:
    return trigger.lower() in text.lower()


def _glue(separator: str) -> str:
    return separator if separator[-1].isspace() else f"{separator} "


def _beside(left: str, right: str) -> str:
    """Two texts with a space between, where none is there and none is wrong."""
    if not left or not right or left[-1].isspace() or right[0].isspace() or right[0] in ",.;:":
        return left + right
    return f"{left} {right}"
