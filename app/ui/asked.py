"""Arguments of the page's server functions. They come from the network, so each is checked; all raise ValueError."""

from __future__ import annotations

from typing import Any

ID_LETTERS = 12
RUN_LETTERS = 200


def text(value: Any, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"a text of at most {longest} letters is needed")
    return value


def run(value: Any) -> str:
    """The id of a run."""
    if not isinstance(value, str) or not 0 < len(value) <= RUN_LETTERS:
        raise ValueError("a run is named by a short text")
    return value


def id(value: Any) -> str:
    """Of a data set, or of a picture in one."""
    if not isinstance(value, str) or len(value) != ID_LETTERS or not value.isalnum():
        raise ValueError("a set and a picture are named by twelve letters")
    return value


def ids(value: Any, most: int, least: int = 0) -> list[str]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise ValueError(f"a list of {least} to {most} pictures is needed")
    return [id(one) for one in value]


def count(value: Any) -> int:
    """A position, or a number of things."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a position is a whole number")
    return value


def parts(value: Any, count: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"{count} values are needed")
    return value
