"""Pictures of any format that a camera, a phone or a scraper writes: their headers, their pixels, and why not."""

from __future__ import annotations

import os
import re
import struct
import warnings
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from trainers.data.colours import to_alpha, to_grey, to_rgb
from trainers.data.ends import gif_frames, is_cut_off, png_exif, tiff_end
from trainers.data.kinds import HEAD_BYTES, UnreadableError, readers_of
from trainers.errors import MissingPackageError

# .heic, .heif, .hif and .jxl need a package, and are listed all the same: such a file must not go unseen
PICTURE_ENDINGS = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
    | {".heic", ".heif", ".hif", ".jxl"}
)
# videos; a .gif, .webp or .apng may move too, and is a picture in any case
CLIP_ENDINGS = frozenset({".mp4", ".m4v", ".webm", ".mov", ".mkv", ".avi"})

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
    MissingPackageError,
)

HEADER_BYTES = 2**16  # one read; holds all of a small file, and the header of most
ANIMATED = frozenset({"GIF", "WEBP", "PNG", "AVIF"})
TURNED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True)
class Header:
    """width, height: upright, in pixels; alpha: whether any part may be transparent; frames: above 1 if it moves.

    Pages of a TIFF and the second half of a stereo picture are no frames.
    """

    width: int
    height: int
    alpha: bool
    frames: int


def read_header(path: Path) -> Header:
    """What the header says. Decodes nothing, and finds empty and cut-off files. Raises one of DECODE_ERRORS."""
    with BufferedReader(FileIO(path), HEADER_BYTES) as file:
        size = os.fstat(file.fileno()).st_size
        readers = _readers(file.peek(HEAD_BYTES)[:HEAD_BYTES])
        is_png = readers == ("PNG",)
        # the chunks of a large PNG are far apart: through the buffer that would read all of it
        with FileIO(path) if is_png and size > HEADER_BYTES else nullcontext(file) as walked:
            # before Pillow, whose message would be that of whatever is missing first
            _refuse_cut_off(is_cut_off(walked, size, readers[0]))
            late_exif = png_exif(walked) if is_png else None
        picture = _opened(file, readers)
        width, height = picture.size
        if picture.format == "TIFF":
            _refuse_cut_off(tiff_end(picture) > size)
        elif _orientation(picture, late_exif) in TURNED:  # a TIFF turns itself
            width, height = height, width
        return Header(width, height, picture.has_transparency_data, _frames(picture, file))


def open_picture(path: Path, background: str = "white", *, at_least: int | None = None) -> Image.Image:
    """The picture upright, as RGB of 8 bits in sRGB; transparent parts show the background. First frame.

    at_least: the shorter side in pixels that is enough; a large JPEG is then decoded at a half, quarter or eighth of
    its size, never below. Raises one of DECODE_ERRORS.
    """
    with open(path, "rb") as file:
        return to_rgb(load(file, at_least), background)


def open_alpha(path: Path) -> Image.Image | None:
    """White where the upright picture is opaque, as "L"; None when all of it is. Raises one of DECODE_ERRORS."""
    with open(path, "rb") as file:
        return to_alpha(load(file))


def open_mask(path: Path) -> Image.Image:
    """A picture of any kind as an upright mask, "L"; transparent parts are black. Raises one of DECODE_ERRORS."""
    with open(path, "rb") as file:
        return to_grey(load(file))


def load(file: BinaryIO, at_least: int | None = None) -> Image.Image:
    """The first frame, decoded and upright, in its own mode. Raises one of DECODE_ERRORS."""
    head = file.read(HEAD_BYTES)
    picture = open_image(file, head)
    if at_least and picture.format in ("JPEG", "MPO"):
        picture.draft(None, (at_least, at_least))
    ImageOps.exif_transpose(picture, in_place=True)
    return picture


def open_image(file: BinaryIO, head: bytes) -> Image.Image:
    """Pillow's picture, not decoded yet. head: the first HEAD_BYTES of the file. Raises one of DECODE_ERRORS."""
    return _opened(file, _readers(head))


def _readers(head: bytes) -> tuple[str, ...]:
    if not head:
        raise UnreadableError("the file is empty")
    return readers_of(head)


def _opened(file: BinaryIO, readers: tuple[str, ...]) -> Image.Image:
    _allow_large()
    try:
        return Image.open(file, formats=readers)
    except UnidentifiedImageError as error:
        known = len(readers) == 1
        cause = "its header is damaged or cut off" if known else "not a picture, whatever its name says"
        raise UnreadableError(cause) from error


def reason_of(error: BaseException) -> str:
    """A short cause for people, as the end of "NAME: ..."."""
    if isinstance(error, (UnreadableError, MissingPackageError)):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return _too_large(str(error))
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if re.search(r"truncated|cut off|unexpected end", str(error), re.I):
        return "the file is cut off"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"it is damaged ({str(error).rstrip('.') or type(error).__name__})"


def _too_large(message: str) -> str:
    pixels = re.search(r"\((\d+) pixels\)", message)
    size = f"{int(pixels[1]) / 1e6:.0f}" if pixels else "far too many"
    return f"it has {size} megapixels: scale it down"


def _allow_large() -> None:
    """Silence Pillow's warning at 89 megapixels, as panoramas have; its error at twice that stays."""
    # for the process and not with catch_warnings, which is not safe between threads
    silenced = ("ignore", None, Image.DecompressionBombWarning, None, 0)
    if silenced not in warnings.filters:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def _refuse_cut_off(is_cut_off: bool) -> None:
    if is_cut_off:
        raise UnreadableError("the file is cut off")


def _orientation(picture: Image.Image, late_exif: bytes | None) -> int:
    """EXIF orientation; 1 when there is none."""
    if late_exif and "exif" not in picture.info:
        picture.info["exif"] = late_exif
    # not PNG's own getexif, which decodes the picture to see what is behind it
    orientation = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1


def _frames(picture: Image.Image, file: BinaryIO) -> int:
    if picture.format == "GIF":
        return gif_frames(file) or 1
    return getattr(picture, "n_frames", 1) if picture.format in ANIMATED else 1
