"""Changes of captions and pictures of a data set. All go through its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.services.gallery.collection import Collection
from app.services.gallery.details import shown, stamp_of
from app.services.gallery.item import Item
from trainers.data import operations
from trainers.data.decode import PICTURE_ENDINGS
from trainers.data.edits import TRASH, Change, Move, Outcome, Skipped, caption_text, cleaned
from trainers.data.operations import TAKES_TAGS_APART, Operation, edited
from trainers.data.tags import frequencies, is_tags
from trainers.data.text import TextError
from trainers.data.walk import MASK_MARK
from trainers.errors import DataError

EXAMPLES = 50

Record = dict[str, Any]


@dataclass(frozen=True)
class Came:
    """What came of an act. done: captions or pictures; read_again: the folder must be, to know them."""

    label: str
    done: int
    skipped: tuple[Skipped, ...]
    read_again: bool = False


def operation_of(values: Record) -> Operation:
    """Raises DataError for one that cannot be used."""
    try:
        return operations.parse(values)
    except ValueError as error:
        raise DataError(str(error)) from error


def save(collection: Collection, item: Item, text: str, stamp: str) -> Record:
    """Write one caption. Not empty: the text on disk is another one than that of `stamp`, and nothing was written."""
    path = collection.caption_path(item)
    try:
        now = caption_text(path)
    except (TextError, OSError) as error:
        raise DataError(f"{path.name} cannot be read: {error}.", "Save it as UTF-8 first.") from error
    if stamp_of(now) != stamp:
        collection.captions_written({path: now})
        return {"conflict": shown(now or ""), "stamp": stamp_of(now)}
    if text == shown(item.text if now is None and item.text else now or ""):
        return {}
    after = cleaned(text)
    after += (now or "")[len(shown(now or "")) :] if after else ""
    came = _written(collection, f"caption: {item.name}", [Change(path, now, after)])
    if came.skipped:
        raise DataError(f"{path.name} was not written: {came.skipped[0].reason}.", "Your text is still in the editor.")
    return {}


def preview(collection: Collection, operation: Operation, items: Sequence[Item]) -> Record:
    """As `Gallery.preview_edit` gives it."""
    often = frequencies(item.text or "" for item in collection.items())
    files, changes, has_prose = 0, 0, False
    examples: list[list[str]] = []
    for item in items:
        text = item.text or ""
        result = edited(operation, text, often)
        if result.text == text or item.locked:
            continue
        files, changes = files + 1, changes + result.changes
        has_prose = has_prose or not is_tags(text)
        if len(examples) < EXAMPLES:
            examples.append([item.pid, item.name, text, result.text])
    warning = "prose" if has_prose and operation.kind in TAKES_TAGS_APART else ""
    return {"files": files, "changes": changes, "examples": examples, "warning": warning}


def apply(collection: Collection, operation: Operation, items: Sequence[Item]) -> Came:
    """Edit captions. Those that cannot be read, or were changed on disk, are left as they are and told of."""
    often = frequencies(item.text or "" for item in collection.items())
    changes: dict[Path, Change] = {}
    locked = []
    for item in items:
        path, text = collection.caption_path(item), item.text or ""
        if item.locked:
            locked.append(Skipped(path, item.locked))
            continue
        after = edited(operation, text, often).text
        if after != text:
            changes[path] = Change(path, item.entry.caption, after)  # pictures of one name share it
    came = _written(collection, operation.label, list(changes.values()))
    return Came(came.label, came.done, (*came.skipped, *locked))


def trash(collection: Collection, items: Sequence[Item]) -> Came:
    """Move pictures, and what belongs to them alone, into the set's trash."""
    going = {item.pid for item in items}
    staying = [item for item in collection.items() if item.pid not in going]
    kept = {Path(item.name).with_suffix("") for item in staying}
    needed = {name for item in staying for name in (item.entry.caption_name, item.entry.mask)}
    files = dict.fromkeys(
        name for item in items for name in (item.name, *_companions(collection, item, kept)) if name not in needed
    )
    if not files:
        raise DataError("No picture is chosen.")
    label = f"trash: {items[0].name if len(items) == 1 else len(items)}"
    return turn(
        collection, lambda: collection.journal.trash(label, collection.folder, [collection.folder / f for f in files])
    )


def _companions(collection: Collection, item: Item, kept: set[Path]) -> list[str]:
    """Caption and mask of a picture, and captions with other endings that no picture of that name is left for."""
    found = [item.entry.caption_name, item.entry.mask]
    stem = Path(item.name).with_suffix("")
    if stem not in kept:
        found += [f"{stem.as_posix()}{ending}" for ending in collection.endings.split(",")]
    return [name for name in found if name and (collection.folder / name).is_file()]


def turn(collection: Collection, act: Callable[[], Outcome]) -> Came:
    """Do something with the journal, and let memory follow. Raises DataError."""
    try:
        outcome = act()
    except OSError as error:
        message = f"Nothing was changed: the journal cannot be written ({error.strerror or error})."
        raise DataError(message, "Free some space.") from error
    moved = _pictures(collection, (step.path for step in outcome.done if isinstance(step, Move)))
    done = len(moved) + sum(isinstance(step, Change) for step in outcome.done)
    return Came(outcome.label, done, outcome.skipped, read_again=_follow(collection, outcome))


def _written(collection: Collection, label: str, changes: list[Change]) -> Came:
    if not changes:
        return Came(label, 0, ())
    return turn(collection, lambda: collection.journal.apply(label, changes))


def _follow(collection: Collection, outcome: Outcome) -> bool:
    """Tell memory what files hold now; whether the folder must be read for that."""
    if texts := {step.path: step.after for step in outcome.done if isinstance(step, Change)}:
        collection.captions_written(texts)
    moves = [step for step in outcome.done if isinstance(step, Move)]
    heap = collection.folder / TRASH
    collection.take_away(_pictures(collection, (step.path for step in moves if step.target.is_relative_to(heap))))
    back = _pictures(collection, (step.target for step in moves if step.path.is_relative_to(heap)))
    return not collection.bring_back(back) or bool(outcome.skipped)


def _pictures(collection: Collection, paths: Iterable[Path]) -> list[str]:
    """Names of the pictures among files of the set."""
    pictures = (path for path in paths if path.suffix.lower() in PICTURE_ENDINGS and not path.stem.endswith(MASK_MARK))
    return [path.relative_to(collection.folder).as_posix() for path in pictures]
