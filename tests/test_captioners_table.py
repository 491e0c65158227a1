"""The table of captioners tells of each what it needs on this machine, and fits a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import constants

from captioners.catalog import CAPTIONERS, ONLY_SOME_READ, READS
from captioners.config import CaptionConfig
from captioners.overview import memory_here, table
from trainers.machine import Machine
from trainers.parameters import by_path

CPU = Machine("cpu", "a processor", 16, 16, 8, bf16=False)
CARD = Machine("cuda", "a card", 24, 64, 8, bf16=True)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any download."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def rows(machine: Machine) -> dict[str, str]:
    """Captioner -> its line."""
    named = {line.split(" ")[0]: line for line in table(machine)}
    return {name: named[name] for name in CAPTIONERS}


@pytest.mark.parametrize("machine", [CPU, CARD], ids=["cpu", "card"])
def test_every_captioner_has_a_line_with_its_figures(machine: Machine) -> None:
    bytes_each = 4.0 if machine.device == "cpu" else 2.0
    for name, line in rows(machine).items():
        spec = CAPTIONERS[name]
        memory, nf4 = line.split()[-3:-1]
        assert spec.licence in line and f" {spec.writes} " in line
        expected = spec.memory_gib("none", 4.0 if spec.kind == "wd" else bytes_each)
        assert memory == (f"{expected:.1f}" if expected else "-"), name
        assert nf4 == (f"{spec.memory_gib('nf4', bytes_each):.1f}" if spec.quantizable else "-"), name
        if spec.download_gib:
            assert f" {spec.download_gib:.1f} GB" in line


def test_every_source_and_note_is_told() -> None:
    text = re.sub(r"\s+", " ", " ".join(table(CARD)))
    for spec in CAPTIONERS.values():
        assert spec.source in text and spec.note in text


@pytest.mark.parametrize("machine", [CPU, CARD], ids=["cpu", "card"])
def test_no_line_is_longer_than_the_terminal(machine: Machine) -> None:
    assert [line for line in table(machine) if len(line) > 120] == []


def test_what_needs_no_download_says_so() -> None:
    lines = rows(CARD)
    assert " built in " in lines["sandbox"] and " server " in lines["server"]
    assert " by hand " in lines["joycaption-alpha-two-folders"]


def test_what_is_on_the_disk_is_told(data: Path) -> None:
    assert rows(CARD)["wd-vit"].endswith(" no")
    folder = data / "models/wd-vit-tagger-v3"
    folder.mkdir(parents=True)
    for name in ("model.onnx", "selected_tags.csv"):
        (folder / name).touch()
    lines = rows(CARD)
    assert lines["wd-vit"].endswith(" yes") and lines["wd-convnext"].endswith(" no")
    assert lines["server"].endswith(" -")


def test_notes_tell_which_settings_each_kind_reads() -> None:
    """A line of the notes, and what goes on below it: kind, then section.key, key; section.key."""
    lines = list(table(CARD))
    notes = " ".join(line.strip() for line in lines[lines.index("") :])
    for kind, paths in READS.items():
        told = re.search(rf"(?: |^){kind}: ((?:\w+\.[\w, ]+(?:; )?)+?)(?= \w+: |$)", notes)
        assert told, kind
        found = set()
        for section in told[1].split("; "):
            name, _, keys = section.partition(".")
            found |= {f"{name}.{key.strip()}" for key in keys.split(",")}
        assert found == paths, kind


def test_settings_that_all_read_are_those_of_no_kind() -> None:
    every = set(by_path(CaptionConfig)) - ONLY_SOME_READ
    sections = {"run", "pictures", "policy"}
    assert {path for path in every if path.split(".")[0] not in sections} == {"captioner.name", "captioner.batch_size"}


def test_forecast_grows_with_the_bits_of_a_weight() -> None:
    spec = CAPTIONERS["qwen3-vl-8b"]
    assert memory_here(spec, CARD, "nf4") < memory_here(spec, CARD, "int8") < memory_here(spec, CARD)
    assert memory_here(spec, CARD) < memory_here(spec, CPU)
