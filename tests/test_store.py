"""The index of runs: rebuilt from the folders, safe across threads, replaced when it is damaged."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.folder import NEVER_STARTED, new_row, read_config, run_id_of
from app.jobs.store import Store, database_url
from trainers.config import TrainConfig
from trainers.errors import AtelierError
from trainers.events import Event, PhaseChanged, RunFailed, RunFinished, SampleReady, StepDone
from trainers.resolve import dump
from trainers.rundir import EventLog, Heartbeat, RunDir


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(database_url(tmp_path))
    yield made
    made.close()


def make_run(data_dir: Path, name: str, *events: Event, exit_code: int | None = None) -> RunDir:
    run = RunDir(data_dir / "runs" / name)
    run.create(dump(TrainConfig()))
    if events:
        log = EventLog(run)
        for event in events:
            log.emit(event)
        log.close()
    if exit_code is not None:
        Heartbeat(run).close(exit_code)
    return run


def steps(count: int) -> list[Event]:
    return [StepDone(step, 1 / step, 1e-4, 1.0, 0.5, 0.1) for step in range(1, count + 1)]


START = PhaseChanged("preparing")


def test_reindex_rebuilds_the_same_rows(tmp_path: Path, store: Store) -> None:
    make_run(tmp_path, "done", START, *steps(3), SampleReady(3, 0, "p", 1, "samples/a.png"), RunFinished(3, "x", 1.0))
    make_run(tmp_path, "failed 失败", START, *steps(2), RunFailed("Out of memory.", "Lower it."), exit_code=1)
    make_run(tmp_path, "cut off", START, *steps(5))
    make_run(tmp_path, "new")
    store.reindex(tmp_path / "runs")
    before = store.all()
    store.close()
    (tmp_path / "atelier.db").unlink()

    fresh = Store(database_url(tmp_path))
    assert fresh.reindex(tmp_path / "runs").added == 4
    assert fresh.all() == before
    states = {Path(row.path).name: (row.state, row.step, row.reason) for row in fresh.all()}
    assert states["done"] == ("done", 3, "")
    assert states["failed 失败"] == ("failed", 2, "Out of memory.")
    assert states["cut off"][:2] == ("interrupted", 5)
    assert states["new"] == ("interrupted", 0, NEVER_STARTED)
    fresh.close()


def test_reindex_drops_runs_whose_folder_is_gone(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path, "a")
    store.reindex(tmp_path / "runs")
    run.config.unlink()
    assert store.reindex(tmp_path / "runs").removed == 1 and store.all() == []


def test_reindex_keeps_the_queue_and_runs_elsewhere(tmp_path: Path, store: Store) -> None:
    queued, elsewhere = make_run(tmp_path, "a"), make_run(tmp_path / "other disk", "b")
    store.put(dataclasses.replace(new_row(queued, read_config(queued)), state="queued", position=3))
    store.put(new_row(elsewhere, read_config(elsewhere)))
    store.reindex(tmp_path / "runs")
    row = store.get(run_id_of(queued.path))
    assert row and (row.state, row.position) == ("queued", 3)
    assert store.get(run_id_of(elsewhere.path))


def test_a_run_with_a_broken_config_is_still_listed(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path, "a", START, *steps(2), RunFinished(2, "x", 1.0))
    run.config.write_text("this is [not toml", encoding="utf-8")
    store.reindex(tmp_path / "runs")
    assert [(row.name, row.state) for row in store.all()] == [("a", "done")]


def test_a_damaged_database_is_set_aside_and_rebuilt(tmp_path: Path) -> None:
    (tmp_path / "atelier.db").write_bytes(b"this is no database, however long it may be " * 50)
    make_run(tmp_path, "a", START, *steps(1), RunFinished(1, "x", 1.0))
    store = Store(database_url(tmp_path))
    store.reindex(tmp_path / "runs")
    assert [row.state for row in store.all()] == ["done"]
    assert (tmp_path / "atelier.db.broken").is_file()
    store.close()


def test_a_table_of_another_version_is_rebuilt(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "atelier.db") as connection:
        connection.execute("create table runs (id text, colour text)")
    connection.close()
    store = Store(database_url(tmp_path))
    assert store.all() == []
    store.close()


def test_the_database_can_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_DATABASE_URL", f"sqlite:///{(tmp_path / 'other' / 'runs.db').as_posix()}")
    Store(database_url(tmp_path)).close()
    assert (tmp_path / "other" / "runs.db").is_file() and not (tmp_path / "atelier.db").exists()


def test_a_database_that_cannot_be_opened_is_said_plainly() -> None:
    with pytest.raises(AtelierError, match="ATELIER_DATABASE_URL"):
        Store("nosuchdatabase://somewhere/runs")


def test_many_threads_read_and_write(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path, "a")
    row = new_row(run, read_config(run))
    store.put(row)
    faults: list[BaseException] = []

    def work() -> None:
        try:
            for step in range(20):
                store.update(row.id, step=step)
                assert store.get(row.id)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == [] and len(store.all()) == 1


def test_measured_speed_is_the_median_of_runs_of_that_kind(tmp_path: Path, store: Store) -> None:
    run = make_run(tmp_path, "a")
    row = new_row(run, read_config(run))
    for number, seconds in enumerate((1.0, 2.0, 9.0)):
        store.put(dataclasses.replace(row, id=str(number), seconds_per_step=seconds))
    store.put(dataclasses.replace(row, id="other", speed_key="another", seconds_per_step=100.0))
    assert store.measured_step_s(row.speed_key) == 2.0
    assert store.measured_step_s("unknown") is None
