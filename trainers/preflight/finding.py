"""One line of the report, and what a button beside it may do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from trainers.preflight.words import WORDS

Level = Literal["ok", "warning", "problem"]
NAMED = 5  # files that a message names


@dataclass(frozen=True)
class Fix:
    """What mends a finding. label: code of the button's words.

    set: `values` are put into the config, by dotted path. show: the Dataset tab shows the files, by `filter`.
    """

    kind: Literal["set", "show"]
    label: str
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    filter: str = ""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    field: dotted path of the setting that it is about, or empty; values: numbers and names in the message, by which
    other languages say the same of this code; fix: for a button, None where people must act themselves.
    """

    level: Level
    code: str
    message: str
    hint: str = ""
    field: str = ""
    values: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    fix: Fix | None = dataclasses.field(default=None, compare=False)


class Count(int):
    """A number that can be said with its noun: format(Count(2), "picture") is "2 pictures"."""

    def __format__(self, noun: str) -> str:
        ending = "" if not noun or self == 1 else "es" if noun.endswith("ch") else "s"
        return f"{int(self):,} {noun}{ending}".rstrip()


@dataclass(frozen=True)
class Reasons:
    """Files of a message, each with why it cannot be used, so that other languages can say that, too."""

    files: tuple[tuple[str, str], ...]

    def said(self, words: Callable[[str], str]) -> str:
        """words: a reason in some language."""
        return named((f"{name}: {words(reason)}" for name, reason in self.files), "; ")

    def __str__(self) -> str:
        return self.said(str)


def tell(level: Level, code: str, field: str = "", fix: Fix | None = None, **values: Any) -> Finding:
    """The finding of a code, in the words of `WORDS`. Whole numbers among the values can be said with a noun."""
    said = {name: Count(value) if type(value) is int else value for name, value in values.items()}
    message, hint = WORDS[code]
    return Finding(level, code, message.format(**said), hint.format(**said), field, said, fix)


def change(label: str, values: dict[str, Any]) -> Fix:
    return Fix("set", label, values)


def show(filter: str) -> Fix:
    """A look at the files that the finding is about."""
    return Fix("show", "show", filter=filter)


def named(names: Iterable[str], separator: str = ", ") -> str:
    """The first few names; dots stand for the others."""
    first = list(islice(names, NAMED + 1))
    return separator.join([*first[:NAMED], "…"] if len(first) > NAMED else first)
