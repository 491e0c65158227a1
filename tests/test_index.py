"""The index of a folder: what it remembers equals what it would read, and only what changed is read again.

That a file was not opened shows when its content is spoilt behind the index's back: same size, same time.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainers.data.index import BATCH, MAX_CAPTION_BYTES, Entry, entries
from trainers.data.walk import Leftovers

ENDINGS = ".txt,.caption"
LONG_AGO_NS = 1_600_000_000 * 10**9


def picture(path: Path, colour: str = "red", size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return aged(path)


def text(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return aged(path)


def aged(path: Path, changed_ns: int = LONG_AGO_NS) -> Path:
    """As if nobody had touched it for years."""
    os.utime(path, ns=(changed_ns, changed_ns))
    return path


def spoil(path: Path) -> None:
    """Other bytes under the same size and time."""
    changed_ns = path.stat().st_mtime_ns
    path.write_bytes(b"x" * path.stat().st_size)
    aged(path, changed_ns)


def read(folder: Path, store: Path | None, *, content: bool = True, threads: int = 2) -> list[Entry]:
    return list(entries(folder, store, ENDINGS, content=content, threads=threads))


def by_name(found: list[Entry]) -> dict[str, Entry]:
    return {entry.name: entry for entry in found}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "cache/index/one.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures good and bad, with captions and masks, in several folders."""
    root = tmp_path / "pictures"
    picture(root / "a.png")
    text(root / "a.txt", "ein Kreis\nzwei Kreise\n")
    picture(root / "b/图 1.jpg", "blue", (30, 20))
    text(root / "b/图 1.caption", b"\xef\xbb\xbf\xe5\x9b\xbe\r\nzwei")
    picture(root / "b/图 1-masklabel.png", "white")
    Image.new("RGBA", (5, 5), (1, 2, 3, 4)).save(root / "b/clear.png")
    aged(root / "b/clear.png")
    text(root / "b/empty.txt", "")
    picture(root / "b/empty.webp")
    text(root / "bad.png", "no picture")
    text(root / "zero.png", "")
    picture(root / "z/gbk.png")
    text(root / "z/gbk.txt", "一个红色的圆".encode("gbk"))
    return root


def test_entry_says_what_is_there(folder: Path) -> None:
    found = by_name(read(folder, None))
    assert list(found) == ["a.png", "b/clear.png", "b/empty.webp", "b/图 1.jpg", "bad.png", "z/gbk.png", "zero.png"]
    plain, chinese, clear = found["a.png"], found["b/图 1.jpg"], found["b/clear.png"]
    assert (plain.width, plain.height, plain.alpha, plain.frames, plain.error) == (6, 4, False, 1, "")
    assert (plain.size, plain.changed_ns) == ((folder / "a.png").stat().st_size, LONG_AGO_NS)
    assert (plain.caption, plain.caption_name) == ("ein Kreis\nzwei Kreise\n", "a.txt")
    assert (chinese.caption, chinese.caption_name) == ("图\nzwei", "b/图 1.caption")
    assert (chinese.mask, chinese.mask_error) == ("b/图 1-masklabel.png", "")
    assert clear.alpha and clear.caption is None and clear.caption_name == ""
    assert found["b/empty.webp"].caption == ""
    assert len({entry.digest for entry in found.values() if not entry.error}) == 4, "z/gbk.png is a copy of a.png"
    assert found["bad.png"].error and found["zero.png"].error and not found["bad.png"].width
    assert "UTF-8" in found["z/gbk.png"].caption_error and found["z/gbk.png"].caption is None


@pytest.mark.parametrize("content", [False, True], ids=["headers", "content"])
def test_scan_with_and_without_store_is_the_same(folder: Path, store: Path, content: bool) -> None:
    fresh = read(folder, None, content=content)
    first, second = read(folder, store, content=content), read(folder, store, content=content)
    assert fresh == first == second == read(folder, store, content=content, threads=1)
    assert not content or {entry.digest != "" for entry in fresh if not entry.error} == {True}


def test_what_one_scan_examined_does_not_change_a_scan_of_headers(folder: Path, store: Path) -> None:
    headers = read(folder, None, content=False)
    examined = read(folder, store)
    assert read(folder, store, content=False) == headers != examined
    spoil(folder / "a.png")
    assert by_name(read(folder, store))["a.png"] == by_name(examined)["a.png"], "and it is remembered all the same"


def test_files_that_have_not_changed_are_not_opened(folder: Path, store: Path) -> None:
    before = by_name(read(folder, store))
    for name in ("a.png", "a.txt", "b/图 1.jpg", "b/图 1.caption", "b/图 1-masklabel.png"):
        spoil(folder / name)
    after = by_name(read(folder, store))
    assert [after[name] for name in ("a.png", "b/图 1.jpg")] == [before[name] for name in ("a.png", "b/图 1.jpg")]
    assert by_name(read(folder, None))["a.png"].error, "without a store they are"


def test_changed_picture_alone_is_read_again(folder: Path, store: Path) -> None:
    before = by_name(read(folder, store))
    picture(folder / "a.png", "green", (8, 8))
    aged(folder / "a.png", LONG_AGO_NS + 1)
    spoil(folder / "b/clear.png")
    after = by_name(read(folder, store))
    assert (after["a.png"].width, after["a.png"].height) == (8, 8)
    assert after["a.png"].digest != before["a.png"].digest and after["a.png"].caption == before["a.png"].caption
    assert after["b/clear.png"] == before["b/clear.png"]


def test_changed_caption_leaves_its_picture_unread(folder: Path, store: Path) -> None:
    before = by_name(read(folder, store))
    spoil(folder / "a.png")
    text(folder / "a.txt", "ein Dreieck")
    after = by_name(read(folder, store))["a.png"]
    assert after.caption == "ein Dreieck" and after.digest == before["a.png"].digest
    (folder / "a.txt").rename(folder / "a.caption")
    assert by_name(read(folder, store))["a.png"].caption_name == "a.caption"
    (folder / "a.caption").unlink()
    assert by_name(read(folder, store))["a.png"].caption is None


@pytest.mark.parametrize("act", ["remove", "rename", "add"])
def test_names_that_come_and_go(folder: Path, store: Path, act: str) -> None:
    read(folder, store)
    if act == "remove":
        shutil.rmtree(folder / "b")
    elif act == "rename":
        (folder / "b").rename(folder / "x")
    else:
        for name in ("0.png", "b/new.png", "zz/last.png"):
            picture(folder / name)
    assert read(folder, store) == read(folder, None)
    assert read(folder, store) == read(folder, None)


def test_file_that_was_written_just_now_is_not_trusted(tmp_path: Path, store: Path) -> None:
    """It may change again within one tick of the file system's clock."""
    path = picture(tmp_path / "pictures/a.png")
    caption = text(tmp_path / "pictures/a.txt", "eins")
    for file in (path, caption):
        os.utime(file)
    (before,) = read(path.parent, store)
    assert before.caption == "eins" and not before.error
    changed_ns = caption.stat().st_mtime_ns
    aged(text(caption, "zwei"), changed_ns)
    spoil(path)
    (after,) = read(path.parent, store)
    assert after.caption == "zwei" and after.error


def test_faults_are_not_remembered(folder: Path, store: Path) -> None:
    """What mends them may leave the file as it is: a package, a permission, a drive."""
    good = (folder / "a.png").read_bytes()
    spoil(folder / "a.png")
    assert by_name(read(folder, store))["a.png"].error
    (folder / "a.png").write_bytes(good)
    aged(folder / "a.png")
    assert not by_name(read(folder, store))["a.png"].error


def test_damage_inside_a_picture_is_found_with_its_content(tmp_path: Path, store: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "pictures/a.png"
    path.parent.mkdir()
    Image.fromarray(noise).save(path)
    spoilt = bytearray(path.read_bytes())
    spoilt[len(spoilt) // 2] ^= 255
    aged(text(path, bytes(spoilt)))
    (headers,), (content,) = read(path.parent, store, content=False), read(path.parent, store)
    assert not headers.error and content.error and content.digest == ""
    assert read(path.parent, store, content=False) == [headers]


def test_mask_that_cannot_be_read_is_told(folder: Path, store: Path) -> None:
    spoil(folder / "b/图 1-masklabel.png")
    for _ in range(2):
        entry = by_name(read(folder, store))["b/图 1.jpg"]
        assert entry.mask_error and not entry.error


def test_huge_caption_is_told_and_not_read(folder: Path) -> None:
    text(folder / "a.txt", "a" * (MAX_CAPTION_BYTES + 1))
    assert by_name(read(folder, None))["a.png"].caption_error == "its caption has more than 1 MB"


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_strange_names_are_remembered(tmp_path: Path, store: Path) -> None:
    root = tmp_path / "pictures"
    for name in ("line\nbreak.png", 'quo"te\\.png'):
        picture(root / name)
    os.rename(picture(root / "x.png"), os.path.join(os.fsencode(root), b"gr\xfcn.png"))
    before = read(root, store)
    assert sorted(entry.name for entry in before) == ["gr\udcfcn.png", "line\nbreak.png", 'quo"te\\.png']
    for entry in before:
        spoil(root / entry.name)
    assert read(root, store) == before


# --------------------------------------------------------------------------- the store


def test_store_is_written_only_when_something_changed(folder: Path, store: Path) -> None:
    read(folder, store)
    file = store.stat().st_ino
    read(folder, store)
    assert store.stat().st_ino == file
    (folder / "zero.png").unlink()
    read(folder, store)
    assert store.stat().st_ino != file
    assert os.listdir(store.parent) == [store.name]


def test_damaged_store_is_as_good_as_none(folder: Path, store: Path) -> None:
    fresh = read(folder, store)
    whole = store.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 60).tolist():
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :]):
            store.write_bytes(damaged)
            assert read(folder, store) == fresh
            assert read(folder, store) == fresh


def test_store_of_another_version_is_replaced(folder: Path, store: Path) -> None:
    fresh = read(folder, store)
    whole = store.read_text(encoding="utf-8")
    store.write_text(whole.replace("index", "INDEX", 1), encoding="utf-8")
    assert read(folder, store) == fresh
    assert store.read_text(encoding="utf-8") == whole


def test_scan_that_ends_early_leaves_the_old_store(folder: Path, store: Path) -> None:
    read(folder, store)
    whole = store.read_bytes()
    picture(folder / "0.png")
    running = entries(folder, store, ENDINGS)
    next(running)
    running.close()
    assert store.read_bytes() == whole and os.listdir(store.parent) == [store.name]
    read(folder, store)
    assert store.read_bytes() != whole


def test_place_that_cannot_be_written_does_not_matter(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert read(folder, tmp_path / "file/index.jsonl") == read(folder, None)


def test_place_of_the_store_that_is_a_folder_does_not_matter(folder: Path, store: Path) -> None:
    (store / "inside").mkdir(parents=True)
    assert read(folder, store) == read(folder, None)
    assert os.listdir(store.parent) == [store.name]


def test_rests_of_killed_scans_are_swept_away_but_not_those_that_may_be_running(folder: Path, store: Path) -> None:
    store.parent.mkdir(parents=True)
    aged(text(store.with_name("oneabc.part"), "old"))
    running = text(store.with_name("onexyz.part"), "new")
    os.utime(running)
    read(folder, store)
    assert sorted(os.listdir(store.parent)) == ["one.jsonl", "onexyz.part"]


ACTS = st.tuples(
    st.sampled_from(["picture", "caption", "remove", "remove caption", "bad", "read", "headers"]),
    st.sampled_from(["a", "a-b", "a/b", "b", "b/a", "图/a.b"]),
    st.integers(0, 3),
)


@given(acts=st.lists(ACTS, max_size=12))
@settings(max_examples=60, deadline=None)
def test_store_follows_whatever_happens_to_the_folder(acts: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root, store = Path(place, "pictures"), Path(place, "one.jsonl")
        root.mkdir()
        for moment, (act, name, number) in enumerate(acts):
            apply(act, root / f"{name}.png", number, LONG_AGO_NS + moment, store)
        for content in (False, True):
            assert read(root, store, content=content) == read(root, None, content=content)


def apply(act: str, path: Path, number: int, changed_ns: int, store: Path) -> None:
    """One thing that people do to a folder, at a time of its own."""
    caption = path.with_suffix(".txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    match act:
        case "picture":
            aged(picture(path, size=(4 + number, 4)), changed_ns)
        case "caption":
            aged(text(caption, "text" * number), changed_ns)
        case "bad":
            aged(text(path, "no picture"), changed_ns)
        case "remove":
            path.unlink(missing_ok=True)
        case "remove caption":
            caption.unlink(missing_ok=True)
        case _:
            read(path.parent if path.parent.name == "pictures" else path.parent.parent, store, content=act == "read")


# --------------------------------------------------------------------------- streaming


def test_pictures_are_read_only_a_little_ahead(tmp_path: Path) -> None:
    """However many there are, only a few batches wait in memory."""
    original, many = picture(tmp_path / "a.png"), 20 * BATCH
    for number in range(many):
        target = tmp_path / f"pictures/{number // 50:02d}/{number:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(original, target)
    running = entries(tmp_path / "pictures", None, ENDINGS, threads=1)
    found = [next(running)]
    for path in (tmp_path / "pictures").rglob("*.png"):
        spoil(path)
    found += running
    read_before = sum(not entry.error for entry in found)
    assert len(found) == many and 0 < read_before <= 4 * BATCH


def test_progress_counts_up_to_all(folder: Path, store: Path) -> None:
    told: list[tuple[int, int | None]] = []
    list(entries(folder, store, ENDINGS, progress=lambda done, total: told.append((done, total))))
    assert told == [(0, None), *((done, 7) for done in range(1, 8))]


def test_leftovers_are_collected_on_the_way(folder: Path, store: Path) -> None:
    text(folder / "gone.txt", "of no picture")
    for _ in range(2):
        left = Leftovers()
        list(entries(folder, store, ENDINGS, leftovers=left))
        assert left.orphans == ["gone.txt"] and left.clashes == []


def test_folder_that_is_not_there_raises(tmp_path: Path, store: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "gone", store)
    assert not store.exists() and os.listdir(store.parent) == []
