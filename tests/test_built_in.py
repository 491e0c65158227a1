"""Pictures that come with the program are looked at, trained on and copied, and never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from app.services.gallery import Gallery
from app.services.gallery.item import first_picture
from app.services.gallery.places import BUILT_IN, Places
from app.services.studio import Studio
from app.ui.draft import DraftEditor
from app.ui.tabs import dataset
from app.ui.texts import texts
from app.ui.widgets import drop
from tests.test_services import MACHINE
from tests.test_supervisor import wait_for
from trainers import paths
from trainers.errors import DataError

SAMPLES = paths.ASSETS / "samples"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "data", machine=MACHINE)
    studio.save_draft("sandbox", {"data": {"folder": "assets/samples"}})
    yield studio
    studio.close()


@pytest.fixture
def samples(studio: Studio) -> str:
    """Id of the built-in set, which has been read."""
    found = studio.gallery.id_of("assets/samples")
    wait_for(lambda: studio.gallery.open(found)["ready"], "the set")
    return found


def content(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


ACTS: dict[str, Callable[[Gallery, str, str], object]] = {
    "save": lambda gallery, one, pid: gallery.save(one, pid, "mine", gallery.detail(one, pid)["stamp"]),
    "preview": lambda gallery, one, _: gallery.preview_edit(one, {"kind": "clear"}, {"query": {}}),
    "bulk edit": lambda gallery, one, _: gallery.apply_edit(one, {"kind": "clear"}, {"query": {}}),
    "trash": lambda gallery, one, pid: gallery.trash(one, [pid]),
    "undo": lambda gallery, one, _: gallery.undo(one),
    "redo": lambda gallery, one, _: gallery.redo(one),
}


@pytest.mark.parametrize("act", ACTS)
def test_nothing_changes_the_pictures_of_the_program(studio: Studio, samples: str, act: str) -> None:
    before = content(SAMPLES)
    pid = studio.gallery.page(samples, {}, 0, 1)["items"][0][0]
    with pytest.raises(DataError, match=BUILT_IN):
        ACTS[act](studio.gallery, samples, pid)
    assert content(SAMPLES) == before


def test_the_page_says_why_in_its_language(studio: Studio, samples: str) -> None:
    editor = DraftEditor(studio)
    made = [*dataset.of_sets(studio, editor), *dataset.of_pictures(studio, texts("zh"))]
    ask = {function.__name__: function for function in [*made, drop.into_data_set(studio, editor)]}
    pid = studio.gallery.page(samples, {}, 0, 1)["items"][0][0]
    said = "这些图片随 Atelier 提供。"
    assert (ask["open"](samples)["locked"], ask["detail"]([samples, pid])["locked"]) == (said, said)
    file = Path(get_upload_folder()) / "built-in" / "a.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(file)
    assert BUILT_IN in ask["fill"]([[[str(file), ""]], samples])["error"] and not (SAMPLES / "a.png").exists()


def test_a_copy_is_an_own_set_that_can_be_changed(studio: Studio, samples: str) -> None:
    gallery = studio.gallery
    first, second = gallery.copy(samples), gallery.copy(samples)
    own = {one["id"]: one for one in gallery.sets() if one["own"]}
    assert {one["name"] for one in own.values()} == {"samples", "samples-2"} and set(own) == {first, second}
    folder = Path(own[first]["path"])
    assert content(folder) == content(SAMPLES) and own[first]["locked"] == ""
    wait_for(lambda: gallery.open(first)["ready"], "the set")
    assert gallery.apply_edit(first, {"kind": "prefix", "text": "mine, "}, {"query": {}})["done"] == 12
    assert content(SAMPLES) == content(Path(own[second]["path"])) != content(folder)


def test_a_data_folder_inside_the_programs_folder_stays_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PROGRAM", tmp_path)
    monkeypatch.setattr(paths, "ASSETS", tmp_path / "assets")
    drafted = [tmp_path / "data" / "datasets" / "dogs", tmp_path / "assets" / "samples", tmp_path / "more"]
    for folder in drafted:
        folder.mkdir(parents=True)
    for data_dir in (tmp_path / "data", tmp_path):
        locked = {one.folder: one.locked for one in Places(data_dir, lambda: [str(one) for one in drafted]).all()}
        assert locked[drafted[0]] == "" and locked[drafted[1]] == BUILT_IN
        assert bool(locked[drafted[2]]) == (data_dir != tmp_path)


def test_the_cover_is_the_first_picture_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    assert first_picture(tmp_path) is None
    Image.new("RGB", (8, 8)).save(tmp_path / "c.png")
    found = first_picture(tmp_path)
    assert found and found.name == "c.png"
    assert first_picture(tmp_path / "gone") is None


def test_the_trigger_word_of_the_draft_is_told(studio: Studio, samples: str) -> None:
    studio.save_draft("sandbox", {"data": {"folder": "assets/samples"}, "captions": {"trigger": "zorp"}})
    assert studio.gallery.open(samples)["trigger"] == "zorp"
