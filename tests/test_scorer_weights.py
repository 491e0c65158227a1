"""Scorers by name: where their weights are found, downloads, what a version tells, packages that are missing."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.fake_hub import Hub, serving
from tests.tiny_rewards import CPU, clip_folder
from trainers.errors import ConfigError, MissingPackageError
from trainers.preferences import scorers
from trainers.preferences.catalog import SCORERS
from trainers.preferences.rewards.base import Scorer
from trainers.weights.header import WeightsError


def silent(file: str, done: int, total: int) -> None: ...


def test_every_scorer_has_a_module_that_loads_it() -> None:
    for spec in SCORERS.values():
        module = importlib.import_module(f"trainers.preferences.rewards.{spec.module}")
        assert callable(module.load)
        assert spec.low < spec.high and bool(spec.parts) == bool(spec.download_gib)


def test_given_place_comes_first_whatever_the_file_is_called(tmp_path: Path) -> None:
    mine = tmp_path / "my hps.pt"
    mine.write_bytes(b"weights")
    given = scorers.given_places([f"hpsv2.1.weights = {mine}"])
    assert given == {"hpsv2.1": {"weights": str(mine)}}
    assert scorers.find("hpsv2.1", given["hpsv2.1"]) == {"weights": mine} and scorers.is_here(
        "hpsv2.1", given["hpsv2.1"]
    )


def test_given_folder_will_do_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "sac+logos+ava1-l14-linearMSE.pth").write_bytes(b"weights")
    place = clip_folder(tmp_path / "clip")
    found = scorers.find("aesthetic", {"head": str(tmp_path), "clip": str(place)})
    assert found == {"clip": place, "head": tmp_path / "sac+logos+ava1-l14-linearMSE.pth"}


@pytest.mark.parametrize(
    "line", ["hpsv2.1.weights", "hpsv2.weights = x", "hpsv2.1.head = x", "= x", "/models/HPS_v2.1_compressed.pt"]
)
def test_line_that_names_no_part_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="names no part") as caught:
        scorers.given_places([line])
    assert caught.value.field == "scorers.weights" and "hpsv2.1.weights" in caught.value.hint


def test_given_place_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    for name, given in (("hpsv2.1", {"weights": str(tmp_path)}), ("pickscore", {"clip": str(tmp_path / "none")})):
        with pytest.raises(ConfigError, match="there is no"):
            scorers.find(name, given)
        assert not scorers.is_here(name, given)


def test_models_folder_is_looked_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    assert scorers.find("pickscore") is None and not scorers.is_here("hpsv2.1")
    place = clip_folder(tmp_path / "models" / "PickScore_v1")
    (tmp_path / "models" / "HPS_v2.1_compressed.pt").write_bytes(b"weights")
    assert scorers.find("pickscore") == {"clip": place}
    assert scorers.find("hpsv2.1") == {"weights": tmp_path / "models" / "HPS_v2.1_compressed.pt"}


def test_offline_says_which_line_to_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="downloads are switched off") as caught:
        scorers.fetch("hpsv2.1", None, lambda file, done, total: None)
    assert "scorers.weights = hpsv2.1.weights = PLACE" in caught.value.hint


def test_unknown_scorer_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="no scorer 'hps'") as caught:
        scorers.spec_of("hps")
    assert all(name in caught.value.hint for name in SCORERS)


def test_version_tells_weights_format_and_preprocessing_apart(tmp_path: Path) -> None:
    file = tmp_path / "HPS_v2.1_compressed.pt"
    versions = []
    for content in (b"a" * 1000, b"b" * 1000):
        file.write_bytes(content)
        versions.append(scorers.version_of("hpsv2.1", {"weights": file}))
    other = scorers.version_of("hpsv2.1", {"weights": file}, "bf16")
    assert len({*versions, other}) == 3 and other == f"{versions[1]}-bf16"
    moved = file.rename(tmp_path / "renamed.pt")
    assert scorers.version_of("hpsv2.1", {"weights": moved}) == versions[1], "a name does not matter"
    assert scorers.version_of("sandbox", {}) == "1"


def test_version_of_a_huge_file_reads_pieces_all_over_it(tmp_path: Path) -> None:
    file, size = tmp_path / "weights.pt", 80 * 2**20
    found = set()
    for at in (None, 0, size // 31 * 7, size - 1):
        with file.open("wb") as out:
            out.truncate(size)
            if at is not None:
                out.seek(at)
                out.write(b"x")
        found.add(scorers.version_of("hpsv2.1", {"weights": file}))
    assert len(found) == 4


def test_missing_package_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="needs the package rtmlib") as caught:
        scorers.open_scorer("anatomy", {}, CPU)
    assert "requirements-scorers.txt" in caught.value.hint
    assert scorers.missing_package("hpsv2.1") == ""


def test_sandbox_scorer_needs_nothing() -> None:
    assert scorers.find("sandbox") == {} and SCORERS["sandbox"].built_in
    opened: Scorer = scorers.open_scorer("sandbox", {}, CPU)
    assert opened.name == "sandbox"


# --------------------------------------------------------------------------- downloads


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub with everything that the scorers need, and more, for a machine that has nothing yet."""
    repos: dict[str, Path] = {}
    for spec in SCORERS.values():
        for part in spec.parts.values():
            folder = repos.setdefault(part.source, tmp_path / "hub" / part.source)
            for name in ("README.md", "training_args.bin", *(name for names in part.needed for name in names)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(f"{part.source} {name}".encode())
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries
    with serving(Hub(repos)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


@pytest.mark.parametrize("name", [name for name, spec in SCORERS.items() if spec.parts])
def test_download_brings_the_usual_file_of_each_part_and_no_more(name: str, hub: Hub) -> None:
    assert scorers.find(name) is None
    files = scorers.fetch(name, None, silent)
    wanted = {names[0] for part in SCORERS[name].parts.values() for names in part.needed}
    assert hub.downloaded() == wanted and scorers.find(name) == files and scorers.is_here(name)
    for key, part in SCORERS[name].parts.items():
        assert files[key].is_file() == part.is_file
        first = files[key] if part.is_file else files[key] / part.needed[0][0]
        assert first.read_bytes() == (hub.repos[part.source] / part.needed[0][0]).read_bytes()


def test_what_is_here_is_not_asked_for_again(hub: Hub) -> None:
    files = scorers.fetch("anatomy", None, silent)
    hub.asked.clear()
    assert scorers.fetch("anatomy", None, silent) == files and hub.asked == []


def test_given_part_is_not_downloaded(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "mine.pth").write_bytes(b"weights")
    files = scorers.fetch("aesthetic", {"head": str(tmp_path / "mine.pth")}, silent)
    assert files["head"] == tmp_path / "mine.pth" and hub.downloaded() == {"config.json", "model.safetensors"}


def test_pickled_weights_are_taken_where_there_are_no_others(hub: Hub) -> None:
    (hub.repos["yuvalkirstain/PickScore_v1"] / "model.safetensors").unlink()
    scorers.fetch("pickscore", None, silent)
    assert hub.downloaded() == {"config.json", "pytorch_model.bin"}


def test_repository_without_the_weights_is_told_of(hub: Hub) -> None:
    (hub.repos["xswu/HPSv2"] / "HPS_v2.1_compressed.pt").unlink()
    with pytest.raises(WeightsError, match=r"lacks files that HPS v2\.1 needs") as caught:
        scorers.fetch("hpsv2.1", None, silent)
    assert "hpsv2.1.weights = PLACE" in caught.value.hint
