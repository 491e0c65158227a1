"""Pictures as they come: any format that a camera, a phone or a scraper writes is read right, or named."""

from __future__ import annotations

import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests import pictures
from trainers.data import kinds
from trainers.data.decode import (
    DECODE_ERRORS,
    PICTURE_ENDINGS,
    Header,
    open_alpha,
    open_mask,
    open_picture,
    read_header,
    reason_of,
)
from trainers.errors import MissingPackageError

SIZE = pictures.SIZE
TOP_LEFT, BOTTOM_RIGHT = (4, 3), (SIZE[0] - 4, SIZE[1] - 3)
ALL = {**pictures.COLOURED, **pictures.GREY, **pictures.MOVING} | {
    f"transparent {name}": make for name, make in pictures.TRANSPARENT.items()
}


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def near(picture: Image.Image, place: tuple[int, int], colour: tuple[int, ...], off: int = 12) -> bool:
    """Lossy formats and palettes are a few levels off."""
    return bool(np.abs(np.subtract(picture.getpixel(place), colour)).max() <= off)


def refusal(path: Path) -> str:
    """Why the header cannot be read."""
    with pytest.raises(DECODE_ERRORS) as caught:
        read_header(path)
    return reason_of(caught.value)


# --------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("name", pictures.COLOURED)
def test_every_format_shows_the_same_scene(tmp_path: Path, name: str) -> None:
    picture = open_picture(write(tmp_path, name, pictures.COLOURED[name]()))
    assert (picture.mode, picture.size) == ("RGB", SIZE)
    assert near(picture, TOP_LEFT, pictures.CORNER), picture.getpixel(TOP_LEFT)
    assert near(picture, BOTTOM_RIGHT, pictures.REST), picture.getpixel(BOTTOM_RIGHT)


@pytest.mark.parametrize("name", pictures.TRANSPARENT)
def test_transparent_parts_show_the_background_and_become_the_alpha(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, pictures.TRANSPARENT[name]())
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
    picture = open_picture(write(tmp_path, name, pictures.GREY[name]()))
    assert near(picture, TOP_LEFT, (64,) * 3, 1)
    assert near(picture, BOTTOM_RIGHT, (191,) * 3, 1)


def test_transparent_level_of_16_bits(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">2H", 65535, 300)
    content = pictures.png(2, 1, 16, 0, row)
    chunk = b"tRNS" + struct.pack(">H", 300)
    # it has to stand before the pixels
    at = content.index(b"IDAT") - 4
    content = content[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", pictures.zlib.crc32(chunk)) + content[at:]
    path = write(tmp_path, "a.png", content)
    alpha = open_alpha(path)
    assert alpha is not None and alpha.tobytes() == b"\xff\0"
    assert open_picture(path, "red").getpixel((1, 0)) == (255, 0, 0)


def test_premultiplied_edges_mix_with_the_background(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (2, 2), (255, 0, 0, 128)).save(path)
    assert near(open_picture(path, "blue"), (0, 0), (128, 0, 127), 1)


@pytest.mark.parametrize("name", pictures.MOVING)
def test_the_first_frame_of_what_moves(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, pictures.MOVING[name]())
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
    path = write(tmp_path, "a.png", pictures.png(*SIZE, 8, 2, rows, (b"eXIf", pictures.orientation(6)[6:])))
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
    assert open_alpha(write(tmp_path, "a.jpg", pictures.COLOURED["plain.jpg"]())) is None


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


@pytest.mark.parametrize("name", ALL)
def test_header_says_what_opening_gives(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, ALL[name]())
    header = read_header(path)
    assert (header.width, header.height) == open_picture(path).size
    assert header.alpha == (open_alpha(path) is not None) == name.startswith("transparent")
    assert header.frames == (4 if name in pictures.MOVING else 1)


def test_header_decodes_no_pixel(tmp_path: Path) -> None:
    content = bytearray(pictures.encoded(Image.effect_noise((64, 64), 90), "PNG"))
    at = content.index(b"IDAT") + 4
    content[at : at + 200] = bytes(200)
    path = write(tmp_path, "a.png", bytes(content))
    assert read_header(path) == Header(64, 64, False, 1)
    with pytest.raises(DECODE_ERRORS):
        open_picture(path)


# --------------------------------------------------------------------------- faults


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@pytest.mark.parametrize("name", [name for name in ALL if "stereo" not in name and "pages" not in name])
def test_cut_off_anywhere_is_found_in_the_header(tmp_path: Path, name: str) -> None:
    content = ALL[name]()
    # without its very last byte a GIF lacks no pixel
    last = len(content) - (2 if name.endswith(".gif") else 1)
    for length in (1, 20, len(content) // 4, len(content) // 2, len(content) * 9 // 10, last):
        reason = refusal(write(tmp_path, name, content[:length]))
        # of one byte nothing can be said, and only the decoder knows the end of a JPEG XL
        assert "cut off" in reason or length == 1 or name.endswith(".jxl"), (length, reason)


@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "lossy.webp", "plain.gif", "plain.bmp", "plain.avif"])
def test_bytes_behind_the_end_are_no_fault(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, pictures.COLOURED[name]() + b"appended by a phone" * 100)
    assert (read_header(path).width, read_header(path).height) == open_picture(path).size == SIZE


def test_preview_in_exif_does_not_pass_for_the_end(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a preview: \xff\xd9"
    preview = b"Exif\0\0" + exif.tobytes()[6:] + pictures.encoded(Image.new("RGB", (8, 8)), "JPEG")
    content = pictures.encoded(Image.effect_noise((200, 200), 60), "JPEG", exif=preview)
    assert b"\xff\xd9" in content[:-2]
    assert read_header(write(tmp_path, "a.jpg", content)).width == 200
    assert refusal(write(tmp_path, "a.jpg", content[:-50])) == "the file is cut off"


@pytest.mark.parametrize("name", pictures.STRANGERS)
def test_what_is_no_picture_is_named(tmp_path: Path, name: str) -> None:
    content, word = pictures.STRANGERS[name]
    path = write(tmp_path, name, content)
    assert word in refusal(path)
    with pytest.raises(DECODE_ERRORS) as caught:
        open_picture(path)
    assert reason_of(caught.value) == refusal(path)


def test_reasons_are_short_and_say_what_helps(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.png") == "no such file or directory"
    assert reason_of(PermissionError(13, "Permission denied")) == "permission denied"
    assert reason_of(MemoryError()) == "there is not enough memory to decode it"
    assert reason_of(OSError("broken data stream.")) == "it is damaged (broken data stream)"
    large = write(tmp_path, "a.png", pictures.png(20_000, 10_000, 8, 0, b""))
    assert refusal(large) == "it has 200 megapixels: scale it down"


def test_panoramas_raise_no_warning(tmp_path: Path) -> None:
    path = write(tmp_path, "a.png", pictures.png(20_000, 5_000, 8, 0, b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_header(path).width == 20_000


def test_nobody_makes_pillow_accept_cut_off_files() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# --------------------------------------------------------------------------- optional packages


@pytest.mark.parametrize(
    ("name", "module", "line"),
    [
        ("plain.heic", "pillow_heif", "HEIC needs pillow-heif: pip install -r requirements-formats.txt"),
        ("plain.jxl", "pillow_jxl", "JPEG XL needs pillow-jxl-plugin: pip install -r requirements-formats.txt"),
    ],
)
def test_missing_package_is_a_bad_file_that_names_the_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, line: str
) -> None:
    # phones also send HEIC under the name of a JPEG
    paths = [write(tmp_path, to, pictures.COLOURED[name]()) for to in (name, "a.jpg")]
    monkeypatch.setitem(sys.modules, module, None)
    kinds.teach.cache_clear()
    for path in paths:
        assert refusal(path) == line
        with pytest.raises(MissingPackageError):
            open_picture(path)
    monkeypatch.undo()
    for path in paths:
        assert open_picture(path).size == SIZE


def test_every_format_of_the_tests_is_listed() -> None:
    assert {Path(name).suffix for name in ALL} <= PICTURE_ENDINGS
