"""The further data sets of a run, put in and taken out by mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.services.studio import Studio
from app.ui import forms, sets, shell
from app.ui.draft import DraftEditor, Edited
from app.ui.state import describe
from app.ui.texts import LANGUAGES, texts
from tests.checks import add_picture
from tests.machines import LAPTOP
from trainers import resolve
from trainers.errors import DataError

WORDS = texts("en")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "data", machine=LAPTOP)
    yield studio
    studio.close()


@pytest.fixture
def editor(studio: Studio) -> DraftEditor:
    return DraftEditor(studio)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., str]:
    """Makes a folder of so many pictures."""

    def make(name: str, count: int = 1) -> str:
        for number in range(count):
            add_picture(tmp_path / name / f"{number}.png", caption="a picture")
        return str(tmp_path / name)

    return make


def add(editor: DraftEditor, path: str, *, regularisation: bool = False) -> Edited:
    return editor.change_sets(lambda now: sets.added(now, path, regularisation=regularisation, texts=WORDS))


def remove(editor: DraftEditor, line: str) -> Edited:
    return editor.change_sets(lambda now: sets.without(now, line, WORDS))


def lines(edited: Edited) -> list[str]:
    return [forms.line_of(one) for one in forms.get(edited.after, "data.sets")]


def test_a_folder_joins_the_run_and_leaves_it(editor: DraftEditor, folder: Callable[..., str]) -> None:
    style, dogs = folder("style photos"), folder("dogs")
    assert lines(add(editor, style)) == [f"'{style}'"]
    assert lines(add(editor, dogs, regularisation=True)) == [f"'{style}'", f"{dogs} regularisation=true"]
    assert lines(remove(editor, f"'{style}'")) == [f"{dogs} regularisation=true"]
    with pytest.raises(DataError, match="not in the run any more"):
        remove(editor, f"'{style}'")
    config = resolve.validate(editor.current().after)
    assert [(one.folder, one.regularisation) for one in config.data.sets] == [(dogs, True)]


def test_a_folder_is_in_a_run_once(editor: DraftEditor, folder: Callable[..., str], tmp_path: Path) -> None:
    main, dogs = folder("main"), folder("dogs")
    editor.edit({"data.folder": main})
    add(editor, dogs)
    before = editor.current().after
    (tmp_path / "link").symlink_to(dogs)
    for path, sentence in {
        main: "trains on main already",
        dogs: "in the run already",
        f"{tmp_path}/link": "link",
    }.items():
        with pytest.raises(DataError, match=sentence):
            add(editor, path)
    assert editor.current().after == before


def test_another_part_keeps_the_rest_of_the_line(editor: DraftEditor, folder: Callable[..., str]) -> None:
    dogs = folder("dogs")
    editor.edit({"data.sets": f"{dogs} repeats=10 weight=0.5"})
    assert lines(add(editor, dogs, regularisation=True)) == [f"{dogs} repeats=10 weight=0.5 regularisation=true"]
    assert lines(add(editor, dogs)) == [f"{dogs} repeats=10 weight=0.5"]


def test_lines_with_mistakes_stay_as_they_were_typed(editor: DraftEditor, folder: Callable[..., str]) -> None:
    """The check names them; adding a set does not lose them."""
    typed = ["'half a line", "x repeats=-1", "y nonsense"]
    editor.edit({"data.sets": "\n".join(typed)})
    edited = add(editor, folder("dogs"))
    assert lines(edited)[:3] == typed and len(lines(edited)) == 4


def test_records_of_toml_are_data_sets_too(editor: DraftEditor, folder: Callable[..., str]) -> None:
    dogs, cats = folder("dogs"), folder("cats")
    editor.load_toml(f"[[data.sets]]\nfolder = '{dogs}'\nrepeats = 3\n")
    with pytest.raises(DataError):
        add(editor, dogs)
    add(editor, cats)
    assert lines(remove(editor, f"{dogs} repeats=3")) == [cats]


def test_the_main_folder_is_no_further_set(editor: DraftEditor, folder: Callable[..., str]) -> None:
    dogs, cats = folder("dogs"), folder("cats")
    add(editor, dogs)
    add(editor, cats)
    edited = editor.train_on(dogs)
    assert (forms.get(edited.after, "data.folder"), lines(edited)) == (dogs, [cats])


def test_another_preset_keeps_the_sets(editor: DraftEditor, studio: Studio, folder: Callable[..., str]) -> None:
    dogs = folder("dogs")
    add(editor, dogs)
    other = next(info.name for info in studio.presets() if info.name != "sandbox")
    assert lines(editor.choose_preset(other)) == [dogs]


def test_the_page_shows_each_set_with_its_pictures(
    studio: Studio, editor: DraftEditor, folder: Callable[..., str]
) -> None:
    main, dogs, style = folder("main", 2), folder("dogs", 3), folder("style photos", 4)
    editor.edit({"data.folder": main, "data.sets": f"{dogs} repeats=2 regularisation=true\n'{style}' weight=0.5"})
    record = describe(studio, editor, editor.current(), WORDS)
    assert record["plan"]["pictures"] == 9
    shown = [
        (one["name"], one["pictures"], one["repeats"], one["weight"], one["regularisation"]) for one in record["sets"]
    ]
    assert shown == [("dogs", 3, 2, 1.0, True), ("style photos", 4, 0, 0.5, False)]
    assert [one["folder"] for one in record["sets"]] == [dogs, style]
    known = {one["path"] for one in studio.gallery.sets()}
    assert {main, dogs, style} <= known  # each can be looked at in the data tab


def test_a_set_that_is_gone_is_still_shown_so_that_it_can_go(
    studio: Studio, editor: DraftEditor, tmp_path: Path
) -> None:
    editor.edit({"data.sets": str(tmp_path / "nowhere")})
    record = describe(studio, editor, editor.current(), WORDS)
    assert [(one["name"], one["pictures"]) for one in record["sets"]] == [("nowhere", None)]
    assert "data.sets" in record["errors"]


# --------------------------------------------------------------------------- as the page asks


def act(page: gr.Blocks, do: str, value: str) -> dict[str, Any]:
    """What the state widget gets for an act."""
    handler = next(one.fn for one in page.fns.values() if getattr(one.fn, "__name__", "") == "_act")
    record: dict[str, Any] = handler(gr.EventData(None, {"do": do, "value": value}))[0]
    return record


@pytest.mark.parametrize("language", LANGUAGES)
def test_acts_of_the_page(studio: Studio, folder: Callable[..., str], language: str) -> None:
    page, words = shell.build(studio, language), texts(language)
    dogs = folder("dogs", 2)
    record = act(page, "add_set", dogs)
    assert (record["toast"], record["sets"][0]["line"]) == (words("sets.added", name="dogs"), dogs)
    record = act(page, "add_set", dogs)
    assert (record["toast"], record["refused"]) == (words("sets.is_in", name="dogs"), True)
    record = act(page, "add_regularisation", dogs)
    assert record["sets"][0]["regularisation"] and len(record["sets"]) == 1
    assert act(page, "remove_set", record["sets"][0]["line"])["sets"] == []
