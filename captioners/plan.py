"""Which pictures of a folder a job will caption. Light."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from captioners.config import CaptionConfig
from captioners.policy import wants
from trainers.data.edits import caption_text
from trainers.data.layouts import Layout, recognise
from trainers.data.text import TextError
from trainers.data.walk import walk
from trainers.errors import ConfigError

UNREADABLE = "?"  # stands for a caption that is there, whatever it says


@dataclass(frozen=True, slots=True)
class Target:
    """A picture and its caption. caption: the file beside it, or the one that it would get; listed: text of a table,
    which such a file wins over; shares: the picture that has the same caption file, "" for none."""

    name: str
    caption: Path
    listed: str | None = None
    shares: str = ""

    def text(self) -> str | None:
        """The text of the caption file now. Raises TextError, OSError."""
        return caption_text(self.caption)

    def shown(self, text: str | None) -> str | None:
        """The caption that training would see. text: of the caption file."""
        return self.listed if text is None else text


@dataclass(frozen=True)
class Counts:
    """total: pictures; captioned: with a text; empty: with an empty file; to_do: that the policy would write."""

    total: int = 0
    captioned: int = 0
    empty: int = 0
    to_do: int = 0


def targets(config: CaptionConfig) -> list[Target]:
    """Pictures in the order of their names. Raises ConfigError for a folder without any, or an unknown name."""
    folder = Path(config.pictures.folder)
    try:
        layout = recognise(folder, config.pictures.extension)
        found = list(_targets(folder, config.pictures.extension, layout))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError("pictures.folder", f"{folder} cannot be read: {reason}.", "Give another folder.") from error
    if not found:
        raise ConfigError("pictures.folder", f"{folder} holds no picture.", "Give a folder with pictures in it.")
    if config.pictures.only:
        wanted = set(config.pictures.only)
        if missing := sorted(wanted - {target.name for target in found}):
            raise ConfigError("pictures.only", f"{missing[0]} is not in {folder}.", "Give names below the folder.")
        found = [target for target in found if target.name in wanted]
    return found


def _targets(folder: Path, extension: str, layout: Layout) -> Iterator[Target]:
    ending = extension.split(",")[0]
    owners: dict[str, str] = {}
    for found in walk(folder, extension):
        caption = found.caption or found.name.rpartition(".")[0] + ending
        owner = owners.setdefault(caption, found.name)
        lines = layout.lines_of(found.name)
        yield Target(
            name=found.name,
            caption=folder / caption,
            listed="\n".join(lines) if lines else None,
            shares="" if owner == found.name else owner,
        )


def count(config: CaptionConfig) -> Counts:
    """How things stand in the folder. Reads every caption file. Raises ConfigError."""
    texts: list[str | None] = []
    for target in targets(config):
        try:
            texts.append(target.shown(target.text()))
        except (TextError, OSError):  # the job will tell of it
            texts.append(UNREADABLE)
    return counts_of(config, texts)


def counts_of(config: CaptionConfig, texts: Sequence[str | None]) -> Counts:
    """The same of captions that are known, None for none."""
    captioned = sum(bool((text or "").strip()) for text in texts)
    empty = sum(text is not None and not text.strip() for text in texts)
    to_do, limit = sum(wants(config.policy.existing, text) for text in texts), config.pictures.limit
    return Counts(len(texts), captioned, empty, min(to_do, limit) if limit else to_do)
