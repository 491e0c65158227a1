"""The gallery: what it shows of a data set, what it writes, and what it refuses."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from starlette.testclient import TestClient

from app.services.gallery import Gallery
from app.services.gallery.collection import Collection
from app.services.gallery.places import Place
from app.services.gallery.reading import read
from app.services.studio import Studio
from app.web import create_app
from tests.test_security import small_pages
from tests.test_services import MACHINE
from tests.test_supervisor import wait_for
from trainers.errors import DataError


def noise(seed: int, size: tuple[int, int] = (80, 64)) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 255, (size[1] // 4, size[0] // 4, 3), np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.NEAREST)


def fill(folder: Path, count: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise(number).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"wuzzle, number {number}\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures")


Open = Callable[..., tuple[Gallery, str]]


@pytest.fixture
def opened(tmp_path: Path, folder: Path) -> Iterator[Open]:
    """Opens the folder in a new app on one data folder, and waits until it is read."""
    made: list[Studio] = []

    def make(**draft: dict[str, Any]) -> tuple[Gallery, str]:
        studio = Studio(tmp_path / "data", machine=MACHINE)
        made.append(studio)
        data = {"folder": str(folder), "resolution": 64, **draft.pop("data", {})}
        studio.save_draft("sandbox", {"data": data, **draft})
        set_id = studio.gallery.id_of(str(folder))
        wait_for(lambda: studio.gallery.open(set_id)["ready"], "the folder")
        return studio.gallery, set_id

    yield make
    for studio in made:
        studio.close()


def pid_of(gallery: Gallery, set_id: str, name: str) -> str:
    items = (
        gallery.page(set_id, {"filter": ""}, 0, 500)["items"] + gallery.page(set_id, {"filter": "bad"}, 0, 500)["items"]
    )
    return str(next(item[0] for item in items if item[1] == name))


def names(gallery: Gallery, set_id: str, **query: Any) -> list[str]:
    return [item[1] for item in gallery.page(set_id, query, 0, 500)["items"]]


def test_a_page_shows_pictures_with_captions(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    page = gallery.page(set_id, {}, 1, 2)
    assert (page["total"], page["first"]) == (4, 1)
    pid, name, width, height, caption, lines, flags, thumb, changed = page["items"][0]
    assert (name, width, height, caption, lines) == ("1.png", 80, 64, "wuzzle, number 1\n", 1)
    assert flags == [] and thumb.startswith(f"/thumb/data/{set_id}/{pid}?v=")
    assert changed == int((folder / "1.png").stat().st_mtime)
    assert json.loads(json.dumps(page)) == page


def test_records_can_be_sent(opened: Open) -> None:
    gallery, set_id = opened()
    pid = pid_of(gallery, set_id, "0.png")
    for record in (gallery.sets(), gallery.open(set_id), gallery.detail(set_id, pid), gallery.histogram(set_id)):
        assert json.loads(json.dumps(record)) == record


def test_names_are_in_the_order_of_their_numbers(opened: Open, folder: Path) -> None:
    fill(folder, 12)
    gallery, set_id = opened()
    assert names(gallery, set_id) == [f"{number}.png" for number in range(12)]


def test_filters(opened: Open, folder: Path) -> None:
    (folder / "0.txt").unlink()
    (folder / "1.txt").write_text("no word here\nsecond line", encoding="utf-8")
    (folder / "copy.png").write_bytes((folder / "2.png").read_bytes())
    noise(3).save(folder / "like.jpg", quality=90)
    noise(9, (40, 32)).save(folder / "small.png")
    noise(8).filter(ImageFilter.GaussianBlur(9)).save(folder / "blurred.png")
    (folder / "broken.png").write_bytes((folder / "2.png").read_bytes()[:200])
    (folder / "2.txt").write_text("wuzzle " * 40, encoding="utf-8")
    (folder / "alone.txt").write_text("nobody", encoding="utf-8")
    gallery, set_id = opened(captions={"trigger": "Wuzzle"})
    found = {name: names(gallery, set_id, filter=name) for name in gallery.open(set_id)["counts"] if name}
    assert found["no_caption"] == ["0.png", "blurred.png", "copy.png", "like.jpg", "small.png"]
    assert found["no_trigger"] == found["lines"] == ["1.png"]
    assert found["duplicate"] == ["2.png", "copy.png"]
    assert found["near_duplicate"] == ["3.png", "like.jpg"]
    assert found["too_small"] == ["small.png"]
    assert found["blurry"] == ["blurred.png"]
    assert found["too_long"] == ["2.png"]
    assert found["bad"] == ["broken.png"]
    state = gallery.open(set_id)
    assert state["counts"] == {"": 8, **{name: len(shown) for name, shown in found.items()}}
    assert [bad["name"] for bad in state["bad"]] == ["broken.png"] and state["bad"][0]["reason"]
    assert state["orphans"] == ["alone.txt"]
    assert len(gallery.detail(set_id, pid_of(gallery, set_id, "3.png"))["group"]) == 2


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("number 2", ["2.png"]),
        ("wuzzle -tag:blue", ["0.png", "1.png", "2.png"]),
        ('tag:"number 1"', ["1.png"]),
        ("tag:number", []),
        ("name:3", ["3.png"]),
        ("WUZZLE 0", ["0.png"]),
        ('-"number 0" -2', ["1.png", "3.png"]),
    ],
)
def test_search(opened: Open, folder: Path, search: str, expected: list[str]) -> None:
    (folder / "3.txt").write_text("wuzzle, blue", encoding="utf-8")
    gallery, set_id = opened()
    assert names(gallery, set_id, search=search) == expected


def test_sorts(opened: Open, folder: Path) -> None:
    noise(5, (160, 64)).save(folder / "1.png")
    (folder / "2.txt").write_text("wuzzle " * 9, encoding="utf-8")
    os.utime(folder / "3.png", (1, 1))
    gallery, set_id = opened()
    assert names(gallery, set_id, sort="size")[-1] == "1.png" == names(gallery, set_id, sort="shape")[-1]
    assert names(gallery, set_id, sort="tokens", reverse=True)[0] == "2.png"
    assert names(gallery, set_id, sort="new")[-1] == "3.png"


def test_a_caption_is_saved_and_shown(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    pid = pid_of(gallery, set_id, "0.png")
    known = gallery.detail(set_id, pid)
    assert known["caption"] == "wuzzle, number 0"
    answer = gallery.save(set_id, pid, "new words", known["stamp"])
    assert (folder / "0.txt").read_text(encoding="utf-8") == "new words\n"
    assert answer["item"][4] == "new words\n" and answer["detail"]["caption"] == "new words"
    assert answer["undo"] == "caption: 0.png"
    gallery.undo(set_id)
    assert (folder / "0.txt").read_text(encoding="utf-8") == "wuzzle, number 0\n"


def test_an_unchanged_caption_is_no_act(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    pid = pid_of(gallery, set_id, "0.png")
    before = (folder / "0.txt").stat().st_mtime_ns
    known = gallery.detail(set_id, pid)
    assert gallery.save(set_id, pid, known["caption"], known["stamp"])["undo"] == ""
    assert (folder / "0.txt").stat().st_mtime_ns == before


def test_a_caption_that_was_changed_on_disk_is_not_overwritten(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    pid = pid_of(gallery, set_id, "0.png")
    stamp = gallery.detail(set_id, pid)["stamp"]
    (folder / "0.txt").write_text("by hand", encoding="utf-8")
    answer = gallery.save(set_id, pid, "mine", stamp)
    assert answer["conflict"] == "by hand" and (folder / "0.txt").read_text(encoding="utf-8") == "by hand"
    assert gallery.save(set_id, pid, "mine", answer["stamp"])["detail"]["caption"] == "mine"


def test_a_caption_of_another_encoding_cannot_be_overwritten(opened: Open, folder: Path) -> None:
    (folder / "0.txt").write_bytes("红色的猫".encode("gbk"))
    gallery, set_id = opened()
    pid = pid_of(gallery, set_id, "0.png")
    assert "UTF-8" in gallery.detail(set_id, pid)["locked"]
    with pytest.raises(DataError, match="UTF-8"):
        gallery.save(set_id, pid, "mine", "")
    came = gallery.apply_edit(set_id, {"kind": "clear"}, {"pids": [pid]})
    assert came["done"] == 0 and len(came["skipped"]) == 1
    assert (folder / "0.txt").read_bytes() == "红色的猫".encode("gbk")


def test_a_caption_of_a_table_is_shown_and_a_file_wins(opened: Open, folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.txt").unlink()
    table = "file_name,text\n0.png,from the table\n"
    (folder / "metadata.csv").write_text(table, encoding="utf-8")
    gallery, set_id = opened()
    assert gallery.open(set_id)["layout"]["kind"] == "imagefolder"
    pid = pid_of(gallery, set_id, "0.png")
    known = gallery.detail(set_id, pid)
    assert (known["caption"], known["beside"], known["caption_file"]) == ("from the table", True, "0.txt")
    assert gallery.save(set_id, pid, "from the table", known["stamp"])["undo"] == ""
    gallery.save(set_id, pid, "beside", known["stamp"])
    assert (folder / "metadata.csv").read_text(encoding="utf-8") == table
    again, _ = opened()
    assert again.detail(set_id, pid)["caption"] == "beside" and not again.detail(set_id, pid)["beside"]


def test_a_bulk_edit_does_what_its_preview_says(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    replace, scope = {"kind": "replace", "find": "number", "with": "no"}, {"query": {"search": "-name:0"}}
    preview = gallery.preview_edit(set_id, replace, scope)
    assert (preview["files"], preview["changes"], preview["warning"]) == (3, 3, "")
    assert preview["examples"][0][1:] == ["1.png", "wuzzle, number 1\n", "wuzzle, no 1\n"]
    came = gallery.apply_edit(set_id, replace, scope)
    assert (came["done"], came["skipped"], came["undo"]) == (3, [], "replace: number > no")
    texts = [(folder / f"{number}.txt").read_text(encoding="utf-8") for number in range(4)]
    assert texts == ["wuzzle, number 0\n", "wuzzle, no 1\n", "wuzzle, no 2\n", "wuzzle, no 3\n"]
    assert gallery.tags(set_id, {}, 2) == [["wuzzle", 4], ["number 0", 1]]


def test_undo_of_a_bulk_edit_survives_a_restart(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    gallery.apply_edit(set_id, {"kind": "clear"}, {"query": {}})
    again, _ = opened()
    assert again.open(set_id)["undo"] == "clear"
    assert again.undo(set_id)["done"] == 4
    assert names(again, set_id, search="number") == ["0.png", "1.png", "2.png", "3.png"]
    assert again.redo(set_id)["done"] == 4 and names(again, set_id, filter="no_caption") == names(again, set_id)


def test_pictures_that_share_a_caption_are_edited_once(opened: Open, folder: Path) -> None:
    noise(7).save(folder / "0.jpg")
    gallery, set_id = opened()
    came = gallery.apply_edit(set_id, {"kind": "suffix", "text": "x"}, {"query": {"search": "name:0"}})
    assert came["done"] == 1 and (folder / "0.txt").read_text(encoding="utf-8") == "wuzzle, number 0 x\n"
    assert [item[4] for item in gallery.page(set_id, {"search": "name:0"}, 0, 9)["items"]] == [
        "wuzzle, number 0 x\n"
    ] * 2


def test_sorting_sentences_is_warned_of(opened: Open, folder: Path) -> None:
    (folder / "0.txt").write_text("The wuzzle sits on the long wall, looking at the sea.", encoding="utf-8")
    gallery, set_id = opened()
    assert gallery.preview_edit(set_id, {"kind": "sort"}, {"query": {}})["warning"] == "prose"


def test_trash_takes_what_belongs_to_a_picture_and_undo_brings_it_back(opened: Open, folder: Path) -> None:
    noise(7).save(folder / "0-masklabel.png")
    noise(7).save(folder / "1.jpg")  # keeps the caption that it shares with 1.png
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    gallery, set_id = opened()
    came = gallery.trash(set_id, [pid_of(gallery, set_id, "0.png"), pid_of(gallery, set_id, "1.png")])
    assert came["done"] == 2
    assert {path.name for path in folder.iterdir()} == {*before, ".trash"} - {
        "0.png",
        "0.txt",
        "0-masklabel.png",
        "1.png",
    }
    assert names(gallery, set_id) == ["1.jpg", "2.png", "3.png"]
    gallery.undo(set_id)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert names(gallery, set_id) == ["0.png", "1.jpg", "1.png", "2.png", "3.png"]


def test_trash_can_be_undone_after_a_restart(opened: Open) -> None:
    gallery, set_id = opened()
    gallery.trash(set_id, [pid_of(gallery, set_id, "0.png")])
    again, _ = opened()
    assert "0.png" not in names(again, set_id)
    again.undo(set_id)
    wait_for(lambda: "0.png" in names(again, set_id), "the picture")


def test_reload_shows_new_files_and_keeps_what_was_saved(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    noise(9).save(folder / "9.png")
    gallery.reload(set_id)
    pid = pid_of(gallery, set_id, "0.png")
    gallery.save(set_id, pid, "saved", gallery.detail(set_id, pid)["stamp"])
    gallery.reload(set_id)
    wait_for(lambda: gallery.open(set_id)["ready"], "the folder")
    assert "9.png" in names(gallery, set_id) and gallery.detail(set_id, pid)["caption"] == "saved"


def test_what_comes_back_while_a_folder_is_read_makes_it_read_again(tmp_path: Path, folder: Path) -> None:
    collection = Collection(Place("0" * 12, folder, False, False), tmp_path / "journal", ".txt")
    assert collection.wants_reading()
    read(collection, tmp_path / "cache")
    assert collection.progress.ready and len(collection.items()) == 4
    assert collection.wants_reading() and not collection.wants_reading()
    collection.begin_reading()
    collection.take_away(["0.png"])
    seen = [item for item in collection.items() if item.name != "0.png"]
    assert collection.bring_back(["0.png"])
    collection.replace(seen, collection.facts)
    assert not collection.end_reading()


def test_crops_lie_in_the_picture_and_have_the_shape_of_their_bucket(opened: Open, folder: Path) -> None:
    noise(1, (200, 90)).save(folder / "0.png")
    gallery, set_id = opened(data={"more_resolutions": [32]})
    cuts = gallery.detail(set_id, pid_of(gallery, set_id, "0.png"))["cuts"]
    assert [cut["resolution"] for cut in cuts] == [64, 32]
    for cut in cuts:
        left, top, right, bottom = cut["box"]
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        shape = (right - left) * 200 / ((bottom - top) * 90)
        assert shape == pytest.approx(cut["bucket"][0] / cut["bucket"][1], rel=0.02)
        assert cut["loss"] == pytest.approx(1 - (right - left) * (bottom - top), abs=0.05)
    rows = gallery.histogram(set_id)
    assert [sum(bucket["n"] for bucket in row["buckets"]) for row in rows] == [4, 4]


def test_texts_are_those_of_training(opened: Open) -> None:
    gallery, set_id = opened(captions={"trigger": "ohwx", "suffix": "4k"})
    detail = gallery.detail(set_id, pid_of(gallery, set_id, "1.png"))
    assert detail["texts"] == ["ohwx, wuzzle, number 1 4k"]
    assert detail["flags"] == ["no_trigger", "too_long"]  # the sandbox spells unknown words letter by letter


def test_counts_of_several_lines_are_those_of_the_longest(opened: Open) -> None:
    gallery, _ = opened(model={"base": "flux-dev"}, data={"resolution": 512})
    one, two = gallery.count("cat " * 90), gallery.count("dog\n" + "cat " * 90)
    assert [count["n"] for count in one] == [count["n"] for count in two]
    assert two[0]["chunks"] == [place + 4 for place in one[0]["chunks"]] == [304]


def test_sets_are_own_ones_added_ones_and_the_drafts(opened: Open, tmp_path: Path, folder: Path) -> None:
    gallery, set_id = opened()
    other = fill(tmp_path / "other", 1)
    made, added = gallery.create("My set: 1"), gallery.add_folder(str(other))
    assert [(one["name"], one["own"], one["pictures"]) for one in gallery.sets()] == [
        ("My set_ 1", True, None),
        ("other", False, None),
        ("pictures", False, 4),
    ]
    assert [one["id"] for one in gallery.sets()] == [made, added, set_id]
    assert gallery.thumbnail(added, gallery.sets()[1]["thumb"].split("/")[-1].split("?")[0]).is_file()
    gallery.forget(added)
    assert [one["id"] for one in gallery.sets()] == [made, set_id] and (other / "0.png").is_file()
    with pytest.raises(DataError, match="already"):
        gallery.create("My set: 1")


@pytest.mark.parametrize(
    "path", ["/", "/etc", "/proc/self", "", "  ", "/nothing/here", "DATA", "DATA/runs", "DATA/datasets"]
)
def test_folders_of_the_system_and_of_the_app_are_refused(opened: Open, tmp_path: Path, path: str) -> None:
    gallery, _ = opened()
    with pytest.raises(DataError):
        gallery.add_folder(path.replace("DATA", str(tmp_path / "data")))


def test_browse_shows_folders_and_counts_pictures(opened: Open, tmp_path: Path) -> None:
    gallery, _ = opened()
    (tmp_path / ".hidden").mkdir()
    shown = gallery.browse(str(tmp_path))
    assert {one["name"]: one["pictures"] for one in shown["folders"]} == {"data": 0, "pictures": 4}
    assert shown["parent"] == str(tmp_path.parent) and shown["places"]
    with pytest.raises(DataError):
        gallery.browse(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "ask",
    [
        lambda gallery, known: gallery.open("0" * 12),
        lambda gallery, known: gallery.detail(known, "0" * 12),
        lambda gallery, known: gallery.page(known, {"filter": "none"}, 0, 1),
        lambda gallery, known: gallery.page(known, {"search": 3}, 0, 1),
        lambda gallery, known: gallery.apply_edit(known, {"kind": "none"}, {"query": {}}),
        lambda gallery, known: gallery.apply_edit(known, {"kind": "clear"}, {}),
        lambda gallery, known: gallery.trash(known, []),
        lambda gallery, known: gallery.undo(known),
    ],
)
def test_what_cannot_be_is_refused(opened: Open, ask: Callable[[Gallery, str], Any]) -> None:
    gallery, set_id = opened()
    with pytest.raises(DataError):
        ask(gallery, set_id)


def test_a_folder_that_is_gone_is_told(opened: Open, tmp_path: Path) -> None:
    gallery, _ = opened()
    other = fill(tmp_path / "other", 1)
    set_id = gallery.add_folder(str(other))
    for path in other.iterdir():
        path.unlink()
    other.rmdir()
    wait_for(lambda: gallery.open(set_id)["ready"], "the answer")
    assert "cannot be read" in gallery.open(set_id)["error"]


def test_many_threads_lose_nothing(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    pids = [item[0] for item in gallery.page(set_id, {}, 0, 9)["items"]]

    def write(pid: str) -> None:
        for number in range(5):
            known = gallery.detail(set_id, pid)
            gallery.save(set_id, pid, f"{pid} {number}", known["stamp"])
            gallery.page(set_id, {}, 0, 9)
            gallery.reload(set_id)

    threads = [threading.Thread(target=write, args=(pid,)) for pid in pids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(folder / f"{n}.txt").read_text(encoding="utf-8") for n in range(4)] == [f"{pid} 4\n" for pid in pids]
    for _ in range(20):
        gallery.undo(set_id)
    assert (folder / "3.txt").read_text(encoding="utf-8") == "wuzzle, number 3\n"


@dataclass
class Site:
    client: TestClient
    gallery: Gallery
    set_id: str

    def detail(self, name: str) -> dict[str, Any]:
        return self.gallery.detail(self.set_id, pid_of(self.gallery, self.set_id, name))


@pytest.fixture
def site(tmp_path: Path, folder: Path) -> Iterator[Site]:
    noise(5).save(folder / "5.tif")
    studio = Studio(tmp_path / "data", machine=MACHINE)
    studio.save_draft("sandbox", {"data": {"folder": str(folder)}})
    app = create_app(studio, build=small_pages)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        wait_for(app.state.pages.opened.is_set, "the pages")
        wait_for(lambda: studio.gallery.open(studio.gallery.id_of(str(folder)))["ready"], "the folder")
        yield Site(client, studio.gallery, studio.gallery.id_of(str(folder)))


def test_routes_serve_pictures_of_the_set_alone(site: Site, folder: Path) -> None:
    picture = site.detail("0.png")
    small, whole = site.client.get(picture["thumb"]), site.client.get(picture["url"])
    assert small.headers["content-type"] == "image/webp" and "immutable" in small.headers["cache-control"]
    assert whole.headers["content-type"] == "image/png" and whole.content == (folder / "0.png").read_bytes()
    others = [f"{site.set_id}/{'0' * 12}", f"{'0' * 12}/{picture['pid']}", f"{site.set_id}/0.png"]
    for path in [*others, f"{site.set_id}/..%2F0.png"]:
        assert site.client.get(f"/file/data/{path}").status_code == 404
        assert site.client.get(f"/thumb/data/{path}").status_code == 404


@pytest.mark.skipif(os.name == "nt", reason="Windows needs a right to make links")
def test_a_link_to_what_is_no_picture_is_not_served(opened: Open, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    (folder / "secret.png").symlink_to(tmp_path / "secret")
    gallery, set_id = opened()
    with pytest.raises(FileNotFoundError):
        gallery.shown(set_id, pid_of(gallery, set_id, "secret.png"))


def test_what_browsers_cannot_show_is_converted(site: Site) -> None:
    shown = site.client.get(site.detail("5.tif")["url"])
    assert shown.headers["content-type"] == "image/webp" and shown.content[8:12] == b"WEBP"


def test_a_picture_that_went_away_is_not_found(site: Site, folder: Path) -> None:
    picture = site.detail("0.png")
    (folder / "0.png").unlink()
    assert site.client.get(picture["url"]).status_code == site.client.get(picture["thumb"]).status_code == 404


def test_a_changed_picture_has_another_address(opened: Open, folder: Path) -> None:
    gallery, set_id = opened()
    pid = pid_of(gallery, set_id, "0.png")
    before = gallery.detail(set_id, pid)["url"]
    time.sleep(0.01)
    noise(20).save(folder / "0.png")
    gallery.reload(set_id)
    wait_for(lambda: gallery.open(set_id)["ready"], "the folder")
    assert gallery.detail(set_id, pid)["url"] != before
