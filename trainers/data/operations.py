"""Edits of captions, many at a time: pure functions.

A caption of several lines is several captions: each line is edited by itself, and blank ones stay. What an operation
does not touch stays as it is written, letter for letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trainers.data.tags import KEEP_MARK, tags_of

Kind = Literal[
    "replace",
    "prefix",
    "suffix",
    "trigger",
    "add",
    "remove",
    "rename",
    "sort",
    "dedupe",
    "trim",
    "spaces",
    "underscores",
    "set",
    "clear",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
TAKES_TAGS_APART: frozenset[Kind] = frozenset({"sort", "dedupe", "spaces", "underscores"})  # wrong for sentences
NEEDS: dict[str, str] = {"replace": "find", "prefix": "text", "suffix": "text", "trigger": "text", "set": "text"}
NEEDS |= {"add": "tag", "remove": "tag", "rename": "tag"}
MAX_TEXT = 100_000  # letters of a value: far more than a caption has

KAOMOJI = re.compile(r"[^A-Za-z]{0,3}[A-Za-z]?_[A-Za-z]?[^A-Za-z]{0,3}")  # faces such as ^_^, o_o and >_<

Frequencies = Mapping[str, int]


@dataclass(frozen=True)
class Operation:
    """One kind of edit.

    replace: `find` becomes `replacement`; regex, case: as an expression, in capitals as given. prefix, suffix: `text`
    where it is not there already; trigger: `text` as a first tag where the caption lacks it. add: `tag` as number `at`
    (0 is the first, -1 the last) where it is missing; remove, rename (to `to`): `tag`. sort: by the alphabet or by
    frequency, the frequent ones first. dedupe: the first of equal tags stays. trim: no blanks around, no double ones,
    no empty tags. spaces, underscores: between the words of tags. set: `text` is the caption. clear: no caption text.
    """

    kind: Kind
    find: str = ""
    replacement: str = ""
    regex: bool = False
    case: bool = False
    text: str = ""
    tag: str = ""
    to: str = ""
    at: int = -1
    by: Literal["alphabet", "frequency"] = "alphabet"

    @property
    def label(self) -> str:
        """What it does, in one line, as in "replace: cat > dog"."""
        said = {
            "replace": f"{self.find} > {self.replacement}",
            "rename": f"{self.tag} > {self.to}",
            "sort": self.by,
        }.get(self.kind, self.text or self.tag)
        return f"{self.kind}: {' '.join(said.split())[:80]}".strip(": ")


@dataclass(frozen=True, slots=True)
class Edited:
    """A text, and how many places of it were changed."""

    text: str
    changes: int


def parse(values: Mapping[str, Any]) -> Operation:
    """An operation from a record, as in {"kind": "replace", "find": "cat", "with": "dog", "regex": false}.

    at: "first", "last" or a number. Raises ValueError with a sentence for what cannot be used.
    """
    given = {("replacement" if key == "with" else key): value for key, value in values.items()}
    if given.get("kind") not in KINDS:
        raise ValueError(f"There is no operation {given.get('kind')!r}.")
    if given.get("at") in ("first", "last"):
        given["at"] = 0 if given["at"] == "first" else -1
    _check_types(given)
    operation = Operation(**given)
    needed = NEEDS.get(operation.kind, "")
    if operation.kind == "replace" and not operation.find:  # blanks may be looked for
        raise ValueError("Say what to look for.")
    if operation.kind != "replace" and needed and not getattr(operation, needed).strip():
        raise ValueError(f"Say which {needed}.")
    if "\n" in operation.text and operation.kind != "set":
        raise ValueError("Give one line of text.")
    if "," in operation.tag:
        raise ValueError("A tag has no comma. Give one tag.")
    if operation.kind == "rename" and not operation.to.strip():
        raise ValueError("Say what the tag becomes, or remove it.")
    if operation.regex:
        _check_expression(operation)
    return operation


def _check_types(given: Mapping[str, Any]) -> None:
    defaults = Operation("clear")
    for key, value in given.items():
        if not hasattr(defaults, key) or key == "label":
            raise ValueError(f"An operation has no {key!r}.")
        if type(value) is not type(getattr(defaults, key)):
            raise ValueError(f"{key!r} cannot be {value!r}.")
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise ValueError(f"{key!r} is too long.")
    if given.get("by", "alphabet") not in ("alphabet", "frequency"):
        raise ValueError("Tags are sorted by alphabet or by frequency.")


def _check_expression(operation: Operation) -> None:
    try:
        # the empty alternative always matches, so that the replacement is read too
        re.compile(f"{operation.find}|").sub(operation.replacement, "")
    except re.error as error:
        raise ValueError(f"The expression cannot be used: {error}.") from error


def apply(operation: Operation, text: str, frequencies: Frequencies | None = None) -> str:
    """The text after the operation. frequencies: how often each tag is there, to sort by."""
    return edited(operation, text, frequencies).text


def edited(operation: Operation, text: str, frequencies: Frequencies | None = None) -> Edited:
    """The same, with the number of changes."""
    if operation.kind in ("set", "clear"):
        return Edited(operation.text, int(operation.text != text))
    edit = _line_edit(operation, frequencies or {})
    lines = text.split("\n")
    # an empty caption can get a first tag; a blank line between captions is no caption
    meant = [bool(line.strip()) or (number == 0 and not text.strip()) for number, line in enumerate(lines)]
    found = [edit(line) if is_meant else (line, 0) for line, is_meant in zip(lines, meant, strict=True)]
    return Edited("\n".join(line for line, _ in found), sum(changes for _, changes in found))


LineEdit = Callable[[str], tuple[str, int]]


def _line_edit(operation: Operation, frequencies: Frequencies) -> LineEdit:
    if operation.kind == "replace":
        return _replacing(operation)
    if operation.kind == "trim":
        return lambda line: _told(line, _trimmed(line))
    if operation.kind in ("prefix", "suffix", "trigger"):
        return lambda line: _told(line, _with_text(operation, line))
    return lambda line: _with_tags(line, _tag_edit(operation, frequencies))


def _told(before: str, after: str) -> tuple[str, int]:
    return after, int(after != before)


def _replacing(operation: Operation) -> LineEdit:
    flags = re.NOFLAG if operation.case else re.IGNORECASE
    if operation.regex:
        expression = re.compile(operation.find, flags)
        return lambda line: expression.subn(operation.replacement, line)
    words = re.compile(re.escape(operation.find), flags)
    return lambda line: words.subn(lambda _: operation.replacement, line)


def _trimmed(line: str) -> str:
    return ", ".join(" ".join(tag.split()) for tag in tags_of(line))


def _with_text(operation: Operation, line: str) -> str:
    text, bare = operation.text, line.strip()
    if operation.kind == "trigger":
        text = text.strip()
        return line if text.casefold() in line.casefold() else ", ".join(filter(None, [text, bare]))
    if operation.kind == "prefix":
        return line if bare.startswith(text.strip()) else _beside(text, bare)
    return line if bare.endswith(text.strip()) else _beside(bare, text)


def _beside(left: str, right: str) -> str:
    """Two texts with a blank between them where one is needed."""
    is_close = not left or not right or left[-1].isspace() or right[0].isspace() or right[0] in ",.;:!?)"
    return left + right if is_close else f"{left} {right}"


Parts = list[list[str]]  # tags between keep marks
TagEdit = Callable[[Parts], int]  # edits the lists, and says how many changes it made


def _with_tags(line: str, edit: TagEdit) -> tuple[str, int]:
    written = line.split(KEEP_MARK)
    parts = [tags_of(part) for part in written]
    before = [list(part) for part in parts]
    if not (changes := edit(parts)):
        return line, 0
    rest = (
        text if tags == old else _framed(text, ", ".join(tags))
        for text, tags, old in zip(written, parts, before, strict=True)
    )
    return KEEP_MARK.join(rest), changes


def _framed(written: str, text: str) -> str:
    """The new text between the blanks of the written one."""
    bare = written.strip()
    if not bare:
        return text
    start = written.index(bare)
    return written[:start] + text + written[start + len(bare) :]


def _tag_edit(operation: Operation, frequencies: Frequencies) -> TagEdit:
    tag, to = (" ".join(text.split()) for text in (operation.tag, operation.to))
    edits: dict[Kind, TagEdit] = {
        "add": lambda parts: _add(parts, tag, operation.at),
        "remove": lambda parts: _rewrite(parts, lambda known: "" if _same(known, tag) else known),
        "rename": lambda parts: _rename(parts, tag, to),
        "sort": lambda parts: _sort(parts, frequencies if operation.by == "frequency" else {}),
        "dedupe": _dedupe,
        "spaces": lambda parts: _rewrite(parts, lambda known: _unlined(known, "_", " ")),
        "underscores": lambda parts: _rewrite(parts, lambda known: _unlined(known, " ", "_")),
    }
    return edits[operation.kind]


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _add(parts: Parts, tag: str, at: int) -> int:
    if any(_same(known, tag) for part in parts for known in part):
        return 0
    part = parts[0] if at >= 0 else parts[-1]
    part.insert(at if at >= 0 else len(part) + 1 + at, tag)
    return 1


def _rewrite(parts: Parts, new: Callable[[str], str]) -> int:
    """Every tag as `new` says; an empty one goes."""
    changes = 0
    for part in parts:
        found = [new(tag) for tag in part]
        changes += sum(tag != old for tag, old in zip(found, part, strict=True))
        part[:] = filter(None, found)
    return changes


def _rename(parts: Parts, tag: str, to: str) -> int:
    changes = _rewrite(parts, lambda known: to if _same(known, tag) else known)
    if changes:
        _rewrite(parts, _once(lambda known: _same(known, to)))
    return changes


def _dedupe(parts: Parts) -> int:
    return _rewrite(parts, _once(lambda _: True))


def _once(is_meant: Callable[[str], bool]) -> Callable[[str], str]:
    """Empties the tags in question that came before."""
    seen: set[str] = set()

    def new(tag: str) -> str:
        key = tag.casefold()
        if not is_meant(tag) or key not in seen:
            seen.add(key)
            return tag
        return ""

    return new


def _sort(parts: Parts, frequencies: Frequencies) -> int:
    """Without frequencies by the alphabet."""
    changes = 0
    for part in parts:
        found = sorted(part, key=lambda tag: (-frequencies.get(tag, 0), tag.casefold()))
        changes += found != part
        part[:] = found
    return changes


def _unlined(tag: str, old: str, new: str) -> str:
    return tag if KAOMOJI.fullmatch(tag) else tag.replace(old, new)
