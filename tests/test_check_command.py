"""`launch.py check` on a folder that has every fault: each is listed once, and nothing in the folder changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from tests.checks import add_picture
from trainers import cli
from trainers.errors import EXIT_DONE, EXIT_USAGE

RESOLUTION = 64


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def broken(folder: Path) -> Path:
    """Good pictures with captions, and beside them one of every fault."""
    for index in range(6):
        add_picture(folder / f"good {index}.png", f"a red wuzzle, number {index}")
    (folder / "empty.png").write_bytes(b"")
    (folder / "page.jpg").write_text("<html>not found</html>")
    add_picture(folder / "cut off.png", "a wuzzle in two")
    (folder / "cut off.png").write_bytes((folder / "cut off.png").read_bytes()[:2000])
    add_picture(folder / "encoded.png")
    (folder / "encoded.txt").write_bytes("une étoile".encode("cp1252"))
    add_picture(folder / "no caption.png")
    add_picture(folder / "blank caption.png", "")
    add_picture(folder / "tiny.png", "a tiny wuzzle", (12, 12))
    add_picture(folder / "small.png", "a small wuzzle", (40, 40))
    add_picture(folder / "panorama.png", "a wide wuzzle", (640, 64))
    (folder / "copy.png").write_bytes((folder / "good 0.png").read_bytes())
    (folder / "copy.txt").write_text("a wuzzle again")
    with Image.open(folder / "good 1.png") as picture:
        picture.save(folder / "alike.webp", lossless=True)
    (folder / "alike.txt").write_text("a wuzzle once more")
    add_picture(folder / "twin.png", "two wuzzles")
    add_picture(folder / "twin.jpg")
    (folder / "orphan.txt").write_text("a wuzzle that went away")
    (folder / "film.mp4").write_bytes(b"film")
    add_picture(folder / "stray-masklabel.png")
    add_picture(folder / "lacking.png", "a blue thing")
    (folder / "metadata.csv").write_text("file_name,text\ngood 2.png,a wuzzle\ngone.png,a wuzzle\n,nothing\n")
    return folder


FAULTS = {
    "3 pictures cannot be read: cut off.png: ",
    "1 caption cannot be read: encoded.png: its caption is not UTF-8",
    "1 picture without caption, trained as 'wuzzle'",
    "1 caption file empty: blank caption.png",
    "1 picture with less than a quarter of 64 px on a side: tiny.png",
    "1 picture will be enlarged a lot",
    "1 picture will lose more than 30%",
    "1 picture the same as another one: copy.png = good 0.png",
    "2 pictures in 1 group nearly the same: alike.webp = good 1.png",
    "1 caption shared by pictures that differ only in their ending: twin.jpg = twin.png",
    "2 caption or mask files without picture: orphan.txt, stray-masklabel.png",
    "1 clip left out",
    "1 picture listed in a table and not there: gone.png",
    "1 row of tables cannot be used: metadata.csv, row 4",
    "1 picture with a caption in a table and one beside it",
    "1 caption without 'wuzzle'",
}


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


def test_check_lists_each_fault_once_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = broken(tmp_path / "broken")
    before = contents(folder)
    wishes = [f"data.folder={folder}", f"data.resolution={RESOLUTION}", "captions.trigger=wuzzle"]
    assert cli.main(["check", "sandbox", *wishes]) == EXIT_USAGE
    told = "".join(capsys.readouterr())
    assert {fault: told.count(fault) for fault in FAULTS} == dict.fromkeys(FAULTS, 1), told
    warnings = [line for line in told.splitlines() if line.startswith(("warning", "data.", "run.", "model."))]
    assert len(warnings) == len(FAULTS), warnings
    assert contents(folder) == before


def test_good_pictures_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(12):
        add_picture(tmp_path / f"good/{index}.png", f"a wuzzle, number {index}")
    assert cli.main(["check", "sandbox", f"data.folder={tmp_path / 'good'}", "captions.trigger=wuzzle"]) == EXIT_DONE
    output, errors = capsys.readouterr()
    assert "plain folder: 12 pictures." in output and "warning" not in output and not errors


def test_reading_that_takes_long_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(12):
        add_picture(tmp_path / f"good/{index}.png", f"a wuzzle, number {index}")
    monkeypatch.setattr(cli, "READING_SHOWS_S", 0.0)
    monkeypatch.setattr(cli, "READING_PAUSE_S", 0.0)
    assert cli.main(["check", "sandbox", f"data.folder={tmp_path / 'good'}", "captions.trigger=wuzzle"]) == EXIT_DONE
    _, errors = capsys.readouterr()
    assert "Reading the pictures: 12 of 12\n" in errors
