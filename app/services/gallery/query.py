"""Which pictures of a set are shown, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.services.gallery.flags import FILTERS
from app.services.gallery.item import Item
from trainers.errors import DataError

SORTS = ("name", "size", "tokens", "shape", "new")
TERM = re.compile(r'(-?)(?:(tag|name):)?(?:"([^"]*)"?|(\S+))')

Flags = Mapping[str, tuple[str, ...]]  # by pid
Key = Callable[[Item], Any]


@dataclass(frozen=True)
class Query:
    """filter: empty or one of FILTERS; terms: (is left out, "tag", "name" or "" for either, text in small letters)."""

    filter: str
    terms: tuple[tuple[bool, str, str], ...]
    tag: str
    sort: str
    reverse: bool


def parse(values: Mapping[str, Any]) -> Query:
    """A query from a record. Raises DataError for what cannot be one."""
    text = {key: values.get(key, "") for key in ("filter", "search", "tag", "sort")}
    if not all(isinstance(value, str) for value in text.values()):
        raise DataError("This is no query.")
    if text["filter"] not in ("", *FILTERS) or text["sort"] not in ("", *SORTS):
        raise DataError("There is no such filter or order.")
    terms = tuple(
        (bool(minus), kind, found.casefold())
        for minus, kind, quoted, word in TERM.findall(text["search"])
        if (found := quoted or word)
    )
    return Query(text["filter"], terms, text["tag"].casefold(), text["sort"] or "name", bool(values.get("reverse")))


def select(items: Sequence[Item], query: Query, flags: Flags, group: Mapping[str, int], tokens: Key) -> list[Item]:
    """The items of a query in its order. tokens: number of tokens of an item's caption."""
    found = [item for item in items if _is_shown(item, query, flags)]
    if query.sort == "name" and query.filter == "near_duplicate":
        return sorted(found, key=lambda item: (group[item.pid], item.order))
    keys: dict[str, Key] = {
        "name": lambda item: item.order,
        "size": lambda item: item.entry.width * item.entry.height,
        "tokens": tokens,
        "shape": lambda item: item.entry.width / max(1, item.entry.height),
        "new": lambda item: -item.entry.changed_ns,
    }
    return sorted(found, key=keys[query.sort], reverse=query.reverse)


def _is_shown(item: Item, query: Query, flags: Flags) -> bool:
    own = flags[item.pid]
    if (query.filter or "bad" in own) and query.filter not in own:
        return False
    if query.tag and not any(tag.casefold() == query.tag for tag in item.tags):
        return False
    return all(_holds(item, kind, text) != left_out for left_out, kind, text in query.terms)


def _holds(item: Item, kind: str, text: str) -> bool:
    if kind == "tag":
        return any(tag.casefold() == text for tag in item.tags)
    in_name = text in item.name.casefold()
    return in_name if kind == "name" else in_name or text in (item.text or "").casefold()
