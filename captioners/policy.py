"""What becomes of a model's text, and of the caption that was there: pure functions. Light."""

from __future__ import annotations

import re
import unicodedata

from captioners.config import ARROW, Existing, Policy
from trainers.data import operations
from trainers.data.operations import Operation
from trainers.data.tags import is_tags, tags_of

SPECIAL_TOKEN = re.compile(r"</?s>|<pad>|<unk>|<image>|<\|[A-Za-z0-9_]{1,40}\|>")
SENTENCE_ENDS = ".!?:;\u3002\uff01\uff1f"


def wants(existing: Existing, before: str | None) -> bool:
    """Whether a picture gets a new text. before: its caption, None for none."""
    if existing == "skip":
        return before is None
    return existing != "fill" or not (before or "").strip()


def polished(policy: Policy, text: str) -> str:
    """A model's text as it will be written: one line, without preamble, with replacements, prefix and suffix."""
    line = one_line(text)
    if policy.strip_preamble:
        line = _without_preamble(line, policy.preambles)
    for replacement in policy.replacements:
        find, _, by = replacement.partition(ARROW)
        line = operations.apply(Operation("replace", find=find.strip(), replacement=by.strip()), line)
    if policy.blacklist and is_tags(line):
        for tag in policy.blacklist:
            line = operations.apply(Operation("remove", tag=tag), line)
    line = " ".join(line.split())
    if not line:
        return ""
    if policy.prefix:
        line = operations.apply(Operation("prefix", text=policy.prefix), line)
    if policy.suffix:
        line = operations.apply(Operation("suffix", text=policy.suffix), line)
    return line


def one_line(text: str) -> str:
    """NFC, without control characters and leftovers of special tokens; line ends become blanks.

    A line of its own would be a caption of its own for most trainers, and the others read the first one only.
    """
    bare = SPECIAL_TOKEN.sub(" ", unicodedata.normalize("NFC", text))
    kept = (sign for sign in bare if sign.isspace() or unicodedata.category(sign) not in ("Cc", "Cs", "Co", "Cn"))
    return " ".join("".join(kept).split())


def _without_preamble(line: str, preambles: tuple[str, ...]) -> str:
    for phrase in sorted(preambles, key=len, reverse=True):
        if line.casefold().startswith(f"{phrase.casefold()} "):
            rest = line[len(phrase) :].lstrip(" ,:")
            return rest[:1].upper() + rest[1:]
    return line


def composed(policy: Policy, before: str | None, new: str) -> str:
    """The whole text of the caption file. before: its text now; new: as `polished` gives it.

    A caption of several lines is several captions: each of them gets the addition.
    """
    old = before or ""
    lines = [line for line in old.split("\n") if line.strip()]
    if not lines or policy.existing in ("skip", "fill", "replace"):
        found = [new]
    elif policy.existing == "line":
        found = lines if new in (line.strip() for line in lines) else [*lines, new]
    else:
        found = [_joined(policy, line.strip(), new) for line in lines]
    if policy.trigger.strip():
        found = [operations.apply(Operation("trigger", text=policy.trigger), line) for line in found]
    end = "\n" if old.endswith("\n") else ""
    return "\n".join(found) + end


def _joined(policy: Policy, old: str, new: str) -> str:
    """Tags are joined without those that are there already."""
    if is_tags(old) and is_tags(new):
        known = {tag.casefold() for tag in tags_of(old)}
        new = policy.separator.join(tag for tag in tags_of(new) if tag.casefold() not in known)
    first, second = (old, new) if policy.existing == "append" else (new, old)
    if not first or not second:
        return first or second
    return f"{first} {second}" if first[-1] in SENTENCE_ENDS else f"{first}{policy.separator}{second}"
