"""The prompts of a job: from a text file, from the captions of a data set, and typed ones. Light."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from trainers import paths
from trainers.config import Data
from trainers.data import folder
from trainers.data.text import TextError, lines_of, read_text
from trainers.errors import ConfigError
from trainers.preferences.config import Prompts

BETWEEN = "---"  # the line that stands between longer prompts

Progress = Callable[[int, int | None], None]


def read_prompts(prompts: Prompts, progress: Progress | None = None) -> list[str]:
    """Every prompt once, in order. progress: is told of the pictures of a data set that is read.

    Raises ConfigError for a source that cannot be read, and when there is no prompt at all.
    """
    found = dict.fromkeys([*_of_file(prompts.file), *_of_folder(prompts.folder, progress), *_typed(prompts.texts)])
    if not found:
        if given := prompts.file or prompts.folder:
            field = "prompts.file" if prompts.file else "prompts.folder"
            raise ConfigError(field, f"{given} holds no prompt.", "Give another one, or prompts.texts.")
        hint = "Give prompts.file, prompts.folder or prompts.texts."
        raise ConfigError("prompts.texts", "there is nothing to draw.", hint)
    return list(found)[: prompts.limit or None]


def _typed(texts: tuple[str, ...]) -> Iterator[str]:
    return (text for raw in texts if (text := raw.strip()))


def _of_file(file: str) -> list[str]:
    if not file:
        return []
    path = paths.locate(file)
    try:
        return split(read_text(path, "the file"))
    except TextError as error:
        raise ConfigError("prompts.file", f"{path.name}: {error.reason}.", "Save it as UTF-8.") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError("prompts.file", f"{path} cannot be read: {reason}.", "Give another file.") from error


def split(text: str) -> list[str]:
    """A prompt a line; or, where a line of nothing but --- stands, what is between such lines, on one line each."""
    lines = text.split("\n")
    if BETWEEN not in (line.strip() for line in lines):
        return list(lines_of(text))
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip() == BETWEEN:
            blocks.append([])
        elif line.strip():
            blocks[-1].append(line.strip())
    return [" ".join(block) for block in blocks if block]


def _of_folder(name: str, progress: Progress | None) -> list[str]:
    """The first line of each caption, in the order of the pictures' names."""
    if not name:
        return []
    data = Data(folder=str(paths.locate(name)), resolution=1024, cache_dir=str(paths.data_dir() / "cache"))
    try:
        scanned = folder.scan(data, content=False, progress=progress)
    except ConfigError as error:
        raise ConfigError("prompts.folder", error.message, error.hint) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"{Path(data.folder)} cannot be read: {reason}."
        raise ConfigError("prompts.folder", message, "Give another folder.") from error
    return [picture.lines[0] for picture in scanned.pictures if picture.lines]
