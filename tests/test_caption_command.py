"""`python launch.py caption`, `undo` and `resume`: what they print, and their exit codes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from captioners import cli, worker
from captioners.base import Request, Result
from tests.scene_reader import SceneReader, read
from tests.test_caption_job import draw
from trainers import cli as trainers_cli
from trainers.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, EXIT_USAGE, AtelierError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    draw(tmp_path / "scenes", 6)
    return tmp_path / "scenes"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> SceneReader:
    """Takes the place of every captioner."""
    reader = SceneReader()

    def load(config: Any, spec: Any, emit: Any, stop_asked: Any) -> SceneReader:
        reader.stop_asked = stop_asked
        return reader

    monkeypatch.setattr(worker, "_load", load)
    return reader


def captions(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in sorted(folder.glob("*.txt"))}


def run_dir(tmp_path: Path) -> Path:
    return next((tmp_path / "data" / "runs").iterdir())


def test_the_last_line_counts_and_names_failures(
    folder: Path, model: SceneReader, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "p02.txt").write_text("mine")
    (folder / "p04.png").write_bytes(b"broken")
    assert cli.main(["caption", "sandbox", str(folder), "trigger=scene"]) == EXIT_DONE
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "written 4, skipped 1, failed 1 (p04.png)"
    assert "failed: p04.png: " in err and "launch.py undo " in err
    assert len(captions(folder)) == 5 and captions(folder)["p00"].startswith("scene, ")


def test_undo_takes_the_job_back(
    folder: Path, model: SceneReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "p02.txt").write_text("mine")
    cli.main(["caption", "sandbox", str(folder), "existing=replace"])
    (folder / "p03.txt").write_text("by hand")
    capsys.readouterr()
    assert cli.main(["undo", str(run_dir(tmp_path))]) == EXIT_DONE
    out, err = capsys.readouterr()
    assert out == "taken back 5, kept 1\n" and "kept: p03.txt: its text was changed meanwhile" in err
    assert captions(folder) == {"p02": "mine", "p03": "by hand"}
    assert cli.main(["undo", str(run_dir(tmp_path))]) == EXIT_USAGE
    assert "nothing to undo" in capsys.readouterr().err
    assert cli.main(["undo", str(folder)]) == EXIT_USAGE


def test_a_dry_run_prints_before_and_after(
    folder: Path, model: SceneReader, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "p00.txt").write_text("old")
    assert cli.main(["caption", "sandbox", str(folder), "existing=append", "dry_run=true", "limit=2"]) == EXIT_DONE
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == ["p00.png", "  - old"] and lines[2].startswith("  + old, a ")
    assert lines[-1] == "would write 2, skipped 0, failed 0" and "undo" not in err
    assert captions(folder) == {"p00": "old"}


def test_ctrl_c_stops_and_resume_goes_on(
    folder: Path, model: SceneReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pressed: list[bool] = []

    def answer(request: Request) -> Result:
        if len(model.seeds) == 4 and not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)
        return read(request)

    model.answer = answer
    model.pause_s = 0.06  # commands are heard ten times a second
    assert cli.main(["caption", "sandbox", str(folder), "batch_size=2"]) == EXIT_STOPPED
    out, err = capsys.readouterr()
    written = len(captions(folder))
    assert f"written {written}, " in out and 0 < written < 6 and "launch.py resume " in err
    model.answer = read
    assert trainers_cli.main(["resume", str(run_dir(tmp_path))]) == EXIT_DONE
    assert capsys.readouterr().out.splitlines()[-1] == "written 6, skipped 0, failed 0"
    assert len(captions(folder)) == 6 and sum(model.calls) <= 6 + 2  # a batch that was in hand is begun anew


def test_what_the_model_cannot_do_is_the_last_line(
    folder: Path, model: SceneReader, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: Request) -> Result:
        raise AtelierError("The server does not answer.", "Start it.")

    model.answer = answer
    assert cli.main(["caption", "sandbox", str(folder)]) == EXIT_FAILED
    assert capsys.readouterr().err.splitlines()[-1] == "The server does not answer. Start it."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["florence", "FOLDER"], "captioner.name: there is no captioner 'florence'"),
        (["sandbox", "nowhere"], "pictures.folder: "),
        (["sandbox", "FOLDER", "existing=eat"], "policy.existing: 'eat' cannot be used"),
        (["sandbox", "FOLDER", "general=0.5"], "tags.general: Sandbox captioner does not read it"),
        (["sandbox", "FOLDER", "caption_lenght=3"], "caption_lenght: there is no such setting. Did you mean "),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    filled = [str(folder) if argument == "FOLDER" else argument for argument in arguments]
    assert cli.main(["caption", *filled]) == EXIT_USAGE
    assert said in capsys.readouterr().err
    assert not (tmp_path / "data" / "runs").exists()


def test_pictures_without_work_load_no_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for picture in folder.glob("*.png"):
        picture.with_suffix(".txt").write_text("mine")

    def load(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(worker, "_load", load)
    assert cli.main(["caption", "sandbox", str(folder)]) == EXIT_DONE
    out, err = capsys.readouterr()
    assert out == "written 0, skipped 6, failed 0\n" and "existing=fill, replace" in err
