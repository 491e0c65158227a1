"""What the page may ask of data sets: answers of the real gallery, and refusal of all that a page would not send."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from app.services.gallery import FILTERS, SORTS
from app.services.studio import Studio
from app.ui.draft import DraftEditor
from app.ui.tabs import dataset
from app.ui.texts import LANGUAGES, texts
from app.ui.widgets import drop
from trainers.data import operations
from trainers.machine import Machine
from trainers.paths import ASSETS

Ask = dict[str, Callable[[Any], Any]]
MACHINE = Machine("cpu", "test processor", 8.0, 8.0, 2, bf16=False)
UNKNOWN = "0123456789ab"
SCRIPTS = sorted((ASSETS / "js").glob("dataset*.js"))


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "data", machine=MACHINE)
    yield studio
    studio.close()


@pytest.fixture
def ask(studio: Studio) -> Ask:
    """The server functions by name."""
    editor = DraftEditor(studio)
    functions = [*dataset.of_sets(studio, editor), *dataset.of_pictures(studio, texts("zh")), *dataset.of_edits(studio)]
    return {function.__name__: function for function in [*functions, drop.into_data_set(studio, editor)]}


@pytest.fixture
def dogs(studio: Studio, ask: Ask) -> str:
    """Id of a set of three pictures, the last of them without caption, that has been read."""
    folder = studio.data_dir / "datasets" / "dogs"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (64, 64), (number * 80, 90, 90)).save(folder / f"{number}.png")
    (folder / "0.txt").write_text("a dog, red ball")
    (folder / "1.txt").write_text("a dog, green ball")
    found = next(one["id"] for one in ask["sets"](0)["sets"] if one["name"] == "dogs")
    wait_ready(ask, found)
    return found


def wait_ready(ask: Ask, set_id: str) -> dict[str, Any]:
    end = time.monotonic() + 20
    while not (status := ask["open"](set_id))["ready"]:
        assert time.monotonic() < end, status
        time.sleep(0.02)
    return status


def test_a_set_is_read_shown_and_edited(ask: Ask, dogs: str, studio: Studio) -> None:
    assert ask["open"](dogs)["counts"]["no_caption"] == 1
    page = ask["pictures"]([dogs, {"filter": "no_caption"}, 0, 10])
    assert page["total"] == 1
    pid = page["items"][0][0]
    detail = ask["detail"]([dogs, pid])
    saved = ask["save"]([dogs, pid, "a dog, blue ball", detail["stamp"]])
    assert saved["detail"]["caption"] == "a dog, blue ball"
    everything = {"query": {}}
    operation = {"kind": "replace", "find": "ball", "with": "cube"}
    assert ask["preview_edit"]([dogs, operation, everything])["files"] == 3
    assert ask["apply_edit"]([dogs, operation, everything])["done"] == 3
    assert ["a dog", 3] in ask["tags"]([dogs, {}, 10])
    assert ask["undo_edit"](dogs)["redo"].startswith("replace: ball > cube")
    assert ask["redo_edit"](dogs)["done"] == 3
    assert (studio.data_dir / "datasets" / "dogs" / "0.txt").read_text().strip() == "a dog, red cube"
    assert sum(bucket["n"] for one in ask["histogram"](dogs) for bucket in one["buckets"]) >= 3


def test_trash_goes_and_comes_back(ask: Ask, dogs: str, studio: Studio) -> None:
    folder = studio.data_dir / "datasets" / "dogs"
    pid = ask["pictures"]([dogs, {}, 0, 1])["items"][0][0]
    assert ask["trash"]([dogs, [pid]])["done"] == 1
    assert not (folder / "0.png").exists() and not (folder / "0.txt").exists()
    assert ask["undo_edit"](dogs)["done"] == 1
    assert (folder / "0.png").exists() and (folder / "0.txt").read_text() == "a dog, red ball"


def test_training_on_a_set_makes_it_the_drafts_folder(ask: Ask, dogs: str, studio: Studio) -> None:
    assert ask["sets"](0)["draft"] != dogs
    assert ask["train_on"](dogs) == {}
    assert studio.draft().values["data"]["folder"] == str(studio.data_dir / "datasets" / "dogs")
    assert ask["sets"](0)["draft"] == dogs


def test_a_folder_is_added_by_its_path_and_forgotten(ask: Ask, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    Image.new("RGB", (8, 8)).save(mine / "a.png")
    assert [one["name"] for one in ask["browse"](str(tmp_path))["folders"]].count("mine") == 1
    added = ask["add_folder"](str(mine))["id"]
    assert any(one["id"] == added for one in ask["sets"](0)["sets"])
    assert ask["forget"](added) == {}
    assert not any(one["id"] == added for one in ask["sets"](0)["sets"])
    assert "error" in ask["add_folder"](str(tmp_path / "nowhere"))


def test_a_dropped_folder_fills_a_set_and_makes_one(ask: Ask, studio: Studio) -> None:
    def upload(name: str) -> str:
        file = Path(get_upload_folder()) / "dataset-tab" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
        return str(file)

    named = ask["create"]("cats")["id"]
    answer = ask["fill"]([[[upload("a.png"), "/10_cat"]], named])
    assert (answer["id"], answer["pictures"]) == (named, 1)
    assert (studio.data_dir / "datasets" / "cats" / "10_cat" / "a.png").is_file()
    new = ask["fill"]([[[upload("b.png"), ""]], ""])
    assert (new["folder"], new["id"]) == (
        "pictures-1",
        studio.gallery.id_of(str(studio.data_dir / "datasets/pictures-1")),
    )
    assert "error" in ask["create"]("cats")


@pytest.mark.parametrize("name", ["open", "reload", "histogram", "undo_edit", "redo_edit", "forget"])
def test_an_unknown_set_is_answered_with_a_sentence(ask: Ask, name: str) -> None:
    assert set(ask[name](UNKNOWN)) == {"error"}


PATHS = ["/etc", "../../etc/x", "", "ABC", None, 7, ["a"], {"id": "a"}, "a" * 13, "../../../../x"]


@pytest.mark.parametrize("wrong", PATHS)
def test_sets_and_pictures_are_named_by_ids_alone(ask: Ask, dogs: str, wrong: Any) -> None:
    for name in ("open", "reload", "histogram", "undo_edit", "redo_edit", "forget", "train_on"):
        with pytest.raises(ValueError):
            ask[name](wrong)
    for name, request in {
        "detail": [dogs, wrong],
        "pictures": [wrong, {}, 0, 1],
        "save": [dogs, wrong, "text", ""],
        "trash": [dogs, [wrong]],
        "apply_edit": [dogs, {"kind": "clear"}, {"pids": [wrong]}],
    }.items():
        with pytest.raises(ValueError):
            ask[name](request)


WRONG = {
    "pictures": [[{}, 0], [{}, -1, 5], [{}, 0, "5"], [{}, True, 5], [[], 0, 5], [{"filter": "all; drop"}, 0, 5]],
    "tags": [[{"sort": "random"}, 5], [{"search": 5}, 5], [{"search": "x" * 2000}, 5]],
    "save": [[UNKNOWN, 5, ""], [UNKNOWN, "x" * 200_000, ""], [UNKNOWN, "x", None]],
    "preview_edit": [
        ["clear", {"query": {}}],
        [{"kind": ["clear"]}, {"query": {}}],
        [{"kind": "clear"}, {}],
        [{"kind": "clear"}, {"pids": []}],
        [{"kind": "clear"}, {"pids": [UNKNOWN], "query": {}}],
        [{str(n): 1 for n in range(20)}, {"query": {}}],
    ],
    "fill": [[], ["no list"], [[["/etc/passwd", ""]]]],
}


@pytest.mark.parametrize(("name", "rest"), [(name, rest) for name, all_rest in WRONG.items() for rest in all_rest])
def test_requests_of_another_shape_are_refused(ask: Ask, dogs: str, name: str, rest: list[Any]) -> None:
    with pytest.raises(ValueError):
        ask[name]([dogs, *rest])


def test_an_upload_is_a_file_of_the_upload_folder(ask: Ask, dogs: str, tmp_path: Path) -> None:
    own = tmp_path / "own.png"
    own.write_bytes(b"")
    with pytest.raises(ValueError):
        ask["fill"]([[[str(own), ""]], dogs])
    with pytest.raises(ValueError):
        ask["count"](5)


def test_an_operation_that_cannot_be_used_is_answered_with_a_sentence(ask: Ask, dogs: str) -> None:
    answer = ask["preview_edit"]([dogs, {"kind": "replace", "find": "(", "regex": True}, {"query": {}}])
    assert "expression" in answer["error"]


def test_names_of_server_functions_are_free_in_gradio(ask: Ask) -> None:
    with gr.Blocks():
        plain = gr.HTML()
    assert [name for name in ask if hasattr(plain, name)] == []


def test_the_page_asks_only_for_functions_that_there_are(ask: Ask) -> None:
    scripts = "".join(file.read_text(encoding="utf-8") for file in SCRIPTS)
    asked = set(re.findall(r"(?:this\.ask|view\.ask|\bask|\bserver)\.(\w+)\(", scripts))
    assert asked - set(ask) == set() and len(asked) > 12


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_the_page_has_words(language: str) -> None:
    table = texts(language).table
    scripts = "".join(file.read_text(encoding="utf-8") for file in SCRIPTS)
    wanted = set(re.findall(r't\("((?:dataset|filter|edit|drop)\.[\w.]+)"', scripts))
    wanted |= {f"filter.{name}" for name in ("all", *FILTERS)} | {f"dataset.sort.{name}" for name in SORTS}
    wanted |= {f"edit.{kind}" for kind in operations.KINDS}
    wanted |= {f"{key}{one}" for key in re.findall(r'at\.some\("([\w.]+)"', scripts) for one in ("", "_1")}
    assert sorted(wanted - set(table)) == [] and len(wanted) > 100


def test_the_page_offers_every_kind_of_edit() -> None:
    script = (ASSETS / "js" / "datasetbulk.js").read_text(encoding="utf-8")
    fields = script[script.index("const FIELDS = {") : script.index("};", script.index("const FIELDS = {"))]
    assert [kind for kind in operations.KINDS if not re.search(rf"\b{kind}: \[", fields)] == []


def test_the_page_says_in_its_language_why_a_file_cannot_be_read(studio: Studio, ask: Ask, dogs: str) -> None:
    folder = studio.data_dir / "datasets" / "dogs"
    (folder / "3.png").write_bytes(b"")
    (folder / "0.txt").write_bytes("狗".encode("gb18030"))
    ask["reload"](dogs)
    wait_ready(ask, dogs)
    bad = {one["name"]: one for one in ask["open"](dogs)["bad"]}
    assert bad["3.png"]["reason"] == "文件是空的" and bad["0.png"]["reason"].startswith("标注不是 UTF-8")
    assert ask["detail"]([dogs, bad["0.png"]["pid"]])["locked"].startswith("标注不是 UTF-8")
