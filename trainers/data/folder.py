"""Pictures and captions of a folder, read without torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

PICTURE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})


@dataclass(frozen=True)
class Picture:
    """One picture that can be read. width, height: upright, in pixels; digest: of the file's bytes; caption: None if there is no caption file."""

    path: Path
    width: int
    height: int
    digest: str
    caption: str | None


@dataclass(frozen=True)
class BadFile:
    """A file that looks like a picture and cannot be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a folder holds."""

    pictures: tuple[Picture, ...]
    bad: tuple[BadFile, ...]


def picture_files(folder: Path) -> list[Path]:
    """Picture files of the folder and its sub-folders, by name. Hidden files and folders are left out."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(root, name) for name in files if Path(name).suffix.lower() in PICTURE_ENDINGS and not name.startswith(".")]
    return sorted(found)


def scan(folder: Path, caption_extensions: str, progress: Callable[[int, int], None] | None = None) -> Scan:
    """Open and decode every picture once, so that a damaged one is known before anything is loaded."""
    files = picture_files(folder)
    pictures, bad = [], []
    for index, path in enumerate(files):
        if progress:
            progress(index, len(files))
        try:
            with Image.open(path) as opened:
                opened.load()
                width, height = ImageOps.exif_transpose(opened).size
            digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
            pictures.append(Picture(path, width, height, digest, read_caption(path, caption_extensions)))
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
            bad.append(BadFile(path, _reason(path, error)))
    return Scan(tuple(pictures), tuple(bad))


def read_caption(picture: Path, caption_extensions: str) -> str | None:
    """The text beside a picture: first ending that exists. UTF-8 with or without BOM; line ends become spaces."""
    for ending in caption_extensions.split(","):
        file = picture.with_suffix(ending)
        if file.is_file():
            return " ".join(file.read_text(encoding="utf-8-sig").split())
    return None


def open_picture(path: Path) -> Image.Image:
    """The picture upright, as RGB; transparent parts become white."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
            layer = upright.convert("RGBA")
            ground = Image.new("RGBA", layer.size, "white")
            return Image.alpha_composite(ground, layer).convert("RGB")
        return upright.convert("RGB")


def _reason(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture, whatever its name says"
    if isinstance(error, UnicodeDecodeError):
        return "its caption is not UTF-8"
    if "truncated" in str(error).lower():
        return "the file is cut off"
    return str(error)
