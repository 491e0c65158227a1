"""Pictures and captions as they come: any format that a camera, a phone or a scraper writes is read, or named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.data.folder import open_picture, picture_files, read_caption, scan

ENDINGS = ".txt,.caption"
SIZE = (6, 4)


def plain(path: Path, colour: str = "red", size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def only_bad(folder: Path) -> str:
    """The reason why the folder's one picture cannot be read."""
    found = scan(folder, ENDINGS)
    assert found.pictures == ()
    (bad,) = found.bad
    return bad.reason


# --------------------------------------------------------------------------- which files


def test_pictures_of_all_folders_by_name_without_hidden_ones(tmp_path: Path) -> None:
    shown = ["b.PNG", "a/z.jpg", "a/ü 图片.webp", "c.d.Jpeg"]
    for name in [*shown, ".hidden.png", ".cache/x.png", "a/._z.jpg"]:
        plain(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    assert picture_files(tmp_path) == sorted(tmp_path / name for name in shown)


def test_scan_keeps_the_order_and_tells_progress(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.png"):
        plain(tmp_path / name)
    told: list[tuple[int, int]] = []
    found = scan(tmp_path, ENDINGS, lambda done, total: told.append((done, total)))
    assert [picture.path.name for picture in found.pictures] == ["a.png", "b.png", "c.png"]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_digest_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", "red")
    plain(tmp_path / "b.png", "red")
    plain(tmp_path / "c.png", "blue")
    one, same, other = (picture.digest for picture in scan(tmp_path, ENDINGS).pictures)
    assert one == same != other


# --------------------------------------------------------------------------- captions


@pytest.mark.parametrize(
    ("content", "caption"),
    [
        (b"a red circle", "a red circle"),
        (b"\xef\xbb\xbfa red circle\r\n", "a red circle"),
        (b"a red\r\ncircle,\n\n  left\t", "a red circle, left"),
        ("ein grüner Kreis, 圆".encode(), "ein grüner Kreis, 圆"),
        (b"", ""),
        (b" \n", ""),
    ],
    ids=["plain", "bom", "lines", "unicode", "empty", "blank"],
)
def test_caption_is_one_clean_line(tmp_path: Path, content: bytes, caption: str) -> None:
    picture = plain(tmp_path / "我的 图.v2.png")
    (tmp_path / "我的 图.v2.txt").write_bytes(content)
    assert scan(tmp_path, ENDINGS).pictures[0].caption == read_caption(picture, ENDINGS) == caption


def test_first_ending_that_exists_wins(tmp_path: Path) -> None:
    picture = plain(tmp_path / "a.png")
    assert read_caption(picture, ENDINGS) is None
    (tmp_path / "a.caption").write_text("second")
    assert read_caption(picture, ENDINGS) == "second"
    (tmp_path / "a.txt").write_text("first")
    assert read_caption(picture, ENDINGS) == "first"
    assert read_caption(picture, ".caption") == "second"


def test_caption_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    plain(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes("grün".encode("utf-16"))
    assert only_bad(tmp_path) == "its caption is not UTF-8"


# --------------------------------------------------------------------------- formats

GREY_16 = np.array([[0, 257 * 64, 257 * 200, 257 * 255]], np.uint16)


def pixels(path: Path) -> list[tuple[int, ...]]:
    """First row of the picture as it is trained on."""
    picture = open_picture(path)
    assert picture.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(picture)[0].tolist()]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_of_16_bits_keeps_its_levels(tmp_path: Path, ending: str) -> None:
    Image.fromarray(GREY_16).save(tmp_path / f"a.{ending}")
    assert pixels(tmp_path / f"a.{ending}") == [(level,) * 3 for level in (0, 64, 200, 255)]


@pytest.mark.parametrize(
    "levels",
    [
        GREY_16.astype(np.int32),
        (GREY_16 / 257).astype(np.int32),
        (GREY_16 / 65535).astype(np.float32),
        GREY_16.astype(np.float32),
    ],
    ids=["int of 16 bits", "int of 8 bits", "float to 1", "float to 65535"],
)
def test_tiff_of_whole_and_real_numbers_keeps_its_levels(tmp_path: Path, levels: np.ndarray) -> None:
    Image.fromarray(levels).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif") == [(level,) * 3 for level in (0, 64, 200, 255)]


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_transparent_parts_become_white(tmp_path: Path, ending: str) -> None:
    picture = Image.new("RGBA", (3, 1), (200, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    picture.putpixel((2, 0), (0, 0, 0, 51))
    picture.save(tmp_path / f"a.{ending}", lossless=True)
    assert pixels(tmp_path / f"a.{ending}") == [(200, 0, 0), (255, 255, 255), (204, 204, 204)]


def test_transparent_grey_and_palette_become_white(tmp_path: Path) -> None:
    grey = Image.new("LA", (2, 1), (100, 255))
    grey.putpixel((1, 0), (0, 0))
    grey.save(tmp_path / "grey.png")
    assert pixels(tmp_path / "grey.png") == [(100, 100, 100), (255, 255, 255)]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "plain.png")
    assert pixels(tmp_path / "plain.png") == [(10, 20, 30), (40, 50, 60)]
    for ending in ("png", "gif"):
        palette.save(tmp_path / f"clear.{ending}", transparency=1)
        assert pixels(tmp_path / f"clear.{ending}") == [(10, 20, 30), (255, 255, 255)]


def test_print_colours_become_screen_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 1), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert pixels(tmp_path / "a.tif") == [(255, 0, 0)] * 2
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = pixels(tmp_path / "a.jpg")[0]
    assert red > 240 and green < 15 and blue < 15


def test_black_and_white_becomes_rgb(tmp_path: Path) -> None:
    Image.new("1", (2, 1), 1).save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png") == [(255, 255, 255)] * 2


def test_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 1), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(tmp_path / "a.gif") == [(255, 0, 0)] * 2


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_picture_is_turned_upright_as_the_camera_says(tmp_path: Path, ending: str) -> None:
    picture = Image.new("RGB", (16, 8), "white")
    picture.paste("black", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned clockwise
    picture.save(tmp_path / f"a.{ending}", exif=exif)
    (found,) = scan(tmp_path, ENDINGS).pictures
    assert (found.width, found.height) == (8, 16)
    upright = np.asarray(open_picture(found.path)).mean(axis=(1, 2))
    assert upright[0] < 20 and upright[-1] > 235, "what was left is on top now"


# --------------------------------------------------------------------------- damaged files


def test_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert only_bad(tmp_path) == "the file is empty"


def test_file_that_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    assert only_bad(tmp_path) == "not a picture, whatever its name says"


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tif"])
def test_file_that_was_cut_off_is_told(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{ending}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert only_bad(tmp_path)


def test_avif_with_damaged_content_is_told(tmp_path: Path) -> None:
    content = plain(tmp_path / "a.avif", size=(64, 64)).read_bytes()
    start = content.index(b"mdat") + 4
    (tmp_path / "a.avif").write_bytes(content[:start] + bytes(len(content) - start))
    assert only_bad(tmp_path)


def test_link_to_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert only_bad(tmp_path) == "no such file or directory"


def test_picture_that_would_fill_the_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    plain(tmp_path / "a.png")
    assert only_bad(tmp_path) == "it has far too many pixels"


def test_bad_picture_does_not_hide_the_good_ones(tmp_path: Path) -> None:
    plain(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    found = scan(tmp_path, ENDINGS)
    assert [picture.path.name for picture in found.pictures] == ["good.png"]
    assert [bad.path.name for bad in found.bad] == ["bad.png"]
