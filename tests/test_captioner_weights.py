"""Weights of captioners: where they are found, and that downloads bring what is needed, go on, and can be stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from captioners.base import StopAskedError
from captioners.catalog import CAPTIONERS, CaptionerSpec
from captioners.config import CaptionConfig
from captioners.download import fetch
from captioners.weights import is_here, place_of
from tests.fake_hub import COMMIT, Hub, serving
from trainers.errors import AtelierError, ConfigError
from trainers.paths import PROGRAM
from trainers.weights import blobs
from trainers.weights.header import WeightsError

QWEN = CAPTIONERS["qwen3-vl-4b"]
TAGGER = CAPTIONERS["wd-swinv2"]
FLORENCE = CAPTIONERS["florence2-large-no-flash"]
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SETTINGS = ("config.json", "generation_config.json", "tokenizer.json", "merges.txt", "preprocessor_config.json")
QWEN_FILES = {*SETTINGS, "chat_template.jinja", "model.safetensors.index.json", *SHARDS}
UNNEEDED = (
    "README.md",
    "pytorch_model.bin",
    "flax_model.msgpack",
    "onnx/model.safetensors",
    "consolidated.safetensors",
)


def lay_out(folder: Path, names: Any, size: int = 6000) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode() * (size // len(name) + 1) if name.endswith((".safetensors", ".bin")) else b"{}")
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Atelier's folder of models on a machine that has nothing yet."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data/models"


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub with three captioners."""
    repos = {
        QWEN.source: lay_out(tmp_path / "qwen", (*QWEN_FILES, *UNNEEDED)),
        TAGGER.source: lay_out(tmp_path / "wd", (*TAGGER.files, "model.safetensors", "README.md")),
        FLORENCE.source: lay_out(tmp_path / "florence", (*SETTINGS, "pytorch_model.bin", "modeling_florence2.py")),
    }
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what is not a whole one is lost with a connection
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(blobs, "TOLD_EVERY_S", 0.0)
    with serving(Hub(repos)) as hub:
        point_to(hub.address, monkeypatch)
        yield hub


def point_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_ENDPOINT does, which is read when the package is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


def config_of(spec: CaptionerSpec, **captioner: str) -> CaptionConfig:
    name = next(name for name, one in CAPTIONERS.items() if one is spec)
    return CaptionConfig.model_validate({"captioner": {"name": name, **captioner}})


def silent(file: str, done: int, total: int) -> None: ...


def bring(spec: CaptionerSpec, **captioner: str) -> Path:
    return fetch(config_of(spec, **captioner), spec, silent)


def names_in(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# --------------------------------------------------------------------------- where they are


def test_built_in_captioner_is_in_the_program() -> None:
    spec = CAPTIONERS["sandbox"]
    expected = PROGRAM / spec.source
    assert place_of(config_of(spec), spec) == (expected if expected.is_dir() else None)


def test_missing_built_in_files_are_never_asked_of_the_hub(hub: Hub) -> None:
    spec = replace(CAPTIONERS["sandbox"], source="assets/no-such-captioner")
    with pytest.raises(AtelierError, match="missing from this copy of Atelier"):
        fetch(CaptionConfig(), spec, silent)
    assert hub.asked == []


def test_server_needs_no_weights() -> None:
    assert bring(CAPTIONERS["server"]) == Path()
    assert is_here("server")


def test_folder_of_ones_own_comes_before_all(hub: Hub, tmp_path: Path) -> None:
    bring(QWEN)
    mine = lay_out(tmp_path / "mine", QWEN_FILES)
    hub.asked.clear()
    assert bring(QWEN, source=str(mine)) == mine and hub.asked == []


def test_folder_in_the_models_folder_is_found_by_the_last_part_of_the_id(models: Path) -> None:
    place = models / "Qwen3-VL-4B-Instruct"
    lay_out(place, QWEN_FILES - {SHARDS[1]})
    assert not is_here("qwen3-vl-4b"), "a shard is missing"
    lay_out(place, QWEN_FILES)
    assert is_here("qwen3-vl-4b") and bring(QWEN) == place
    assert place_of(config_of(QWEN, revision=COMMIT), QWEN) is None, "nobody knows its revision"


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "preprocessor_config.json", SHARDS[0]])
def test_folder_that_lacks_a_needed_file_does_not_count(missing: str, models: Path) -> None:
    lay_out(models / "Qwen3-VL-4B-Instruct", QWEN_FILES - {missing})
    assert not is_here("qwen3-vl-4b")


def test_tagger_is_here_with_graph_and_table(models: Path) -> None:
    place = lay_out(models / "wd-swinv2-tagger-v3", ("model.onnx",))
    assert not is_here("wd-swinv2")
    (place / "selected_tags.csv").write_text("tag_id,name,category,count\n")
    assert is_here("wd-swinv2")


def test_older_joycaption_needs_a_folder() -> None:
    spec = CAPTIONERS["joycaption-alpha-two-folders"]
    for source in ("", "someone/joy-caption"):
        with pytest.raises(ConfigError, match=r"captioner\.source") as caught:
            place_of(config_of(spec, source=source), spec)
        assert "clip" in caught.value.hint
    assert not is_here("joycaption-alpha-two-folders")


@pytest.mark.parametrize(("source", "message"), [("no/such/folder", "neither a folder nor the id"), ("a file", "file")])
def test_source_that_names_nothing_is_refused(source: str, message: str, tmp_path: Path) -> None:
    if source == "a file":
        source = str(tmp_path / "model.safetensors")
        Path(source).write_bytes(b"")
    with pytest.raises(ConfigError, match=message):
        place_of(config_of(QWEN, source=source), QWEN)


# --------------------------------------------------------------------------- downloads


@pytest.mark.parametrize(
    ("spec", "files"),
    [
        (QWEN, QWEN_FILES),
        (TAGGER, set(TAGGER.files)),
        (FLORENCE, {*SETTINGS, "pytorch_model.bin"}),
    ],
    ids=["shards", "tagger", "pickled-only"],
)
def test_download_brings_what_is_needed_and_no_more(spec: CaptionerSpec, files: set[str], hub: Hub) -> None:
    place = bring(spec)
    assert hub.downloaded() == files == names_in(place)
    for name in files:
        assert (place / name).read_bytes() == (hub.repos[spec.source] / name).read_bytes()


def test_one_whole_file_is_taken_rather_than_its_shards(hub: Hub) -> None:
    lay_out(hub.repos[QWEN.source], ("model.safetensors",))
    bring(QWEN)
    assert not hub.downloaded() & {*SHARDS, "model.safetensors.index.json"} and "model.safetensors" in hub.downloaded()


def test_what_is_here_is_not_asked_for_again(hub: Hub) -> None:
    assert not is_here("qwen3-vl-4b")
    place = bring(QWEN)
    hub.asked.clear()
    assert bring(QWEN) == place and is_here("qwen3-vl-4b") and hub.asked == []


def test_another_repository_of_the_kind_can_be_named(hub: Hub) -> None:
    hub.repos["someone/finetune"] = hub.repos[QWEN.source]
    assert "someone--finetune" in str(bring(QWEN, source="someone/finetune"))
    assert not is_here("qwen3-vl-4b"), "the usual one is still to come"


def test_revision_is_kept_to(hub: Hub) -> None:
    place = bring(QWEN, revision=COMMIT)
    assert place.name == COMMIT == place_of(config_of(QWEN, revision=COMMIT), QWEN).name  # type: ignore[union-attr]


def test_broken_download_goes_on_where_it_stopped(hub: Hub) -> None:
    whole = (hub.repos[QWEN.source] / SHARDS[1]).stat().st_size
    hub.cut[SHARDS[1]] = 3000
    with pytest.raises(WeightsError, match=r"The hub answers with an error \(503\)"):
        bring(QWEN)
    assert not is_here("qwen3-vl-4b")
    hub.broken = False
    hub.asked.clear()
    bring(QWEN)
    assert hub.downloaded() == {SHARDS[1]} and hub.sent[SHARDS[1]] == whole, "no byte twice"


def test_progress_is_told_in_bytes(hub: Hub) -> None:
    told: list[tuple[str, int, int]] = []
    fetch(config_of(QWEN), QWEN, lambda *what: told.append(what))
    for name in QWEN_FILES:
        size = (hub.repos[QWEN.source] / name).stat().st_size
        counts = [done for file, done, total in told if file == name and total == size]
        assert counts == sorted(counts) and counts[-1] == size
    assert sum(file == SHARDS[0] for file, _, _ in told) > 3, "not only at its end"


def test_stop_in_the_middle_keeps_what_is_there(hub: Hub) -> None:
    def stop(file: str, done: int, total: int) -> None:
        if file == SHARDS[1] and done >= 2000:
            raise StopAskedError

    with pytest.raises(StopAskedError):
        fetch(config_of(QWEN), QWEN, stop)
    hub.asked.clear()
    bring(QWEN)
    asked = [(path.rpartition("/")[2], begin) for method, path, begin in hub.asked if method == "GET" and begin]
    assert asked == [(SHARDS[1], "bytes=1000-")], "goes on behind the last whole chunk"


# --------------------------------------------------------------------------- what goes wrong


def test_offline_uses_what_is_here_and_says_what_is_not(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    place = bring(QWEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert bring(QWEN) == place
    with pytest.raises(WeightsError, match="downloads are switched off") as caught:
        bring(TAGGER)
    assert "captioner.source" in caught.value.hint


def test_gated_captioner_says_what_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add(QWEN.source)
    with pytest.raises(WeightsError, match="asks for its licence to be accepted") as caught:
        bring(QWEN)
    assert f"https://huggingface.co/{QWEN.source}" in caught.value.hint and "hf auth login" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", "let-me-in")
    assert names_in(bring(QWEN)) == QWEN_FILES


@pytest.mark.parametrize(
    ("captioner", "message", "hint"),
    [
        ({"source": "someone/unknown"}, "There is no model someone/unknown on the hub", "spelling"),
        ({"revision": "no-such"}, "has no revision 'no-such'", "captioner.revision"),
    ],
)
def test_failure_names_the_setting_to_change(captioner: Mapping[str, str], message: str, hint: str, hub: Hub) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        bring(QWEN, **captioner)
    assert hint in caught.value.hint and "model." not in caught.value.hint


def test_hub_that_does_not_answer_is_one_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(WeightsError, match="the hub does not answer") as caught:
        bring(QWEN)
    assert "HF_ENDPOINT" in caught.value.hint


def test_room_is_looked_at_before_anything_is_downloaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(WeightsError, match="GB are free in"):
        bring(QWEN)
    assert hub.downloaded() == set()


def test_repository_without_weights_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.repos["someone/empty"] = lay_out(tmp_path / "empty", ("README.md", "config.json", "adapter_model.safetensors"))
    with pytest.raises(WeightsError, match="holds no weights"):
        bring(QWEN, source="someone/empty")
    assert hub.downloaded() == set()


def test_repository_of_another_kind_is_refused(hub: Hub, tmp_path: Path) -> None:
    (lay_out(tmp_path / "text", ("model.safetensors",)) / "config.json").write_text(json.dumps({"model_type": "bert"}))
    hub.repos["someone/text"] = tmp_path / "text"
    with pytest.raises(WeightsError, match=r"lacks files that Qwen3-VL 4B needs") as caught:
        bring(QWEN, source="someone/text")
    assert QWEN.source in caught.value.hint
