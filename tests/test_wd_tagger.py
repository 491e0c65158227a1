"""Taggers: what the graph gets to see, which column is which tag, and files that are not those of a tagger."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from captioners import wd_tagger
from captioners.base import Request, Result, Runtime, StopAskedError
from captioners.config import CaptionConfig
from captioners.tag_lists import TagList
from captioners.tags import Tag
from captioners.wd_tagger import WdTagger, load, square
from tests.toy_tagger import COLUMNS, CSV, MAPPING, SIZE, cl_folder, wd_folder
from trainers.errors import AtelierError, MissingPackageError

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)


def config_of(threads: int = 1, separator: str = ", ", **tags: Any) -> CaptionConfig:
    values = {"run": {"threads": threads}, "captioner": {"name": "wd-vit"}, "policy": {"separator": separator}}
    return CaptionConfig.model_validate({**values, "tags": tags})


def runtime_of(device: str = "cpu", stop_asked: Any = lambda: False) -> Runtime:
    return Runtime(torch.device(device), torch.float32, stop_asked=stop_asked)


def tagger_of(folder: Path, **tags: Any) -> WdTagger:
    return load(folder, config_of(**tags), runtime_of())


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    return Image.new("RGB", size, colour)


def caption(tagger: WdTagger, *images: Image.Image) -> list[Result]:
    return tagger.caption([Request(image) for image in images])


@pytest.fixture(scope="module")
def wd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wd_folder(tmp_path_factory.mktemp("wd"))


@pytest.fixture(scope="module")
def cl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cl_folder(tmp_path_factory.mktemp("cl"))


@pytest.mark.parametrize(
    ("colour", "bgr"), [(RED, (0, 0, 1)), (GREEN, (0, 1, 0)), (BLUE, (1, 0, 0)), ((51, 102, 255), (1, 0.4, 0.2))]
)
def test_the_graph_sees_blue_green_red_from_0_to_255(wd: Path, colour: Any, bgr: Any) -> None:
    (row,) = tagger_of(wd).probabilities([picture(colour)])
    assert row == pytest.approx([*bgr, *bgr], abs=1e-6)


def test_a_picture_is_padded_to_a_white_square(wd: Path) -> None:
    (wide, high) = tagger_of(wd).probabilities([picture(BLACK, (16, 8)), picture(BLACK, (8, 16))])
    for row in (wide, high):
        assert row[:3] == pytest.approx([0.5] * 3) and row[3:] == pytest.approx([1] * 3)  # the corner is white


def test_the_picture_lies_in_the_middle() -> None:
    pixels = np.asarray(square(picture(BLACK, (16, 6)), 16))[:, 0, 0]
    assert pixels.tolist() == [255] * 5 + [0] * 6 + [255] * 5


def test_scaling_is_bicubic() -> None:
    dot = picture(BLACK, (12, 12))
    dot.putpixel((5, 5), WHITE)
    # Keys' cubic with a = -0.5, at twice the size: the dot is 0.25 and 0.75 of its pixels away from those around it
    near, far = 1 - 2.5 * 0.25**2 + 1.5 * 0.25**3, 1 - 2.5 * 0.75**2 + 1.5 * 0.75**3
    row = np.asarray(square(dot, 24))[10, :, 0]
    expected = [255 * near * part for part in (far, near, near, far)]
    assert row[9:13].tolist() == pytest.approx(expected, abs=1)


def test_columns_are_those_of_the_lines_whatever_their_category(wd: Path) -> None:
    (result,) = caption(tagger_of(wd, character=0.4, rating="last"), picture((229, 127, 178)))
    # blue 0.7, green 0.5, red 0.9: of both mean and corner
    assert result.text == "hatsune miku (vocaloid), red, or not, blue theme, ^_^, general"
    assert list(result.tags) == ["hatsune miku (vocaloid)", "red, or not", "blue theme", "^_^", "general"]
    assert result.tags["blue theme"] == pytest.approx(178 / 255) and result.fault == ""


def test_tags_are_joined_by_the_separator_of_the_policy(wd: Path) -> None:
    (result,) = load(wd, config_of(separator=" | "), runtime_of()).caption([Request(picture(BLUE))])
    assert result.text == "blue theme | ^_^"


def test_no_likely_tag_is_a_fault_with_its_reason(wd: Path) -> None:
    (result,) = caption(tagger_of(wd, rating="first"), picture(GREEN))
    assert (result.text, result.fault) == ("explicit, hatsune miku (vocaloid)", "")
    (result,) = caption(tagger_of(wd, rating="first"), picture(BLACK))
    assert (result.text, result.fault, result.tags) == ("", "empty", {})
    assert result.why == "no tag is likelier than the thresholds"


@pytest.mark.parametrize("batch", [1, 2, 4, "N"])
def test_a_batch_of_any_size_gives_what_each_picture_gives_alone(tmp_path: Path, batch: Any) -> None:
    tagger = tagger_of(wd_folder(tmp_path / "tagger", batch=batch), general=0.1, character=0.1)
    images = [picture(colour) for colour in (RED, BLUE, (90, 60, 30), GREEN, (200, 100, 50))]
    together = caption(tagger, *images)
    assert together == [caption(tagger, image)[0] for image in images]
    assert len({str(result.tags) for result in together}) == len(images)
    assert tagger.caption([]) == []


def test_graphs_of_half_precision_get_half_precision(tmp_path: Path) -> None:
    (row,) = tagger_of(wd_folder(tmp_path / "tagger", half=True)).probabilities([picture(RED)])
    assert row == pytest.approx([0, 0, 1] * 2, abs=1e-2) and row.dtype == np.float32


def test_cl_taggers_get_channels_first_from_minus_1_to_1_and_their_logits_become_probabilities(cl: Path) -> None:
    (row,) = tagger_of(cl).probabilities([picture((255, 0, 51))])  # blue 51 is -0.6
    bgr = [1 / (1 + np.exp(-4 * value)) for value in (-0.6, -1.0, 1.0)]
    assert row == pytest.approx(bgr * 2, abs=1e-6)


def test_cl_taggers_name_characters_series_and_artists(cl: Path) -> None:
    (result,) = caption(tagger_of(cl), picture(WHITE))
    assert result.text == "hatsune miku (vocaloid), vocaloid, some artist, blue theme"


def test_both_layouts_of_cl_tags_are_read(tmp_path: Path, cl: Path) -> None:
    names = {column: one["tag"] for column, one in MAPPING.items()}
    mapping = {"idx_to_tag": names, "tag_to_category": {one["tag"]: one["category"] for one in MAPPING.values()}}
    other = cl_folder(tmp_path / "tagger", mapping=mapping)
    assert caption(tagger_of(other), picture(WHITE)) == caption(tagger_of(cl), picture(WHITE))


def test_a_cl_list_may_leave_columns_out(tmp_path: Path) -> None:
    folder = cl_folder(tmp_path / "tagger", mapping={"3": {"tag": "only_one", "category": "General"}})
    assert caption(tagger_of(folder), picture(WHITE))[0].text == "only one"


def test_a_graph_of_any_size_gets_the_usual_one(tmp_path: Path) -> None:
    tagger = tagger_of(cl_folder(tmp_path / "tagger", size="side"))
    assert tagger._input.size == 448 and caption(tagger, picture(WHITE))[0].text


def test_threads_are_those_of_the_config(wd: Path) -> None:
    tagger = load(wd, config_of(threads=3), runtime_of())
    assert tagger._session.get_session_options().intra_op_num_threads == 3


# --- stopping, memory, unloading ---


def test_a_stop_ends_the_batch_before_its_next_portion(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    folder = wd_folder(tmp_path / "tagger", batch=1)
    tagger = load(folder, config_of(), runtime_of(stop_asked=lambda: next(asked)))
    with pytest.raises(StopAskedError):
        caption(tagger, *[picture(RED)] * 5)
    assert next(asked, None) is None


class FakeSession:
    """A session whose answer, or error, is given."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="picture", shape=["N", SIZE, SIZE, 3], type="tensor(float)")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="answer", shape=["N", "tags"])]

    def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return [np.array([self._answer] * len(inputs["picture"]), np.float32)]


def fake_tagger(answer: Any) -> WdTagger:
    tags = TagList(Path("selected_tags.csv"), {0: Tag("a", "general"), 1: Tag("b", "general")}, of_cl=False)
    return WdTagger(FakeSession(answer), tags, config_of(), lambda: False)


def test_lack_of_memory_is_told_to_the_caller() -> None:
    error = type("RuntimeException", (Exception,), {"__module__": "onnxruntime.capi"})
    with pytest.raises(MemoryError):
        caption(fake_tagger(error("Failed to allocate memory for requested buffer of size 9")), picture(RED))
    with pytest.raises(error):
        caption(fake_tagger(error("something else")), picture(RED))


def test_probabilities_that_are_no_numbers_are_a_fault() -> None:
    (result,) = caption(fake_tagger([float("nan"), 0.9]), picture(RED))
    assert result.fault == "empty" and "not numbers" in result.why


def test_columns_that_the_graph_does_not_declare_are_counted_in_its_answer() -> None:
    with pytest.raises(AtelierError, match="2 tags"):
        caption(fake_tagger([0.9, 0.9, 0.9]), picture(RED))


def test_the_graph_goes_with_the_tagger(wd: Path) -> None:
    tagger = tagger_of(wd)
    caption(tagger, picture(RED))
    session = weakref.ref(tagger._session)
    del tagger
    gc.collect()
    assert session() is None


# --- the graphics card ---


def test_a_fall_back_to_the_processor_is_told(wd: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "captioners")
    tagger_of(wd)
    assert not caplog.records
    load(wd, config_of(), runtime_of("cuda"))
    assert "onnxruntime-gpu" in caplog.text


def test_the_card_is_asked_for_where_onnxruntime_knows_it() -> None:
    loaded: list[bool] = []
    known = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        preload_dlls=lambda: loaded.append(True),
    )
    cuda, processor = wd_tagger._providers(known, runtime_of("cuda:1"))
    assert cuda == ("CUDAExecutionProvider", {"device_id": 1}) and processor == "CPUExecutionProvider" and loaded
    assert wd_tagger._providers(known, runtime_of("cpu")) == ["CPUExecutionProvider"]


def test_a_missing_package_names_the_line_that_installs_it(wd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError) as raised:
        tagger_of(wd)
    assert ".venv/bin/python -m pip install -r requirements-tagger.txt" in raised.value.hint


# --- files ---


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ("", "does not name category"),
        ("tag_id,tag,category\n1,a,0\n", "does not name name"),
        ("tag_id,name,category,count\n", "has no tags"),
        (CSV.replace("explicit,9", "explicit,7"), "no category 7"),
        (CSV.replace("2,hatsune_miku_(vocaloid),4,5", "2,hatsune_miku_(vocaloid)"), "no category None"),
        (CSV.replace("blue_theme", ""), "no name"),
        (CSV.replace('"red,_or_not"', '"red,_or_not'), "cannot be read"),
        (CSV + "7,one_more,0,5\n", "has 7 tags, but the model beside it tells 6"),
        (CSV.replace("4,^_^,0,5\n", ""), "has 5 tags, but the model beside it tells 6"),
    ],
)
def test_a_list_that_is_not_of_this_graph_is_refused(tmp_path: Path, csv: str, words: str) -> None:
    folder = wd_folder(tmp_path / "tagger", csv=csv)
    with pytest.raises(AtelierError, match=words) as raised:
        tagger_of(folder)
    assert raised.value.hint and str(folder) in raised.value.message


def test_a_list_is_utf_8_whatever_the_machine_speaks(tmp_path: Path) -> None:
    lines = ["\ufeffname,category", "\u9752_\u2665,0", *(f"tag{number},0" for number in range(1, COLUMNS))]
    folder = wd_folder(tmp_path / "tagger", csv="\n".join(lines))
    assert caption(tagger_of(folder), picture(BLUE))[0].text == "\u9752 \u2665, tag3"
    (folder / "selected_tags.csv").write_bytes(CSV.encode().replace(b"blue", b"\xff\xfe"))
    with pytest.raises(AtelierError, match="cannot be read"):
        tagger_of(folder)


@pytest.mark.parametrize(
    "mapping",
    [
        [],
        {},
        {"a": {"tag": "a", "category": "General"}},
        {"0": {"tag": "a"}},
        {"0": {"tag": "a", "category": "Weather"}},
        {"0": "a"},
        {"idx_to_tag": {"0": "a"}, "tag_to_category": {}},
        {str(COLUMNS): {"tag": "a", "category": "General"}},
    ],
)
def test_a_damaged_mapping_is_refused(tmp_path: Path, mapping: Any) -> None:
    with pytest.raises(AtelierError):
        tagger_of(cl_folder(tmp_path / "tagger", mapping=mapping))


def test_a_folder_without_tagger_is_refused(tmp_path: Path, wd: Path) -> None:
    with pytest.raises(AtelierError, match="neither selected_tags"):
        tagger_of(tmp_path)
    (tmp_path / "selected_tags.csv").write_bytes((wd / "selected_tags.csv").read_bytes())
    with pytest.raises(AtelierError, match="has no model"):
        tagger_of(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(AtelierError, match="cannot be opened"):
        tagger_of(tmp_path)


@pytest.mark.parametrize("shape", [["N", SIZE], ["N", SIZE, SIZE, 4], ["N", 8, 16, 3]])
def test_a_graph_that_takes_no_square_pictures_is_refused(tmp_path: Path, shape: list[Any]) -> None:
    whole = wd_folder(tmp_path / "tagger")
    nodes = [onnx.helper.make_node("Flatten", ["x"], ["y"])]
    columns = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", None])
    values = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    graph = onnx.helper.make_graph(nodes, "other", [values], [columns])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(whole / "model.onnx"))
    with pytest.raises(AtelierError, match="The graph"):
        tagger_of(whole)
