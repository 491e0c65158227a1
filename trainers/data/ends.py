"""Whether a picture file is cut off, told from its structure without decoding a pixel."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

JPEG_END = b"\xff\xd9"
TIFF_PARTS = ((273, 279), (324, 325))  # tags of where the strips, or tiles, are and how long
ISO_MEDIA = (b"ftyp", b"meta", b"moov", b"mdat", b"free", b"skip", b"uuid")
BLOCK = 2**20


def is_cut_off(file: BinaryIO, size: int, reader: str) -> bool:
    """Whether bytes are missing at the end. Bytes after the end are no fault. Of TIFF and rare formats: False.

    file: open at any place, which changes; size: of the file in bytes; reader: of Pillow.
    """
    match reader:
        case "JPEG":
            return _jpeg(file, size)
        case "PNG":
            return not any(kind == b"IEND" and end <= size for kind, _, end in png_chunks(file))
        case "WEBP":
            return int.from_bytes(_read(file, 4, 4), "little") + 8 > size
        case "GIF":
            return gif_frames(file) is None
        case "BMP":
            return _bmp_end(file) > size
        case "AVIF" | "HEIF":
            return _iso(file, size)
    return False


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """(kind, where its data begins, where the chunk ends) of each chunk up to IEND.

    The last one may end after the file.
    """
    at = 8
    while len(head := _read(file, at, 8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind, at + 8, at + 12 + length
        if kind == b"IEND":
            return
        at += 12 + length


def png_exif(file: BinaryIO) -> bytes | None:
    """EXIF that a PNG holds anywhere, as Pillow has it in `info`; some editors put it behind the pixels."""
    for kind, start, end in png_chunks(file):
        if kind == b"eXIf":
            return b"Exif\0\0" + _read(file, start, end - start - 4)
    return None


def gif_frames(file: BinaryIO) -> int | None:
    """Number of pictures in a GIF; None when it is cut off. One that lacks nothing but its last byte is whole."""
    file.seek(10)
    screen = file.read(3).ljust(3, b"\0")
    file.seek(_table_bytes(screen[0]), os.SEEK_CUR)
    frames = 0
    while (block := file.read(1)) not in (b";", b""):
        if block == b",":
            frames += 1
            place = file.read(9).ljust(9, b"\0")
            file.seek(_table_bytes(place[8]) + 1, os.SEEK_CUR)
        elif block == b"!":
            file.seek(1, os.SEEK_CUR)
        else:
            break  # what follows is not of the picture
        if not _skip_sub_blocks(file):
            return None
    return frames or None


def _skip_sub_blocks(file: BinaryIO) -> bool:
    """Whether the row of sub-blocks has its end."""
    while length := file.read(1):
        if length == b"\0":
            return True
        if len(file.read(length[0])) < length[0]:
            return False
    return False


def _table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _jpeg(file: BinaryIO, size: int) -> bool:
    if _read(file, size - 2, 2) == JPEG_END:
        return False
    return not _holds(file, JPEG_END, _scan_start(file))


def _scan_start(file: BinaryIO) -> int:
    """Where the first scan begins. The preview inside EXIF has an end mark of its own, which does not count."""
    at = 2
    while len(head := _read(file, at, 4)) == 4:
        if head[1] == 0xFF:  # a filling byte
            at += 1
            continue
        if head[0] != 0xFF or head[1] == 0xDA:
            break
        at += 2 + int.from_bytes(head[2:], "big")
    return at


def _holds(file: BinaryIO, mark: bytes, start: int) -> bool:
    file.seek(start)
    before = b""
    while block := file.read(BLOCK):
        if mark in before + block:
            return True
        before = block[-1:]
    return False


def _bmp_end(file: BinaryIO) -> int:
    """Where the pixels end; 0 when they are compressed."""
    head = _read(file, 0, 34).ljust(34, b"\0")
    pixels, header = struct.unpack_from("<II", head, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
        packing = 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", head, 18)
    if packing not in (0, 3):
        return 0
    row = (abs(width) * bits + 31) // 32 * 4
    return int(pixels + row * abs(height))


def tiff_end(picture: Image.Image) -> int:
    """Where the last strip or tile of the first page ends."""
    assert isinstance(picture, TiffImageFile)
    tags = picture.tag_v2
    ends = [
        offset + count
        for where, long in TIFF_PARTS
        for offset, count in zip(tags.get(where, ()), tags.get(long, ()), strict=False)
    ]
    return max(ends, default=0)


def _iso(file: BinaryIO, size: int) -> bool:
    """Whether a box ends after the file."""
    at = 0
    while len(head := _read(file, at, 16)) >= 8:
        length, kind = struct.unpack_from(">I4s", head)
        if kind not in ISO_MEDIA:
            return False  # what a phone or an editor appended
        if length == 1 and len(head) == 16:
            length = struct.unpack_from(">Q", head, 8)[0]
        if length == 0:
            return False  # up to the end, wherever that is
        if at + length > size:
            return True
        at += max(length, 8)
    return False


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(max(at, 0), io.SEEK_SET)
    return file.read(count)
