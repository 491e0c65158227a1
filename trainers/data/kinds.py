"""What a file is by its first bytes, whatever its name says, and which of Pillow's readers may open it."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import import_module

from trainers.errors import MissingPackageError

HEAD_BYTES = 4096  # enough to tell what a file is

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
)
# readers tried on anything else. Not all of Pillow's: EPS would start Ghostscript on a file that came from anywhere
RARE_READERS = ("PPM", "JPEG2000", "PSD", "ICO", "DDS", "QOI")

HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
AVIF_BRANDS = frozenset({b"avif", b"avis"})

# by reader: what people call the format, the package, and its module
EXTRAS = {"HEIF": ("HEIC", "pillow-heif", "pillow_heif"), "JXL": ("JPEG XL", "pillow-jxl-plugin", "pillow_jxl")}
INSTALL = "pip install -r requirements-formats.txt"

STRANGERS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript drawing"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"MZ", "a program"),
)
TEXTS = (
    (re.compile(r"version https://git-lfs"), "a Git LFS pointer, not the file itself (git lfs pull fetches it)"),
    (re.compile(r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!doctype html|<html|<head|<body)", re.I | re.S), "an HTML page"),
    (re.compile(r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype svg[^>]*>\s*)?<svg", re.I | re.S), "an SVG drawing"),
)


class UnreadableError(ValueError):
    """A file that is no whole picture. Its text is the cause, for people."""


def readers_of(head: bytes) -> tuple[str, ...]:
    """Names of the Pillow readers that may open a file which begins like this.

    Raises UnreadableError for a file that is known to be something else, MissingPackageError.
    """
    reader = next((reader for signature, reader in SIGNATURES if head.startswith(signature)), None)
    if reader is None and head[:4] == b"RIFF":
        reader = "WEBP" if head[8:12] == b"WEBP" else None
    if reader is None and head[4:8] == b"ftyp":
        reader = _iso_reader(head)
    if reader in EXTRAS:
        teach(reader)
    if reader:
        return (reader,)
    if stranger := _stranger(head):
        raise UnreadableError(f"it is {stranger}, whatever its name says")
    return RARE_READERS


def _iso_reader(head: bytes) -> str | None:
    """The reader for a file of boxes, as MP4, HEIC and AVIF are."""
    # the first brand alone does not tell: mif1 stands before both AVIF and HEIC
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & HEIF_BRANDS else None


def _stranger(head: bytes) -> str | None:
    """What the file is when it is no picture, as far as that is easy to tell."""
    if known := next((kind for signature, kind in STRANGERS if head.startswith(signature)), None):
        return known
    if head[4:8] == b"ftyp":
        return "a camera raw file" if head[8:12] == b"crx " else "a video"
    if head[:4] == b"RIFF":
        return "a video" if head[8:12] == b"AVI " else "a sound"
    if not head.strip(b"\0"):
        return "nothing but zeros"
    return _text_kind(head)


def _text_kind(head: bytes) -> str | None:
    try:
        # a sign that the end of the sample cuts in two is no objection
        text = head.decode("utf-8-sig") if len(head) < HEAD_BYTES else head[:HEAD_BYTES].decode("utf-8-sig", "ignore")
    except UnicodeDecodeError:
        return None
    # the plain PPM formats are texts, too
    if re.match(r"P[1-6fF]\s", text) or not all(sign.isprintable() or sign.isspace() for sign in text):
        return None
    return next((kind for pattern, kind in TEXTS if pattern.match(text.lstrip())), "a text")


@lru_cache
def teach(reader: str) -> None:
    """Teach Pillow a format by its optional package. Raises MissingPackageError."""
    title, package, module = EXTRAS[reader]
    try:
        plugin = import_module(module)
    except ImportError as error:
        raise MissingPackageError(f"{title} needs {package}:", INSTALL) from error
    if reader == "HEIF":
        plugin.register_heif_opener(thumbnails=False)
