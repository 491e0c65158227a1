"""Scans of folders and data sets: which pictures are trained, with which captions, and what is wrong with others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trainers.config import Data
from trainers.data.folder import BadFile, FolderScan, Picture, Scan, scan, scan_folder
from trainers.data.sources import SourceError

ENDINGS = ".txt,.caption"
SIZE = (6, 4)


def plain(path: Path, colour: str = "red", size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def look(folder: Path, **options: Any) -> FolderScan:
    return scan_folder(folder, ENDINGS, None, **options)


def by_name(found: FolderScan | Scan) -> dict[str, Picture]:
    return {picture.name: picture for picture in found.pictures}


def only_bad(folder: Path) -> str:
    """The reason why the folder's one picture cannot be used."""
    found = look(folder)
    assert found.pictures == ()
    (bad,) = found.bad
    return bad.reason


@pytest.fixture
def data(tmp_path: Path) -> Any:
    """Makes the section `data` of a resolved config."""

    def make(folder: Path | str, **values: Any) -> Data:
        cache = str(tmp_path / "cache")
        return Data(folder=str(folder), resolution=512, bucket_step=16, cache_dir=cache, **values)

    return make


# --------------------------------------------------------------------------- one folder


def test_pictures_come_in_order_and_progress_is_told(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "c.png"):
        plain(tmp_path / name)
    told: list[tuple[int, int | None]] = []
    found = look(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert [picture.path for picture in found.pictures] == [tmp_path / name for name in ("a/z.png", "b.png", "c.png")]
    assert told == [(0, None), (1, 3), (2, 3), (3, 3)]


def test_picture_tells_what_its_file_holds(tmp_path: Path) -> None:
    Image.new("RGBA", (5, 7), (1, 2, 3, 128)).save(tmp_path / "a.png")
    plain(tmp_path / "a-masklabel.png", "white")
    (found,) = look(tmp_path).pictures
    assert (found.width, found.height, found.alpha, found.frames) == (5, 7, True, 1)
    assert found.size == (tmp_path / "a.png").stat().st_size
    assert found.mask == tmp_path / "a-masklabel.png" and found.digest
    assert (found.concept, found.repeats, found.regularisation, found.source) == ("", 1, False, 0)


def test_digest_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", "red")
    plain(tmp_path / "b.png", "red")
    plain(tmp_path / "c.png", "blue")
    one, same, other = (picture.digest for picture in look(tmp_path).pictures)
    assert one == same != other


def test_headers_alone_find_the_same_pictures(tmp_path: Path) -> None:
    plain(tmp_path / "a.png")
    write(tmp_path / "a.txt", "rot")
    (full,), (header,) = look(tmp_path).pictures, look(tmp_path, content=False).pictures
    assert (header.name, header.width, header.lines) == (full.name, full.width, full.lines)
    assert (header.digest, header.dhash, header.sharpness) == ("", 0, 0.0)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a red circle", ("a red circle",)),
        (b"\xef\xbb\xbfa red circle\r\n", ("a red circle",)),
        (b"a red circle\r\n\n  a round one\t", ("a red circle", "a round one")),
        ("ein grüner Kreis, 圆".encode(), ("ein grüner Kreis, 圆",)),
        ("圆".encode("utf-16"), ("圆",)),
        (b"", ()),
        (b" \n", ()),
    ],
    ids=["plain", "bom", "lines", "unicode", "utf-16", "empty", "blank"],
)
def test_each_line_is_a_caption(tmp_path: Path, content: bytes, lines: tuple[str, ...]) -> None:
    plain(tmp_path / "我的 图.v2.png")
    write(tmp_path / "我的 图.v2.txt", content)
    assert look(tmp_path).pictures[0].lines == lines


def test_no_caption_is_not_an_empty_one(tmp_path: Path) -> None:
    plain(tmp_path / "a.png")
    assert look(tmp_path).pictures[0].lines is None


def test_first_ending_that_exists_wins(tmp_path: Path) -> None:
    plain(tmp_path / "a.png")
    write(tmp_path / "a.caption", "second")
    assert look(tmp_path).pictures[0].lines == ("second",)
    write(tmp_path / "a.txt", "first")
    assert look(tmp_path).pictures[0].lines == ("first",)
    assert scan_folder(tmp_path, ".caption", None).pictures[0].lines == ("second",)


def test_caption_file_wins_over_the_table_and_that_is_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plain(tmp_path / name)
    write(tmp_path / "metadata.csv", "file_name,text\na.png,table a\nb.png,table b\n")
    write(tmp_path / "b.txt", "file b")
    found = look(tmp_path)
    assert found.layout.kind == "imagefolder" and found.both == 1
    assert {name: picture.lines for name, picture in by_name(found).items()} == {
        "a.png": ("table a",),
        "b.png": ("file b",),
    }


def test_kohya_folders_give_concept_and_repeats(tmp_path: Path) -> None:
    for name in ("img/10_my dog/a.png", "reg/1_dog/b.png", "c.png"):
        plain(tmp_path / name)
    found = by_name(look(tmp_path))
    facts = {name: (one.concept, one.repeats, one.regularisation) for name, one in found.items()}
    assert facts == {
        "c.png": ("", 1, False),
        "img/10_my dog/a.png": ("my dog", 10, False),
        "reg/1_dog/b.png": ("dog", 1, True),
    }


def test_what_is_no_picture_of_its_own_is_told(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        plain(tmp_path / name)
    for name in ("a.txt", "gone.txt"):
        write(tmp_path / name, "text")
    write(tmp_path / "clip.mp4", b"")
    found = look(tmp_path)
    assert (found.orphans, found.clashes, found.clips) == (("gone.txt",), (("a.jpg", "a.png"),), ("clip.mp4",))


# --------------------------------------------------------------------------- what cannot be used


def test_caption_that_is_no_text_is_told(tmp_path: Path) -> None:
    plain(tmp_path / "a.png")
    write(tmp_path / "a.txt", "一个红色的圆形在左边".encode("gbk"))
    assert only_bad(tmp_path) == "its caption is not UTF-8 (perhaps GBK)"


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"<html>404</html>"], ids=["empty", "cut off", "page"])
def test_bad_picture_does_not_hide_the_good_ones(tmp_path: Path, content: bytes) -> None:
    plain(tmp_path / "good.png")
    write(tmp_path / "bad.png", content)
    found = look(tmp_path)
    assert list(by_name(found)) == ["good.png"]
    assert [bad.path for bad in found.bad] == [tmp_path / "bad.png"] and found.bad[0].reason


def test_link_to_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert only_bad(tmp_path) == "no such file or directory"


def test_folder_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        look(tmp_path / "gone")


# --------------------------------------------------------------------------- the data sets of a run


def test_scan_of_several_sets_is_that_of_each(tmp_path: Path, data: Any) -> None:
    plain(tmp_path / "one/a.png")
    plain(tmp_path / "two/b.png", "blue")
    plain(tmp_path / "two/c.png", "green")
    write(tmp_path / "two/bad.png", b"x")
    sets = [{"folder": str(tmp_path / "two"), "repeats": 3, "regularisation": True}]
    told: list[tuple[int, int | None]] = []
    found = scan(data(tmp_path / "one", sets=sets), progress=lambda done, total: told.append((done, total)))
    assert [source.repeats for source in found.sources] == [1, 3]
    assert [(one.name, one.source, one.regularisation) for one in found.pictures] == [
        ("a.png", 0, False),
        ("b.png", 1, True),
        ("c.png", 1, True),
    ]
    assert [len(one.pictures) for one in found.folders] == [1, 2]
    assert [bad.path.name for bad in found.bad] == ["bad.png"]
    assert told[0] == (0, None) and told[-1] == (4, 4)
    counts = [done for done, total in told if total == 4]
    assert counts == sorted(counts)


def test_second_scan_and_a_cache_that_is_gone_give_the_same(tmp_path: Path, data: Any) -> None:
    for number in range(5):
        os.utime(plain(tmp_path / f"pictures/{number}.png", size=(8, 8 + number)), (1e9, 1e9))
    config = data(tmp_path / "pictures")
    first, second = scan(config), scan(config)
    assert len(list((tmp_path / "cache/index").iterdir())) == 1
    assert first == second == scan(config.model_copy(update={"cache_dir": str(tmp_path / "other")}))


def test_nothing_is_written_into_the_folder(tmp_path: Path, data: Any) -> None:
    plain(tmp_path / "pictures/a.png")
    os.utime(tmp_path / "pictures", (1e9, 1e9))
    scan(data(tmp_path / "pictures"))
    assert os.listdir(tmp_path / "pictures") == ["a.png"] and (tmp_path / "pictures").stat().st_mtime == 1e9


@pytest.mark.parametrize("mask", ["none", "alpha", "file", "any"])
def test_bad_mask_counts_where_masks_do(tmp_path: Path, data: Any, mask: str) -> None:
    plain(tmp_path / "pictures/a.png")
    plain(tmp_path / "pictures/b.png")
    bad = write(tmp_path / "pictures/a-masklabel.png", b"x")
    found = scan(data(tmp_path / "pictures", mask=mask))
    if mask in ("file", "any"):
        assert list(by_name(found)) == ["b.png"]
        assert found.bad == (BadFile(bad, found.bad[0].reason),)
    else:
        assert list(by_name(found)) == ["a.png", "b.png"] and found.bad == ()


PROMPTS: list[tuple[dict[str, Any], dict[str, tuple[str, ...] | None]]] = [
    ({}, {"red_dog.png": ("a dog", "two"), "plain.png": None, "empty.png": ()}),
    (
        {"instance_prompt": "sks"},
        {"red_dog.png": ("a dog", "two"), "plain.png": ("sks",), "empty.png": ("sks",)},
    ),
    (
        {"instance_prompt": "sks", "prepend_instance_prompt": True},
        {"red_dog.png": ("sks a dog", "sks two"), "plain.png": ("sks",), "empty.png": ("sks",)},
    ),
    (
        {"instance_prompt": "sks", "caption_strategy": "instanceprompt"},
        {"red_dog.png": ("sks",), "plain.png": ("sks",), "empty.png": ("sks",)},
    ),
    (
        {"caption_strategy": "filename"},
        {"red_dog.png": ("red dog",), "plain.png": ("plain",), "empty.png": ("empty",)},
    ),
    (
        {"caption_strategy": "filename", "instance_prompt": "sks", "prepend_instance_prompt": True},
        {"red_dog.png": ("sks red dog",), "plain.png": ("sks plain",), "empty.png": ("sks empty",)},
    ),
]


@pytest.mark.parametrize(("entry", "lines"), PROMPTS, ids=lambda value: " ".join(value) if value else "plain")
def test_captions_are_those_that_the_set_asks_for(
    tmp_path: Path, data: Any, entry: dict[str, Any], lines: dict[str, tuple[str, ...] | None]
) -> None:
    for name in lines:
        plain(tmp_path / "pictures" / name)
    write(tmp_path / "pictures/red_dog.txt", "a dog\ntwo")
    write(tmp_path / "pictures/empty.txt", "")
    backend = {"id": "dogs", "type": "local", "instance_data_dir": "pictures", **entry}
    write(tmp_path / "multidatabackend.json", json.dumps([backend]))
    found = scan(data(tmp_path / "multidatabackend.json"))
    assert {name: picture.lines for name, picture in by_name(found).items()} == lines


def test_set_that_cannot_be_opened_raises(tmp_path: Path, data: Any) -> None:
    with pytest.raises(SourceError) as caught:
        scan(data(tmp_path / "gone"))
    assert caught.value.code == "missing_folder"
