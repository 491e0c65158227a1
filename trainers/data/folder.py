"""Pictures and captions of a folder, read without torch."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

PICTURE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})

# what Pillow's decoders raise for damaged files; RuntimeError: AVIF
DECODE_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Picture:
    """One picture that can be read.

    width, height: upright, in pixels; digest: of the file's bytes; caption: None if there is no caption file.
    """

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
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = (Path(root, name) for name in files if not name.startswith("."))
        found += (path for path in shown if path.suffix.lower() in PICTURE_ENDINGS)
    return sorted(found)


def scan(folder: Path, caption_extensions: str, progress: Callable[[int, int], None] | None = None) -> Scan:
    """Open and decode every picture once, so that a damaged one is known before anything is loaded.

    caption_extensions: as in ".txt,.caption"; progress: is told (files done, files in all).
    """
    files = picture_files(folder)
    pictures: list[Picture] = []
    bad: list[BadFile] = []
    for done, path in enumerate(files, start=1):
        try:
            pictures.append(_read(path, caption_extensions))
        except DECODE_ERRORS as error:
            bad.append(BadFile(path, _reason(error)))
        if progress:
            progress(done, len(files))
    return Scan(tuple(pictures), tuple(bad))


def _read(path: Path, caption_extensions: str) -> Picture:
    content = path.read_bytes()
    if not content:
        raise ValueError("the file is empty")
    width, height = open_picture(path).size
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return Picture(path, width, height, digest, read_caption(path, caption_extensions))


def read_caption(picture: Path, caption_extensions: str) -> str | None:
    """The text beside a picture: first ending that exists. UTF-8 with or without BOM; line ends become spaces."""
    for ending in caption_extensions.split(","):
        file = picture.with_suffix(ending)
        if file.is_file():
            return " ".join(file.read_text(encoding="utf-8-sig").split())
    return None


def open_picture(path: Path) -> Image.Image:
    """The picture upright, as RGB of 8 bits; transparent parts become white. Raises one of DECODE_ERRORS."""
    with Image.open(path) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            ground = Image.new("RGBA", layer.size, "white")
            return Image.alpha_composite(ground, layer).convert("RGB")
        if upright.mode.startswith(("I", "F")):
            return _to_8_bits(upright).convert("RGB")
        return upright.convert("RGB")


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits, whole or real numbers as grey of 8 bits: Pillow would cut everything above 255 to white."""
    levels = np.asarray(picture, dtype=np.float64)
    if picture.mode == "F" and levels.max() <= 1:
        levels = levels * 255
    elif levels.max() > 255 or picture.mode.startswith("I;16"):
        levels = levels / 257
    return Image.fromarray(np.clip(levels.round(), 0, 255).astype(np.uint8))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture, whatever its name says"
    if isinstance(error, UnicodeDecodeError):
        return "its caption is not UTF-8"
    if isinstance(error, Image.DecompressionBombError):
        return "it has far too many pixels"
    if "truncated" in str(error).lower():
        return "the file is cut off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
