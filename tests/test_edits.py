"""Edits of captions and pictures: nothing is lost, nothing is overwritten, everything can be taken back."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.edits import TRASH, Change, Journal, caption_text, write_caption
from trainers.errors import DataError
from trainers.paths import PROGRAM


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def captions(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "set"
    folder.mkdir()
    files = [folder / f"{number}.txt" for number in range(3)]
    for number, file in enumerate(files):
        file.write_text(f"caption {number}", encoding="utf-8")
    return files


def change(file: Path, after: str | None) -> Change:
    return Change(file, caption_text(file), after)


def texts(files: list[Path]) -> list[str | None]:
    return [caption_text(file) for file in files]


def test_a_caption_is_written_as_plain_utf8(tmp_path: Path) -> None:
    file = tmp_path / "1.txt"
    assert write_caption(file, "猫\nzwei")
    assert file.read_bytes() == "猫\nzwei".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["1.txt"]


def test_an_equal_caption_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "1.txt"
    write_caption(file, "same")
    before = file.stat()
    assert not write_caption(file, "same")
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes and needs a right to make links")
def test_mode_and_link_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "1.txt", tmp_path / "link.txt"
    write_caption(file, "old")
    file.chmod(0o640)
    link.symlink_to(file)
    write_caption(link, "new")
    assert link.is_symlink() and file.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_undo_and_redo(journal: Journal, captions: list[Path]) -> None:
    before = texts(captions)
    outcome = journal.apply("first", [change(file, "new") for file in captions])
    assert len(outcome.done) == 3 and texts(captions) == ["new"] * 3
    assert journal.labels == ("first", "")
    journal.undo()
    assert texts(captions) == before and journal.labels == ("", "first")
    journal.redo()
    assert texts(captions) == ["new"] * 3 and journal.labels == ("first", "")


def test_undo_of_a_new_caption_takes_the_file_away(journal: Journal, tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    journal.apply("new", [Change(file, None, "text")])
    journal.undo()
    assert not file.exists()
    journal.redo()
    assert file.read_text(encoding="utf-8") == "text"


def test_a_new_act_ends_redo(journal: Journal, captions: list[Path]) -> None:
    journal.apply("first", [change(captions[0], "a")])
    journal.undo()
    journal.apply("second", [change(captions[0], "b")])
    assert journal.labels == ("second", "")
    with pytest.raises(DataError, match="nothing to redo"):
        journal.redo()


def test_nothing_to_undo_is_said(journal: Journal) -> None:
    with pytest.raises(DataError, match="nothing to undo"):
        journal.undo()


def test_undo_survives_a_restart(journal: Journal, captions: list[Path], tmp_path: Path) -> None:
    before = texts(captions)
    journal.apply("one", [change(captions[0], "a")])
    journal.apply("two", [change(captions[1], "b")])
    journal.undo()
    fresh = Journal(tmp_path / "journal")
    assert fresh.labels == ("one", "two")
    fresh.undo()
    assert texts(captions) == before


def test_two_journals_on_one_folder_know_of_each_other(journal: Journal, captions: list[Path], tmp_path: Path) -> None:
    other = Journal(tmp_path / "journal")
    journal.apply("mine", [change(captions[0], "a")])
    other.apply("theirs", [change(captions[0], "b")])
    assert journal.labels == ("theirs", "")
    journal.undo()
    assert other.labels == ("mine", "theirs") and texts(captions)[0] == "a"


def test_text_that_was_changed_meanwhile_is_left_alone(journal: Journal, captions: list[Path]) -> None:
    changes = [change(file, "new") for file in captions]
    captions[1].write_text("by hand", encoding="utf-8")
    outcome = journal.apply("edit", changes)
    assert texts(captions) == ["new", "by hand", "new"]
    assert [skipped.path for skipped in outcome.skipped] == [captions[1]]
    captions[2].write_text("by hand too", encoding="utf-8")
    assert [skipped.path for skipped in journal.undo().skipped] == [captions[2]]
    assert texts(captions) == ["caption 0", "by hand", "by hand too"]


def test_undo_does_not_touch_what_was_skipped(journal: Journal, captions: list[Path]) -> None:
    stale = Change(captions[0], "not what it holds", "new")
    journal.apply("edit", [stale, change(captions[1], "new")])
    captions[0].write_text("new", encoding="utf-8")  # the very text, but by somebody else
    journal.undo()
    assert texts(captions)[:2] == ["new", "caption 1"]


def test_an_act_that_did_nothing_is_nothing_to_undo(journal: Journal, captions: list[Path], tmp_path: Path) -> None:
    journal.apply("edit", [change(captions[1], "new")])
    journal.apply("void", [Change(captions[0], "not what it holds", "new")])
    assert journal.labels == Journal(tmp_path / "journal").labels == ("edit", "")


def test_a_caption_of_another_encoding_is_left_alone(journal: Journal, captions: list[Path]) -> None:
    captions[0].write_bytes("红色的猫".encode("gbk"))
    outcome = journal.apply("edit", [Change(captions[0], "cat", "dog")])
    assert "not UTF-8" in outcome.skipped[0].reason
    assert captions[0].read_bytes() == "红色的猫".encode("gbk")


def test_a_torn_journal_line_is_passed_over(journal: Journal, captions: list[Path], tmp_path: Path) -> None:
    journal.apply("first", [change(captions[0], "a")])
    with (tmp_path / "journal" / "journal.jsonl").open("ab") as file:
        file.write(b'{"act": "torn", "lab')
    fresh = Journal(tmp_path / "journal")
    fresh.apply("second", [change(captions[1], "b")])
    assert Journal(tmp_path / "journal").labels == ("second", "")
    fresh.undo()
    fresh.undo()
    assert texts(captions) == ["caption 0", "caption 1", "caption 2"]


def test_the_trash_keeps_places_and_can_be_emptied_back(journal: Journal, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "10_dog").mkdir(parents=True)
    files = [folder / "a.png", folder / "10_dog" / "a.png", folder / "10_dog" / "a.txt"]
    for file in files:
        file.write_bytes(file.name.encode())
    outcome = journal.trash("trash", folder, files)
    assert not any(file.exists() for file in files)
    heap = next((folder / TRASH).iterdir())
    assert (heap / "10_dog" / "a.txt").read_bytes() == b"a.txt" and len(outcome.done) == 3
    files[0].write_bytes(b"another")
    assert [skipped.path for skipped in journal.undo().skipped] == [heap / "a.png"]
    assert files[0].read_bytes() == b"another" and files[2].read_bytes() == b"a.txt"


WRITER = """
import sys
from pathlib import Path
from trainers.data.edits import Change, Journal
files = sorted(Path(sys.argv[1]).glob("*.txt"))
Journal(Path(sys.argv[2])).apply("bulk", [Change(file, "old", "new") for file in files])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_act_can_be_undone(tmp_path: Path) -> None:
    folder, root = tmp_path / "set", tmp_path / "journal"
    folder.mkdir()
    files = [folder / f"{number:04}.txt" for number in range(2000)]
    for file in files:
        file.write_text("old", encoding="utf-8")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(root)], cwd=PROGRAM)
    until = time.monotonic() + 60
    while files[20].read_bytes() != b"new" and time.monotonic() < until:
        time.sleep(0.001)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    held = set(texts(files))
    assert held == {"old", "new"}, "the writer was not killed in the middle"
    assert Journal(root).labels == ("bulk", "")
    assert not Journal(root).undo().skipped
    assert set(texts(files)) == {"old"}
    Journal(root).redo()
    assert set(texts(files)) == {"new"}


Texts = st.text(alphabet="ab\n\r\0\ufeff\ud83d", max_size=3)
Acts = st.lists(st.tuples(st.sampled_from(["apply", "undo", "redo"]), st.integers(0, 2), Texts))


@settings(max_examples=30, deadline=None)
@given(acts=Acts)
def test_undoing_everything_gives_the_first_texts(
    acts: list[tuple[str, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("set")
    files = [folder / f"{number}.txt" for number in range(3)]
    journal = Journal(folder / "journal")
    for kind, number, text in acts:
        undo, redo = journal.labels
        if kind == "apply":
            journal.apply("act", [change(files[number], text)])
        elif kind == "undo" and undo:
            journal.undo()
        elif kind == "redo" and redo:
            journal.redo()
    while journal.labels[0]:
        assert not journal.undo().skipped
    assert texts(files) == [None, None, None]


def test_an_act_that_goes_on_is_undone_as_one(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.txt" for name in "abcd"]
    files[0].write_text("old")
    journal = Journal(tmp_path / "journal")
    journal.extend("job", "caption: all", [Change(files[0], "old", "new 0"), Change(files[1], None, "new 1")])
    journal.apply("caption: c", [Change(files[2], None, "by hand")])
    journal.extend("job", "caption: all", [Change(files[3], None, "new 3")])

    reopened = Journal(tmp_path / "journal")
    assert reopened.labels == ("caption: all", "")  # what was done last is undone first
    assert [change.after for change in reopened.changes("job")] == ["new 0", "new 1", "new 3"]
    outcome = reopened.undo()
    assert (outcome.act, len(outcome.done), outcome.skipped) == ("job", 3, ())
    assert files[0].read_text() == "old" and not files[1].exists() and not files[3].exists()
    assert files[2].read_text() == "by hand"
    assert reopened.is_undone("job") is True and reopened.is_undone("other") is None
    reopened.redo("job")
    assert files[3].read_text() == "new 3" and reopened.is_undone("job") is False


def test_a_certain_act_is_undone_past_others_and_keeps_hand_edits(tmp_path: Path) -> None:
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    journal = Journal(tmp_path / "journal")
    journal.extend("job", "caption: all", [Change(one, None, "model"), Change(other, None, "model")])
    journal.apply("caption: b", [Change(other, "model", "by hand")])
    outcome = journal.undo("job")
    assert [step.path for step in outcome.done] == [one]
    assert [(skip.path, skip.reason) for skip in outcome.skipped] == [(other, "its text was changed meanwhile")]
    assert not one.exists() and other.read_text() == "by hand"
    assert journal.labels == ("caption: b", "caption: all")
    with pytest.raises(DataError):
        journal.undo("job")


def test_steps_that_were_never_done_are_not_undone_when_the_act_goes_on(tmp_path: Path) -> None:
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("changed meanwhile")
    journal = Journal(tmp_path / "journal")
    outcome = journal.extend("job", "caption: all", [Change(one, "old", "new")])
    assert len(outcome.skipped) == 1 and journal.is_undone("job") is None
    journal.extend("job", "caption: all", [Change(other, None, "new")])
    one.write_text("new")  # a person writes the same words
    assert [step.path for step in Journal(tmp_path / "journal").undo("job").done] == [other]
    assert one.read_text() == "new"
