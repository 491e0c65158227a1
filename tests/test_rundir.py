"""The run folder: what is written is whole, what was torn is mended, and who works on it is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import properties
from trainers import rundir
from trainers.events import Warned
from trainers.rundir import (
    EventLog,
    Heartbeat,
    RunDir,
    all_records,
    is_process,
    read_lines,
    worker_info,
    write_atomic,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create("")
    return run


def emit(run: RunDir, *messages: str) -> None:
    log = EventLog(run)
    for message in messages:
        log.emit(Warned("code", message))
    log.close()


def told(run: RunDir) -> list[tuple[int, str]]:
    return [(record["seq"], record["message"]) for record in all_records(run.events)]


# --------------------------------------------------------------------------- write_atomic


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_crash_while_writing_leaves_the_old_content_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    file = tmp_path / "config.toml"
    write_atomic(file, "old")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_write_makes_the_folder_and_takes_text_and_bytes(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a/b/text", "é\n")
    write_atomic(tmp_path / "a/b/bytes", b"\x00\xff")
    assert (tmp_path / "a/b/text").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "a/b/bytes").read_bytes() == b"\x00\xff"


@pytest.mark.parametrize(("refusals", "written"), [(2, True), (99, False)])
def test_file_that_a_reader_holds_open_is_replaced_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, written: bool
) -> None:
    replace, left = os.replace, [refusals]

    def like_windows(source: str, target: Path) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError
        replace(source, target)

    monkeypatch.setattr(os, "replace", like_windows)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    if written:
        write_atomic(tmp_path / "file", "new")
        assert (tmp_path / "file").read_text() == "new"
    else:
        with pytest.raises(PermissionError):
            write_atomic(tmp_path / "file", "new")
        assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- read_lines


def test_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"a": 1}\n{"a": 2')
    first = read_lines(file)
    assert first.records == [{"a": 1}]
    assert read_lines(file, first.offset) == rundir.Lines([], first.offset)
    with file.open("a") as opened:
        opened.write("0}\n")
    assert read_lines(file, first.offset).records == [{"a": 20}]


@pytest.mark.parametrize("broken", [b"{", b"\xe6\x88", b'"text"', b"[1]", b"", b"\x00"])
def test_broken_line_is_skipped(tmp_path: Path, broken: bytes) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"a": 1}\n' + broken + b'\n{"a": 2}\n')
    assert [record["a"] for record in all_records(file)] == [1, 2]


def test_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none", 5) == rundir.Lines([], 5)
    assert list(all_records(tmp_path / "none")) == []


def test_line_longer_than_the_limit_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps({"a": "x" * 1000}) + '\n{"a": 2}\n')
    first = read_lines(file, limit_bytes=10)
    assert len(first.records[0]["a"]) == 1000
    assert read_lines(file, first.offset, limit_bytes=10).records == [{"a": 2}]


@properties
@given(st.lists(st.text(max_size=20), max_size=8), st.integers(1, 40), st.integers(1, 40))
def test_reader_sees_every_record_once_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], piece: int, limit: int
) -> None:
    file = tmp_path_factory.mktemp("grow") / "events.jsonl"
    whole = b"".join(json.dumps({"text": text}, ensure_ascii=True).encode() + b"\n" for text in texts)
    seen, offset = [], 0
    with file.open("wb", buffering=0) as writer:
        for first in range(0, len(whole), piece):
            writer.write(whole[first : first + piece])
            while (lines := read_lines(file, offset, limit)).offset > offset:
                offset = lines.offset
                seen += [record["text"] for record in lines.records]
    assert seen == texts


# --------------------------------------------------------------------------- EventLog


def test_sequence_goes_on_after_a_restart(run: RunDir) -> None:
    emit(run, "a", "b")
    emit(run, "c")
    assert told(run) == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("cut", [1, 2, 9])
def test_line_that_a_kill_tore_is_ended_and_the_rest_is_kept(run: RunDir, cut: int) -> None:
    emit(run, "a", "图片")
    torn = run.events.read_bytes()[:-cut]
    run.events.write_bytes(torn)
    emit(run, "c")
    records = told(run)
    assert records[0] == (1, "a") and records[-1][1] == "c"
    assert len({seq for seq, _ in records}) == len(records), "no number is given twice"
    assert run.events.read_bytes().startswith(torn + b"\n")


def test_line_torn_within_a_character_does_not_stop_the_next_worker(run: RunDir) -> None:
    emit(run, "a", "图")
    content = run.events.read_bytes()
    run.events.write_bytes(content[: content.rindex("图".encode()) + 2])
    emit(run, "c")
    assert told(run) == [(1, "a"), (2, "c")]


def test_event_is_on_disk_as_soon_as_it_is_emitted(run: RunDir) -> None:
    log = EventLog(run)
    log.emit(Warned("code", "now"))
    assert told(run) == [(1, "now")]
    log.close()


def test_name_of_a_file_that_is_no_utf8_does_not_end_the_run(run: RunDir) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    emit(run, name)
    assert told(run) == [(1, name)]


def test_threads_share_a_log(run: RunDir) -> None:
    log = EventLog(run)
    threads = [
        threading.Thread(target=lambda: [log.emit(Warned("code", "x" * 100)) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert [seq for seq, _ in told(run)] == list(range(1, 201))


# --------------------------------------------------------------------------- the folder


def test_folder_that_holds_a_run_is_not_taken_again(run: RunDir) -> None:
    with pytest.raises(FileExistsError):
        run.create("other")
    assert run.config.read_text() == ""


def test_run_object_alone_touches_nothing(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    assert run.latest_checkpoint() is None and worker_info(run) is None
    assert not run.path.exists()


def test_latest_checkpoint_is_the_newest_whole_one(run: RunDir) -> None:
    assert run.latest_checkpoint() is None
    for step in (250, 1_000_000, 999_999):
        run.checkpoint(step).mkdir()
    for name in (".writing-2000000", "step-2000000.writing", "step-2000000.tmp", "step-", "best"):
        (run.checkpoints / name).mkdir()
    assert run.whole_checkpoints() == [run.checkpoint(step) for step in (250, 999_999, 1_000_000)]
    assert run.latest_checkpoint() == run.checkpoint(1_000_000)


def test_commands_arrive_in_order(run: RunDir) -> None:
    for command in rundir.COMMANDS:
        run.send(command)
    assert [record["command"] for record in all_records(run.control)] == list(rundir.COMMANDS)


def test_unknown_command_is_refused(run: RunDir) -> None:
    with pytest.raises(ValueError, match="unknown command 'explode'"):
        run.send("explode")  # type: ignore[arg-type]
    assert not run.control.exists()


# --------------------------------------------------------------------------- who works on it


def claim(run: RunDir, **changes: object) -> None:
    me = psutil.Process()
    record = {"pid": me.pid, "started": me.create_time(), "heartbeat": time.time()}
    write_atomic(run.worker, json.dumps({**record, **changes}))


def test_heartbeat_says_alive_until_it_is_closed(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "HEARTBEAT_S", 0.01)
    heartbeat = Heartbeat(run)
    first = worker_info(run)
    assert first and first.alive and first.pid == os.getpid() and first.exit_code is None
    deadline = time.monotonic() + 5
    while (later := worker_info(run)) and later.heartbeat == first.heartbeat and time.monotonic() < deadline:
        time.sleep(0.01)
    assert later and later.heartbeat > first.heartbeat
    heartbeat.close(3)
    ended = worker_info(run)
    assert ended and not ended.alive and ended.exit_code == 3


def test_heartbeat_outlives_a_disk_that_is_full_for_a_while(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "HEARTBEAT_S", 0.01)
    heartbeat = Heartbeat(run)
    before = worker_info(run)
    full = threading.Event()

    def fail(*_: object) -> None:
        full.set()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(rundir, "write_atomic", fail)
        assert full.wait(5)
    deadline = time.monotonic() + 5
    while (after := worker_info(run)) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert before and after and after.heartbeat > before.heartbeat
    heartbeat.close(0)


def test_pid_that_another_process_got_is_not_the_worker(run: RunDir) -> None:
    claim(run)
    assert worker_info(run).alive  # type: ignore[union-attr]
    claim(run, started=psutil.Process().create_time() - 1000)
    assert not worker_info(run).alive  # type: ignore[union-attr]


def test_worker_that_ended_is_not_alive(run: RunDir) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = psutil.Process(child.pid).create_time()
        assert is_process(child.pid, started)
        claim(run, pid=child.pid, started=started)
    assert not is_process(child.pid, started)
    assert not worker_info(run).alive  # type: ignore[union-attr]


def test_silence_is_counted_from_the_last_heartbeat(run: RunDir) -> None:
    claim(run, heartbeat=time.time() - 2 * rundir.STALE_S)
    info = worker_info(run)
    assert info and info.alive and info.silent_s > rundir.STALE_S
    claim(run, heartbeat=time.time() + 100)
    assert worker_info(run).silent_s == 0.0  # type: ignore[union-attr]


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"pid": 1}', '{"pid": "x", "started": 1}'])
def test_worker_file_that_says_nothing_counts_as_none(run: RunDir, content: str) -> None:
    run.worker.write_text(content)
    assert worker_info(run) is None
