"""The tags in a caption: pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

KEEP_MARK = "|||"
TAG_WORDS = 3.5  # on average; parts of sentences are longer
SENTENCE = re.compile(r"[.!?。！？]$|[.!?]\s+[A-Z]|[。！？]")  # noqa: RUF001 - full-width marks are meant
IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")  # two or three make a word


def split_tags(line: str) -> list[str]:
    """The parts between commas, as they are written; a choice such as {red, blue|green} is not taken apart."""
    parts, depth = [""], 0
    for letter in line:
        depth += (letter == "{") - (letter == "}" and depth > 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts if not depth else line.split(",")


def tags_of(line: str) -> list[str]:
    """The tags of a line, without blanks around them and without empty ones."""
    parts = split_tags(line) if "{" in line else line.split(",")
    return [tag for part in parts if (tag := part.strip())]


def tags_in(text: str) -> list[str]:
    """The tags of a caption, each once, in order; lines and keep marks are like commas."""
    pieces = text.replace(KEEP_MARK, "\n").split("\n")
    return list(dict.fromkeys(tag for piece in pieces for tag in tags_of(piece)))


def frequencies(texts: Iterable[str]) -> Counter[str]:
    """In how many captions each tag is, as it is written."""
    return Counter(tag for text in texts for tag in tags_in(text))


def is_tags(text: str) -> bool:
    """Whether a caption reads as tags, and not as sentences; an empty one does."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return all(_is_line_of_tags(line) for line in lines)


def _is_line_of_tags(line: str) -> bool:
    if SENTENCE.search(line):
        return False
    tags = tags_of(line.replace(KEEP_MARK, ","))
    words = sum(max(len(tag.replace("_", " ").split()), len(IDEOGRAPHS.findall(tag)) / 3) for tag in tags)
    return not tags or words / len(tags) <= TAG_WORDS
