"""Data sets whose captions stand in tables survive a drop, and no table comes to mean another picture."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.ui.texts import LANGUAGES, texts
from tests.test_datasets import Desk, png
from tests.test_same_pairs import LAYOUTS, Pairs, expected, made, scanned
from trainers.data.decode import PICTURE_ENDINGS
from trainers.errors import DataError


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def table(*rows: tuple[str, str]) -> bytes:
    return "\n".join(["file_name,text", *(f"{name},{text}" for name, text in rows)]).encode()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("way", ["folder", "zip"])
def test_a_dropped_layout_gives_the_pairs_of_its_folder(
    desk: Desk, tmp_path: Path, way: str, layout: Callable[[Path, Pairs], Path]
) -> None:
    pairs = made()
    chosen = layout(tmp_path / "data", pairs)
    folder = chosen if chosen.is_dir() else chosen.parent
    if chosen.suffix == ".zip":
        dropped = [desk.upload(chosen.name, chosen.read_bytes())]
    elif way == "zip":
        dropped = [desk.upload("set.zip", Path(shutil.make_archive(str(tmp_path / "z"), "zip", folder)).read_bytes())]
    else:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        dropped = [
            desk.upload(one.name, one.read_bytes(), f"/{one.parent.relative_to(folder.parent)}") for one in files
        ]
    added = desk.add(*dropped)
    assert added.left_out == ()
    found = scanned(added.folder, tmp_path)
    assert {(one.digest, one.lines) for one in found.pictures} == expected(pairs)


def test_tables_stay_in_their_folders_and_are_counted(desk: Desk) -> None:
    files = {
        f"{place}/{name}": content for place in "ab" for name, content in (("1.png", png()), ("metadata.csv", b""))
    }
    files["a/metadata.csv"], files["b/metadata.csv"] = table(("1.png", "a dog")), table(("1.png", "a cat"))
    added = desk.add(desk.zip("set.zip", files))
    assert (added.pictures, added.captions, added.tables) == (2, 0, 2)
    assert desk.files("set") == files


def test_what_only_looks_like_a_table_is_left_out(desk: Desk) -> None:
    files = {"a.png": png(), "settings.json": b'{"steps": 3}', "more/run.json": b"[]", "metadata.csv": b"x,y\n1,2"}
    added = desk.add(desk.zip("set.zip", files))
    assert sorted(added.left_out) == ["metadata.csv", "run.json", "settings.json"]
    assert desk.files("set") == {"a.png": png()} and not (desk.datasets / "set" / "more").exists()


def test_a_table_alone_needs_pictures_that_are_there(desk: Desk) -> None:
    csv = table(("a.png", "a dog"))
    with pytest.raises(DataError, match="no pictures"):
        desk.add(desk.upload("metadata.csv", csv))
    empty = desk.datasets / "empty"
    empty.mkdir(parents=True)
    with pytest.raises(DataError, match="no pictures"):
        desk.add(desk.upload("metadata.csv", csv), chosen=empty)
    folder = desk.add(desk.upload("a.png", png())).folder
    added = desk.add(desk.upload("metadata.csv", csv), chosen=folder)
    assert (added.tables, added.left_out) == (1, ())
    assert desk.add(desk.upload("metadata.csv", csv), chosen=folder).known == 1


def test_another_table_of_the_same_name_gets_a_number_and_is_read(desk: Desk, tmp_path: Path) -> None:
    one, two = table(("a.png", "a dog")), table(("a.png", "a dog"), ("b.png", "a cat"))
    folder = desk.add(desk.upload("a.png", png()), desk.upload("metadata.csv", one)).folder
    desk.add(desk.upload("b.png", png(9)), desk.upload("metadata.csv", two), chosen=folder)
    assert set(desk.files(folder.name)) == {"a.png", "b.png", "metadata.csv", "metadata-2.csv"}
    assert desk.files(folder.name)["metadata.csv"] == one
    assert {(one.name, one.lines) for one in scanned(folder, tmp_path).pictures} == {
        ("a.png", ("a dog",)),
        ("b.png", ("a cat",)),
    }


def refused(desk: Desk, folder: Path, files: dict[str, bytes], words: str) -> None:
    """A drop is refused with these words, and the folder stays as it is."""
    before = desk.files(folder.name)
    with pytest.raises(DataError, match=words) as caught:
        desk.add(*(desk.upload(name, content) for name, content in files.items()), chosen=folder)
    assert caught.value.hint and desk.files(folder.name) == before


def test_captions_that_are_there_are_not_changed_by_a_table(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", png()), desk.upload("captions.json", b'{"a.png": "a dog"}')).folder
    refused(desk, folder, {"captions.json": b'{"a.png": "a cat"}'}, "would change captions .* as that of a.png")
    refused(desk, folder, {"b.png": png(9), "metadata.csv": table(("b.png", "a cat"))}, "would change captions")
    refused(desk, folder, {"multidatabackend.json": b"[]"}, "take the place of the pictures")


def test_a_picture_that_a_table_lists_keeps_its_name_or_nothing_is_added(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", png())).folder
    taken = {"a.png": png(9), "metadata.csv": table(("a.png", "a cat"))}
    refused(desk, folder, taken, "metadata.csv lists a.png, which would have to be called a-2.png here")
    refused(desk, folder, {"a.png": png(9), "meta_cap.json": b'{"a": {"caption": "a cat"}}'}, "lists a.png")
    unsafe = {"x/b?.png": png(), "x/meta_cap.json": json.dumps({"b?": "a cat"}).encode()}
    with pytest.raises(DataError, match=r"lists b\?.png, which would have to be called b_.png"):
        desk.add(desk.zip("new.zip", unsafe))
    assert not (desk.datasets / "new").exists()


def test_a_picture_that_no_table_lists_may_get_another_name(desk: Desk) -> None:
    csv = table(("b.png", "a cat"))
    added = desk.add(desk.zip("new.zip", {"a?.png": png(), "b.png": png(9), "metadata.csv": csv}))
    assert set(desk.files("new")) == {"a_.png", "b.png", "metadata.csv"} and added.tables == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_endings_that_the_page_tells_are_taken(language: str) -> None:
    told = re.findall(r"[a-z]+", texts(language)("drop.kinds").partition("txt")[0].lower())
    told = [word for word in told if word not in ("pictures", "captions")]
    assert len(told) > 5 and {f".{ending}" for ending in told} <= PICTURE_ENDINGS
