"""Frames of clips: at the wanted moments, upright, from videos and from pictures that move."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from trainers.data.clips import ClipInfo, clip_info, is_clip, read_frames
from trainers.data.decode import DECODE_ERRORS, read_header, reason_of

VIDEOS = {"a.mp4": "libx264", "a.webm": "libvpx-vp9", "a.mkv": "libx264", "a.mov": "libx264"}


def numbers(found: list[Image.Image], first: int, step: int) -> list[int]:
    """Which frames these are, by their grey."""
    return [round((float(np.asarray(frame).mean()) - first) / step) for frame in found]


@pytest.mark.parametrize("name", VIDEOS)
def test_video_gives_its_frames_at_any_rate(tmp_path: Path, name: str) -> None:
    path = pictures.video(tmp_path / name, count=16, fps=8, codec=VIDEOS[name])
    assert clip_info(path) == ClipInfo(64, 48, 16, 8.0)
    assert numbers(read_frames(path, 99), 0, 15) == list(range(16))
    assert numbers(read_frames(path, 3, start=5), 0, 15) == [5, 6, 7]
    assert numbers(read_frames(path, 99, fps=4), 0, 15) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert numbers(read_frames(path, 2, start=3, fps=4), 0, 15) == [6, 8]
    assert numbers(read_frames(path, 5, fps=16), 0, 15) == [0, 0, 1, 1, 2]
    assert all((frame.mode, frame.size) == ("RGB", (64, 48)) for frame in read_frames(path, 2))


def test_times_that_a_file_rounds_lose_no_frame(tmp_path: Path) -> None:
    """WebM counts milliseconds: frame 1 of 24 a second is at 0.042 s and not at 1/24."""
    path = pictures.video(tmp_path / "a.webm", count=16, fps=24, codec="libvpx-vp9")
    assert numbers(read_frames(path, 99, fps=24), 0, 15) == list(range(16))


def test_video_of_a_phone_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    pictures.video(path, count=2)
    assert read_frames(path, 1)[0].size == (64, 48)
    info = clip_info(pictures.turned(path))
    assert (info.width, info.height) == read_frames(path, 1)[0].size == (48, 64)


def test_turn_is_clockwise(tmp_path: Path) -> None:
    path = pictures.video(tmp_path / "a.mp4", frames=[pictures.scene((64, 48))])
    (frame,) = read_frames(pictures.turned(path), 1)
    # the red quarter of the top left goes to the top right
    red = [frame.getpixel(place)[0] for place in ((40, 8), (8, 8), (8, 56), (40, 56))]
    assert red[0] > 150 and max(red[1:]) < 90


@pytest.mark.parametrize("name", pictures.MOVING)
def test_picture_that_moves_gives_its_frames_by_their_times(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pictures.MOVING[name]())
    assert clip_info(path) == ClipInfo(*pictures.SIZE, 4, 10.0)
    assert is_clip(path, read_header(path).frames)
    assert numbers(read_frames(path, 99), 15, 50) == [0, 1, 2, 3]
    assert numbers(read_frames(path, 2, start=1), 15, 50) == [1, 2]
    assert numbers(read_frames(path, 99, fps=5), 15, 50) == [0, 2]
    assert numbers(read_frames(path, 99, fps=20), 15, 50) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_frames_without_a_time_are_shown_as_browsers_do(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(pictures.moving("GIF", ms=0))
    assert clip_info(path).fps == 10.0


def test_frames_of_a_gif_build_on_each_other_over_white(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    first, second = pictures.see_through(), pictures.see_through().transpose(Image.Transpose.ROTATE_180)
    first.save(path, save_all=True, append_images=[second], duration=100, disposal=2)
    one, other = read_frames(path, 9)
    size = pictures.SIZE
    assert one.getpixel((2, 2))[2] < 100 and one.getpixel((size[0] - 2, size[1] - 2)) == (255, 255, 255)
    assert other.getpixel((2, 2)) == (255, 255, 255) and other.getpixel((size[0] - 2, size[1] - 2))[2] < 100


def test_still_picture_is_no_clip(tmp_path: Path) -> None:
    assert not is_clip(tmp_path / "a.gif", 1)
    assert is_clip(tmp_path / "a.gif", 2)
    assert is_clip(tmp_path / "A.MP4")


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "empty"), (b"no video" * 99, "damaged"), (bytes(9000), "damaged")], ids=str
)
def test_damaged_video_is_a_named_fault(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    for read in (clip_info, lambda file: read_frames(file, 1)):
        with pytest.raises(DECODE_ERRORS) as caught:
            read(path)
        assert word in reason_of(caught.value)


def test_cut_off_video_is_a_fault(tmp_path: Path) -> None:
    path = pictures.video(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DECODE_ERRORS):
        clip_info(path)


def test_missing_package_names_the_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pictures.video(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DECODE_ERRORS) as caught:
        read_frames(path, 1)
    assert reason_of(caught.value) == "Videos need av: pip install -r requirements-formats.txt"
    # pictures that move need no package
    (tmp_path / "a.gif").write_bytes(pictures.MOVING["moving.gif"]())
    assert len(read_frames(tmp_path / "a.gif", 9)) == 4
