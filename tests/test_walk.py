"""Which files of a folder are pictures, and what lies beside them: by name alone, in an order that never changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from trainers.data import walk
from trainers.data.walk import Found, Leftovers, order_of

ENDINGS = ".txt,.caption"


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(root: Path) -> list[str]:
    return [found.name for found in walk.walk(root, ENDINGS)]


def beside(root: Path) -> dict[str, tuple[str, str]]:
    return {found.name: (found.caption, found.mask) for found in walk.walk(root, ENDINGS)}


def leftovers(root: Path) -> Leftovers:
    left = Leftovers()
    list(walk.walk(root, ENDINGS, left))
    return left


def test_pictures_of_all_folders_without_hidden_ones_and_without_masks(tmp_path: Path) -> None:
    shown = ["a/z.jpg", "a/ü 图片.webp", "b.PNG", "c.d.Jpeg"]
    hidden = [".hidden.png", ".cache/x.png", ".trash/x.png", ".thumbs/x.png", "a/._z.jpg"]
    touch(tmp_path, *shown, *hidden, "b-masklabel.png", "notes.txt", "noending", "png")
    (tmp_path / "folder.png").mkdir()
    assert names(tmp_path) == shown
    assert walk.count(tmp_path) == len(shown)


def test_order_is_that_of_paths_and_of_the_store(tmp_path: Path) -> None:
    """A folder and a file share a beginning: `a-b.png` comes after `a/c.png` and before `b.png`."""
    touch(tmp_path, "a/c.png", "a/b/z.png", "a-b.png", "b.png", "a.png", "B/x.png", "图/一.png")
    found = names(tmp_path)
    assert [tmp_path / name for name in found] == sorted(tmp_path / name for name in found)
    assert [order_of(name) for name in found] == sorted(order_of(name) for name in found)


@pytest.mark.parametrize(
    ("files", "caption"),
    [
        (["v1.2.txt"], "v1.2.txt"),
        (["v1.2.png.txt"], "v1.2.png.txt"),
        (["v1.2.txt", "v1.2.png.txt"], "v1.2.txt"),
        (["v1.2.caption"], "v1.2.caption"),
        (["v1.2.caption", "v1.2.txt"], "v1.2.txt"),
        (["v1.2.caption", "v1.2.png.txt"], "v1.2.png.txt"),
        (["v1.2.TXT"], "v1.2.TXT"),
        (["v1.2.TXT", "v1.2.txt"], "v1.2.txt"),
        (["v1.txt", "v1.2.md", "other.txt"], ""),
    ],
)
def test_caption_of_a_name_with_dots(tmp_path: Path, files: list[str], caption: str) -> None:
    if len({name.lower() for name in files}) < len(files) and sys.platform != "linux":
        files = files[1:]  # one file where capitals do not count
    touch(tmp_path, "v1.2.png", *files)
    assert beside(tmp_path) == {"v1.2.png": (caption, "")}


def test_captions_and_masks_belong_to_pictures_of_their_own_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "sub/a.jpg", "sub/a.txt", "sub/a-masklabel.png", "a-masklabel.webp")
    assert beside(tmp_path) == {
        "a.png": ("", "a-masklabel.webp"),
        "sub/a.jpg": ("sub/a.txt", "sub/a-masklabel.png"),
    }


def test_captions_and_masks_of_no_picture_are_orphans(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.txt", "a.caption", "clip.mp4", "clip.txt", "README.txt", "License.txt")
    touch(tmp_path, "gone.txt", "sub/a.txt", "sub/b-masklabel.png", "a.jpeg.caption", "notes.md")
    assert leftovers(tmp_path).orphans == ["a.jpeg.caption", "gone.txt", "sub/a.txt", "sub/b-masklabel.png"]


def test_pictures_that_share_a_caption_clash(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.jpg", "a.txt", "b.png", "b.jpg", "c.png", "c.jpg", "c.png.txt", "c.txt", "d/a.webp")
    assert leftovers(tmp_path).clashes == [("a.jpg", "a.png"), ("c.jpg", "c.png")]
    (tmp_path / "c.txt").unlink()
    assert leftovers(tmp_path).clashes == [("a.jpg", "a.png")], "c.png.txt is that of one picture"


def test_clips_are_no_pictures_and_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "a/c.webm", "a.png")
    assert names(tmp_path) == ["a.png"]
    assert sorted(leftovers(tmp_path).clips) == ["a/c.webm", "b.MP4"]


def test_links_to_folders_are_followed_and_end(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.png", "elsewhere/b.png")
    (tmp_path / "data/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "data")
    (tmp_path / "data/itself").symlink_to(tmp_path / "data/itself")
    assert names(tmp_path / "data") == ["a.png", "more/b.png"]
    assert walk.count(tmp_path / "data") == 2


def test_folder_that_cannot_be_listed_is_told_and_the_rest_is_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.png", "locked/b.png")
    real = os.scandir

    def scandir(path: str) -> object:
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    left = Leftovers()
    assert list(walk.walk(tmp_path, ENDINGS, left)) == [Found("a.png")]
    assert left.unreadable == [("locked", "permission denied")]


@pytest.mark.parametrize("function", [walk.walk, lambda folder, _: [walk.count(folder)]], ids=["walk", "count"])
def test_folder_that_is_not_there_raises(tmp_path: Path, function: object) -> None:
    with pytest.raises(FileNotFoundError):
        list(function(tmp_path / "gone", ENDINGS))  # type: ignore[operator]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_name_that_is_no_text_is_walked(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"gr\xfcn.png"), "wb"):
        pass
    assert names(tmp_path) == ["gr\udcfcn.png"]
