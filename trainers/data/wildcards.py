"""Choices in a caption: {a|b} is a or b. Pure functions."""

from __future__ import annotations

from collections.abc import Callable

Groups = dict[int, tuple[int, list[int]]]  # opening brace -> (its closing brace, bars between its options)


def choose(text: str, pick: Callable[[int, int], int]) -> str:
    """The text with one option of each choice; choices may lie in options.

    pick(place, number) says which of `number` options the choice that begins at `place` becomes. Braces that hold no
    bar of their own, that have no partner, or that are doubled, as in {{a|b}}, stay as they are.
    """
    return _expanded(text, 0, len(text), _groups(text), pick) if "{" in text else text


def has_choices(text: str) -> bool:
    asked: list[int] = []

    def pick(place: int, options: int) -> int:
        asked.append(place)
        return 0

    choose(text, pick)
    return bool(asked)


def _groups(text: str) -> Groups:
    groups: Groups = {}
    opened: list[tuple[int, list[int]]] = []
    for place, letter in enumerate(text):
        if letter == "{":
            opened.append((place, []))
        elif letter == "|" and opened:
            opened[-1][1].append(place)
        elif letter == "}" and opened:
            start, bars = opened.pop()
            groups[start] = place, bars
    return groups


def _expanded(text: str, start: int, end: int, groups: Groups, pick: Callable[[int, int], int]) -> str:
    parts = []
    place = start
    while place < end:
        if place not in groups:
            parts.append(text[place])
            place += 1
            continue
        close, bars = groups[place]
        if groups.get(place + 1, (None,))[0] == close - 1:
            parts.append(text[place : close + 1])
        elif bars:
            edges = [place, *bars, close]
            which = pick(place, len(edges) - 1)
            parts.append(_expanded(text, edges[which] + 1, edges[which + 1], groups, pick))
        else:
            parts.append("{" + _expanded(text, place + 1, close, groups, pick) + "}")
        place = close + 1
    return "".join(parts)
