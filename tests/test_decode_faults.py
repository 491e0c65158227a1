"""Files that are no whole pictures: each is refused with a cause that helps."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from tests import pictures
from trainers.data import kinds
from trainers.data.decode import DECODE_ERRORS, open_picture, read_header, reason_of
from trainers.errors import MissingPackageError

SIZE = pictures.SIZE


def refusal(path: Path) -> str:
    """Why the header cannot be read."""
    with pytest.raises(DECODE_ERRORS) as caught:
        read_header(path)
    return reason_of(caught.value)


# --------------------------------------------------------------------------- faults


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@pytest.mark.parametrize("name", [name for name in pictures.ALL if "stereo" not in name and "pages" not in name])
def test_cut_off_anywhere_is_found_in_the_header(tmp_path: Path, name: str) -> None:
    content = pictures.ALL[name]()
    # without its very last byte a GIF lacks no pixel
    last = len(content) - (2 if name.endswith(".gif") else 1)
    for length in (1, 20, len(content) // 4, len(content) // 2, len(content) * 9 // 10, last):
        reason = refusal(pictures.write(tmp_path, name, content[:length]))
        # of one byte nothing can be said, and only the decoder knows the end of a JPEG XL
        assert "cut off" in reason or length == 1 or name.endswith(".jxl"), (length, reason)


@pytest.mark.parametrize("name", ["plain.jpg", "plain.png", "lossy.webp", "plain.gif", "plain.bmp", "plain.avif"])
def test_bytes_behind_the_end_are_no_fault(tmp_path: Path, name: str) -> None:
    path = pictures.write(tmp_path, name, pictures.COLOURED[name]() + b"appended by a phone" * 100)
    assert (read_header(path).width, read_header(path).height) == open_picture(path).size == SIZE


def test_preview_in_exif_does_not_pass_for_the_end(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a preview: \xff\xd9"
    preview = b"Exif\0\0" + exif.tobytes()[6:] + pictures.encoded(Image.new("RGB", (8, 8)), "JPEG")
    content = pictures.encoded(Image.effect_noise((200, 200), 60), "JPEG", exif=preview)
    assert b"\xff\xd9" in content[:-2]
    assert read_header(pictures.write(tmp_path, "a.jpg", content)).width == 200
    assert refusal(pictures.write(tmp_path, "a.jpg", content[:-50])) == "the file is cut off"


@pytest.mark.parametrize("name", pictures.STRANGERS)
def test_what_is_no_picture_is_named(tmp_path: Path, name: str) -> None:
    content, word = pictures.STRANGERS[name]
    path = pictures.write(tmp_path, name, content)
    assert word in refusal(path)
    with pytest.raises(DECODE_ERRORS) as caught:
        open_picture(path)
    assert reason_of(caught.value) == refusal(path)


def test_reasons_are_short_and_say_what_helps(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.png") == "no such file or directory"
    assert reason_of(PermissionError(13, "Permission denied")) == "permission denied"
    assert reason_of(MemoryError()) == "there is not enough memory to decode it"
    assert reason_of(OSError("broken data stream.")) == "it is damaged (broken data stream)"
    large = pictures.write(tmp_path, "a.png", pictures.png(20_000, 10_000, 8, 0, b""))
    assert refusal(large) == "it has 200 megapixels: scale it down"


def test_panoramas_raise_no_warning(tmp_path: Path) -> None:
    path = pictures.write(tmp_path, "a.png", pictures.png(20_000, 5_000, 8, 0, b""))
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
    paths = [pictures.write(tmp_path, to, pictures.COLOURED[name]()) for to in (name, "a.jpg")]
    monkeypatch.setitem(sys.modules, module, None)
    kinds.teach.cache_clear()
    for path in paths:
        assert refusal(path) == line
        with pytest.raises(MissingPackageError):
            open_picture(path)
    monkeypatch.undo()
    for path in paths:
        assert open_picture(path).size == SIZE
