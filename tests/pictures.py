"""Makes picture files of every format that people have, and of every way in which they are broken."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 16)
CORNER, REST = (220, 40, 30), (30, 60, 200)


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def scene(size: tuple[int, int] = SIZE) -> Image.Image:
    """A red quarter at the top left of blue: no turn and no mirror leaves it as it is."""
    picture = Image.new("RGB", size, REST)
    picture.paste(CORNER, (0, 0, size[0] // 2, size[1] // 2))
    return picture


def see_through(size: tuple[int, int] = SIZE) -> Image.Image:
    """The scene with nothing but its red quarter opaque; black hides under the rest."""
    alpha = Image.new("L", size, 0)
    alpha.paste(255, (0, 0, size[0] // 2, size[1] // 2))
    picture = Image.composite(scene(size), Image.new("RGB", size), alpha)
    picture.putalpha(alpha)
    return picture


def encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def deep(scale: float, kind: type[np.generic]) -> Image.Image:
    """Grey as whole or real numbers: a dark half on the left, a bright one on the right."""
    levels = np.full(SIZE[::-1], 0.25 * scale)
    levels[:, SIZE[0] // 2 :] = 0.75 * scale
    return Image.fromarray(levels.astype(kind))


def frames(count: int = 4, size: tuple[int, int] = SIZE) -> list[Image.Image]:
    """Grey pictures that get brighter: frame n is of the level 15 + 50 n."""
    return [Image.new("RGB", size, (15 + 50 * number,) * 3) for number in range(count)]


def moving(format: str, count: int = 4, ms: int = 100, **options: Any) -> bytes:
    first, *more = frames(count)
    return encoded(first, format, save_all=True, append_images=more, duration=ms, **options)


def palette(transparent: bool = False) -> bytes:
    picture = scene().quantize(4)
    options = {"transparency": picture.getpixel((SIZE[0] - 1, SIZE[1] - 1))} if transparent else {}
    return encoded(picture, "PNG", **options)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG from its parts, with more chunks behind the pixels; colour: 0 grey, 2 RGB."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        *more,
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def png_of_16_bits() -> bytes:
    """RGB, the red quarter at the top left."""
    levels = np.asarray(scene()).astype(">u2") * 257
    return png(*SIZE, 16, 2, b"".join(b"\0" + row.tobytes() for row in levels))


def orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


# the scene in colour, by file name; lossy ones are near it
COLOURED: Mapping[str, Callable[[], bytes]] = {
    "plain.jpg": lambda: encoded(scene(), "JPEG", quality=95, subsampling=0),
    "progressive.jpeg": lambda: encoded(scene(), "JPEG", quality=95, subsampling=0, progressive=True),
    "cmyk.jpg": lambda: encoded(scene().convert("CMYK"), "JPEG", quality=95, subsampling=0),
    "stereo.jpg": lambda: encoded(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], quality=95),
    "plain.png": lambda: encoded(scene(), "PNG"),
    "palette.png": palette,
    "deep.png": png_of_16_bits,
    "lossy.webp": lambda: encoded(scene(), "WEBP", quality=95),
    "lossless.webp": lambda: encoded(scene(), "WEBP", lossless=True),
    "plain.bmp": lambda: encoded(scene(), "BMP"),
    "plain.gif": lambda: encoded(scene(), "GIF"),
    "plain.tif": lambda: encoded(scene(), "TIFF"),
    "packed.tiff": lambda: encoded(scene(), "TIFF", compression="tiff_deflate"),
    "cmyk.tif": lambda: encoded(scene().convert("CMYK"), "TIFF"),
    "lab.tif": lambda: encoded(scene().convert("LAB"), "TIFF"),
    "plain.avif": lambda: encoded(scene(), "AVIF", quality=95, subsampling="4:4:4"),
    "plain.heic": lambda: _extra("HEIF", quality=95),
    "plain.jxl": lambda: _extra("JXL", lossless=True),
    "pages.tif": lambda: encoded(scene(), "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 8))]),
}

# the same with the blue transparent
TRANSPARENT: Mapping[str, Callable[[], bytes]] = {
    "alpha.png": lambda: encoded(see_through(), "PNG"),
    "palette.png": lambda: palette(transparent=True),
    "key.png": lambda: encoded(scene(), "PNG", transparency=REST),
    "alpha.webp": lambda: encoded(see_through(), "WEBP", lossless=True),
    "alpha.gif": lambda: encoded(see_through(), "GIF"),
    "alpha.tif": lambda: encoded(see_through(), "TIFF"),
    "alpha.avif": lambda: encoded(see_through(), "AVIF", quality=95, subsampling="4:4:4"),
}

# a dark half of a quarter of white, a bright one of three quarters
GREY: Mapping[str, Callable[[], bytes]] = {
    "8.png": lambda: encoded(deep(255, np.uint8), "PNG"),
    "8.jpg": lambda: encoded(deep(255, np.uint8), "JPEG", quality=95),
    "16.png": lambda: encoded(deep(65535, np.uint16), "PNG"),
    "16.tif": lambda: encoded(deep(65535, np.uint16), "TIFF"),
    "32.tif": lambda: encoded(deep(65535, np.int32), "TIFF"),
    "share.tif": lambda: encoded(deep(1, np.float32), "TIFF"),
    "real.tif": lambda: encoded(deep(255, np.float32), "TIFF"),
}

MOVING: Mapping[str, Callable[[], bytes]] = {
    "moving.gif": lambda: moving("GIF"),
    "moving.webp": lambda: moving("WEBP", lossless=True),
    "moving.png": lambda: moving("PNG"),
    "moving.avif": lambda: moving("AVIF", quality=95),
}

# every good one
ALL = {**COLOURED, **GREY, **MOVING} | {f"transparent {name}": make for name, make in TRANSPARENT.items()}

# no pictures, and a word of the reason
STRANGERS: Mapping[str, tuple[bytes, str]] = {
    "empty.png": (b"", "empty"),
    "page.jpg": (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "an HTML page"),
    "archive.png": (b"PK\x03\x04" + bytes(60), "a zip archive"),
    "text.webp": ("ein grüner Kreis".encode(), "a text"),
    "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "git lfs pull"),
    "video.gif": (b"\0\0\0\x18ftypisom\0\0\x02\0isommp42" + bytes(40), "a video"),
    "drawing.png": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "zeros.jpg": (bytes(5000), "nothing but zeros"),
    "noise.jpg": (bytes(range(128, 256)) * 20, "not a picture"),
    "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript drawing"),
}


def _extra(format: str, **options: Any) -> bytes:
    import pillow_heif
    import pillow_jxl  # noqa: F401 (teaches Pillow the format)

    pillow_heif.register_heif_opener()
    return encoded(scene(), format, **options)


def video(
    path: Path, count: int = 16, fps: int = 8, codec: str = "libx264", frames: Sequence[Image.Image] = ()
) -> Path:
    """A video of the frames; without them frame n is grey of the level 15 n, 64 x 48."""
    import av

    frames = frames or [Image.new("RGB", (64, 48), (15 * number,) * 3) for number in range(count)]
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=fps)
        (stream.width, stream.height), stream.pix_fmt = frames[0].size, "yuv420p"
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turned(path: Path) -> Path:
    """Tell the player of an MP4 to turn it clockwise by a quarter, as a phone that was held upright does."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def wide_profile() -> bytes:
    """ICC profile of a screen with the primaries of Display P3."""
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    tags = {name: b"XYZ \0\0\0\0" + _fixed(*place) for name, place in primaries.items()}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | {name: _gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")})


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def print_profile() -> bytes:
    """ICC profile of inks of which only cyan is any good: the paper is white, all other mixtures are black."""
    colours = {(0, 0, 0, 0): (255, 128, 128), (1, 0, 0, 0): (140, 98, 83)}
    grid = [colours.get((c, m, y, k), (0, 128, 128)) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    straight = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut + straight * 4 + bytes(sum(grid, ())) + straight * 3})


def _profile(use: bytes, space: bytes, base: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    title = b"Made for a test\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(title)) + title + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(0.9642, 1, 0.8249),
        **tags,
    }
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">II", start + len(data), 0) + b"\x02\x10\0\0" + use + space + base + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + _fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))
