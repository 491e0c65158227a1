"""Pictures as they come: any format that a camera, a phone or a scraper writes is read right, or named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from trainers.data.decode import (
    DECODE_ERRORS,
    PICTURE_ENDINGS,
    Header,
    open_alpha,
    open_mask,
    open_picture,
    read_header,
)

SIZE = pictures.SIZE
TOP_LEFT, BOTTOM_RIGHT = (4, 3), (SIZE[0] - 4, SIZE[1] - 3)


def near(picture: Image.Image, place: tuple[int, int], colour: tuple[int, ...], off: int = 12) -> bool:
    """Lossy formats and palettes are a few levels off."""
    return bool(np.abs(np.subtract(picture.getpixel(place), colour)).max() <= off)


# --------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("name", pictures.COLOURED)
def test_every_format_shows_the_same_scene(tmp_path: Path, name: str) -> None:
    picture = open_picture(pictures.write(tmp_path, name, pictures.COLOURED[name]()))
    assert (picture.mode, picture.size) == ("RGB", SIZE)
    assert near(picture, TOP_LEFT, pictures.CORNER), picture.getpixel(TOP_LEFT)
    assert near(picture, BOTTOM_RIGHT, pictures.REST), picture.getpixel(BOTTOM_RIGHT)


@pytest.mark.parametrize("name", pictures.TRANSPARENT)
def test_transparent_parts_show_the_background_and_become_the_alpha(tmp_path: Path, name: str) -> None:
    path = pictures.write(tmp_path, name, pictures.TRANSPARENT[name]())
    assert read_header(path).alpha
    for background, colour in {"white": (255, 255, 255), "#204060": (0x20, 0x40, 0x60)}.items():
        picture = open_picture(path, background)
        assert near(picture, TOP_LEFT, pictures.CORNER)
        assert near(picture, BOTTOM_RIGHT, colour)
    alpha = open_alpha(path)
    assert alpha is not None and (alpha.mode, alpha.size) == ("L", SIZE)
    assert alpha.getpixel(TOP_LEFT) == 255 and alpha.getpixel(BOTTOM_RIGHT) == 0


@pytest.mark.parametrize("name", pictures.GREY)
def test_deep_grey_keeps_its_levels(tmp_path: Path, name: str) -> None:
    picture = open_picture(pictures.write(tmp_path, name, pictures.GREY[name]()))
    assert near(picture, TOP_LEFT, (64,) * 3, 1)
    assert near(picture, BOTTOM_RIGHT, (191,) * 3, 1)


def test_transparent_level_of_16_bits(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">2H", 65535, 300)
    content = pictures.png(2, 1, 16, 0, row)
    chunk = b"tRNS" + struct.pack(">H", 300)
    # it has to stand before the pixels
    at = content.index(b"IDAT") - 4
    content = content[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[at:]
    path = pictures.write(tmp_path, "a.png", content)
    alpha = open_alpha(path)
    assert alpha is not None and alpha.tobytes() == b"\xff\0"
    assert open_picture(path, "red").getpixel((1, 0)) == (255, 0, 0)


def test_premultiplied_edges_mix_with_the_background(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (2, 2), (255, 0, 0, 128)).save(path)
    assert near(open_picture(path, "blue"), (0, 0), (128, 0, 127), 1)


@pytest.mark.parametrize("name", pictures.MOVING)
def test_the_first_frame_of_what_moves(tmp_path: Path, name: str) -> None:
    path = pictures.write(tmp_path, name, pictures.MOVING[name]())
    assert near(open_picture(path), TOP_LEFT, (15, 15, 15), 6)
    assert read_header(path).frames == 4


# --------------------------------------------------------------------------- colours


def test_colours_of_a_wide_screen_become_srgb(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    scene = Image.new("RGB", SIZE, (200, 100, 100))
    scene.save(path, icc_profile=pictures.wide_profile())
    picture = open_picture(path)
    # the same numbers mean a stronger red on the wider screen
    assert near(picture, (0, 0), (213, 94, 96), 6), picture.getpixel((0, 0))
    assert "icc_profile" not in picture.info


def test_profile_of_a_picture_with_alpha_leaves_the_alpha(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pictures.see_through().save(path, icc_profile=pictures.wide_profile())
    picture = open_picture(path, "#808080")
    assert picture.getpixel(BOTTOM_RIGHT) == (128, 128, 128)
    assert picture.getpixel(TOP_LEFT) != pictures.CORNER


def test_inks_follow_their_profile(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("CMYK", SIZE, (255, 0, 0, 0)).save(path, quality=95, icc_profile=pictures.print_profile())
    red, green, blue = open_picture(path).getpixel((4, 4))
    # L 55, a -30, b -45: without the profile cyan would be (0, 255, 255)
    assert red < 40 and 120 < green < 170 and 180 < blue < 230, (red, green, blue)


def test_grey_follows_its_profile(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", SIZE, 128).save(path, icc_profile=pictures.grey_profile(1.0))
    assert near(open_picture(path), (0, 0), (188,) * 3, 2)  # half of the light is level 188 of sRGB


@pytest.mark.parametrize("profile", [b"no profile", pictures.grey_profile(1.0), pictures.wide_profile()[:200]])
def test_damaged_and_foreign_profiles_are_ignored(tmp_path: Path, profile: bytes) -> None:
    path = tmp_path / "a.png"
    pictures.scene().save(path, icc_profile=profile)
    assert open_picture(path).getpixel(TOP_LEFT) == pictures.CORNER


# --------------------------------------------------------------------------- upright


@pytest.mark.parametrize("value", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.avif", "a.heic", "a.jxl"])
def test_header_and_pixels_agree_on_what_is_up(tmp_path: Path, name: str, value: int) -> None:
    if name.endswith((".heic", ".jxl")):
        pictures.COLOURED["plain" + name[1:]]()  # teaches Pillow to write it
    path = tmp_path / name
    pictures.scene().save(path, exif=pictures.orientation(value))
    picture, header = open_picture(path), read_header(path)
    assert (header.width, header.height) == picture.size == (SIZE[::-1] if 5 <= value <= 8 else SIZE)
    corner = {2: (1, 0), 3: (1, 1), 4: (0, 1), 6: (1, 0), 7: (1, 1), 8: (0, 1)}.get(value, (0, 0))
    place = tuple((side // 4, side * 3 // 4)[far] for side, far in zip(picture.size, corner, strict=True))
    assert near(picture, (place[0], place[1]), pictures.CORNER, 40)


def test_orientation_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes(3 * SIZE[0]) for _ in range(SIZE[1]))
    path = pictures.write(tmp_path, "a.png", pictures.png(*SIZE, 8, 2, rows, (b"eXIf", pictures.orientation(6)[6:])))
    assert read_header(path) == Header(SIZE[1], SIZE[0], False, 1)
    assert open_picture(path).size == SIZE[::-1]


def test_masks_and_alpha_are_turned_like_their_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pictures.see_through().save(path, exif=pictures.orientation(6))
    alpha = open_alpha(path)
    assert alpha is not None and alpha.size == SIZE[::-1]
    assert alpha.getpixel((SIZE[1] - 2, 2)) == 255 and alpha.getpixel((2, 2)) == 0
    assert open_mask(path).size == SIZE[::-1]


# --------------------------------------------------------------------------- masks


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_masks_of_any_mode(tmp_path: Path, mode: str) -> None:
    levels = np.zeros(SIZE[::-1], dtype=np.uint8)
    levels[: SIZE[1] // 2, : SIZE[0] // 2] = 255
    deep = mode == "I;16"
    mask = Image.fromarray(levels.astype(np.uint16) * 257) if deep else Image.fromarray(levels).convert(mode)
    path = tmp_path / "a.png"
    mask.save(path)
    read = open_mask(path)
    assert (read.mode, read.size) == ("L", SIZE)
    assert np.array_equal(np.asarray(read), levels)


def test_what_is_transparent_in_a_mask_is_not_trained(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    mask = Image.new("RGBA", SIZE, (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 4, 4))
    mask.save(path)
    assert open_mask(path).getpixel((0, 0)) == 255
    assert open_mask(path).getpixel(BOTTOM_RIGHT) == 0


def test_picture_without_transparency_has_no_alpha(tmp_path: Path) -> None:
    assert open_alpha(pictures.write(tmp_path, "a.jpg", pictures.COLOURED["plain.jpg"]())) is None


# --------------------------------------------------------------------------- cheap


@pytest.mark.parametrize(
    ("at_least", "size"),
    [(None, (803, 601)), (601, (803, 601)), (301, (803, 601)), (300, (402, 301)), (76, (201, 151)), (10, (101, 76))],
)
def test_large_jpeg_is_decoded_no_smaller_than_asked(
    tmp_path: Path, at_least: int | None, size: tuple[int, int]
) -> None:
    path = tmp_path / "a.jpg"
    pictures.scene((803, 601)).save(path)
    assert open_picture(path, at_least=at_least).size == size


def test_other_formats_stay_whole_and_transparent(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    pictures.see_through((400, 300)).save(path)
    picture = open_picture(path, "red", at_least=10)
    assert picture.size == (400, 300) and picture.getpixel((390, 290)) == (255, 0, 0)


@pytest.mark.parametrize("name", pictures.ALL)
def test_header_says_what_opening_gives(tmp_path: Path, name: str) -> None:
    path = pictures.write(tmp_path, name, pictures.ALL[name]())
    header = read_header(path)
    assert (header.width, header.height) == open_picture(path).size
    assert header.alpha == (open_alpha(path) is not None) == name.startswith("transparent")
    assert header.frames == (4 if name in pictures.MOVING else 1)


def test_header_decodes_no_pixel(tmp_path: Path) -> None:
    content = bytearray(pictures.encoded(Image.effect_noise((64, 64), 90), "PNG"))
    at = content.index(b"IDAT") + 4
    content[at : at + 200] = bytes(200)
    path = pictures.write(tmp_path, "a.png", bytes(content))
    assert read_header(path) == Header(64, 64, False, 1)
    with pytest.raises(DECODE_ERRORS):
        open_picture(path)


def test_every_format_of_the_tests_is_listed() -> None:
    assert {Path(name).suffix for name in pictures.ALL} <= PICTURE_ENDINGS
