"""What the page may ask of cached files: what they take, what would go, and that a run keeps what it needs."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from app.services import storage
from app.services.storage import CHOICES, InUse, Storage
from app.services.studio import Studio
from app.ui.texts import LANGUAGES, texts
from app.ui.widgets.storage import server_functions
from tests.machines import LAPTOP
from tests.test_supervisor import FAKE, wait_for
from trainers.data import storage as files
from trainers.data.storage import KINDS
from trainers.rundir import RunDir, worker_info

DAY_S = 86_400


def put(cache: Path, name: str, *, idle_days: float, size: int = 100) -> Path:
    file = cache / "latents" / "encoder" / name[:2] / f"{name}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (time.time() - idle_days * DAY_S,) * 2)
    return file


def settled(store: Storage) -> dict[str, Any]:
    wait_for(lambda: not store.look()["busy"], "the cache is counted")
    return store.look()


def idle(cache: Path) -> Storage:
    return Storage(cache, lambda: None)


def test_choices_say_before_what_goes_and_freed_says_it_after(tmp_path: Path) -> None:
    new, week, month = (put(tmp_path, f"{n}a01", idle_days=n) for n in (0, 10, 40))
    store = idle(tmp_path)
    record = settled(store)
    assert [(one["days"], one["files"], one["bytes"]) for one in record["choices"]] == [
        (30, 1, 100),
        (7, 2, 200),
        (0, 3, 300),
    ]
    assert (record["bytes"], record["kinds"][0]["kind"], record["freed"]) == (300, "latents", None)
    store.free(30)
    assert settled(store)["freed"] == {"files": 1, "bytes": 100}
    assert new.exists() and week.exists() and not month.exists()
    store.free(0)
    after = settled(store)
    assert (after["freed"], after["files"], after["kinds"]) == ({"files": 2, "bytes": 200}, 0, [])
    json.dumps(after)


def test_a_count_is_remembered_until_something_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rest without end, every count is one that took long."""
    monkeypatch.setattr(storage, "REST", 1e9)
    put(tmp_path, "aa01", idle_days=0)
    store = idle(tmp_path)
    assert settled(store)["files"] == 1
    put(tmp_path, "bb01", idle_days=40)
    assert settled(store)["files"] == 1
    store.free(30)
    assert settled(store)["files"] == 1 and settled(store)["freed"]["files"] == 1


def test_a_large_cache_does_not_hold_up_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes as long as the gate is closed."""
    gate, usage = threading.Event(), files.usage
    monkeypatch.setattr(storage, "PATIENCE_S", 0.01)
    monkeypatch.setattr(files, "usage", lambda *rest: gate.wait(10) and usage(*rest))
    put(tmp_path, "aa01", idle_days=40)
    store = idle(tmp_path)
    record = store.look()
    assert (record["busy"], record["known"]) == ("counting", False)
    assert store.look()["busy"] == "counting"
    gate.set()
    assert settled(store)["files"] == 1
    gate.clear()
    record = store.free(30)
    assert (record["busy"], record["files"]) == ("freeing", 1)  # the last count, until there is another
    gate.set()
    assert settled(store)["freed"]["files"] == 1


def test_a_quick_count_is_soon_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "REST", 0)
    put(tmp_path, "aa01", idle_days=0)
    store = idle(tmp_path)
    assert settled(store)["files"] == 1
    put(tmp_path, "bb01", idle_days=0)
    assert settled(store)["files"] == 2


def test_what_a_run_has_asked_for_stays_while_it_goes_on(tmp_path: Path) -> None:
    """A run of nine days marked its files at the start, or the day before."""
    asked, old = put(tmp_path, "aa01", idle_days=9.5), put(tmp_path, "bb01", idle_days=11)
    store = Storage(tmp_path, lambda: time.time() - 9 * DAY_S)
    record = settled(store)
    assert record["working"] and [one["files"] for one in record["choices"]] == [0, 1, 1]
    store.free(7)
    assert settled(store)["freed"]["files"] == 1
    assert asked.exists() and not old.exists()
    with pytest.raises(InUse):
        store.free(0)
    assert asked.exists()


def test_a_cache_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "usage", broken)
    record = idle(tmp_path).look()
    assert (record["busy"], record["error"]) == ("", "The cache cannot be read: Input/output error.")


# --------------------------------------------------------------------------- as the page asks


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "data", machine=LAPTOP, worker_command=[*FAKE, "slow"])
    studio.start()
    yield studio
    studio.close()
    for file in tmp_path.glob("data/runs/*/worker.json"):
        info = worker_info(RunDir(file.parent))
        if info and info.alive:
            psutil.Process(info.pid).kill()


Ask = dict[str, Callable[[Any], Any]]


def asking(studio: Studio, language: str = "en") -> Ask:
    return {function.__name__: function for function in server_functions(studio, texts(language))}


@pytest.mark.parametrize("wrong", [True, None, "0", -1, 3, [0], {"days": 0}])
def test_only_the_offered_choices_are_taken(studio: Studio, wrong: Any) -> None:
    file = put(studio.data_dir / "cache", "aa01", idle_days=40)
    with pytest.raises(ValueError):
        asking(studio)["free_cached"](wrong)
    assert file.exists()


def test_everything_is_refused_while_a_run_goes_on(studio: Studio, tmp_path: Path) -> None:
    model, pictures = tmp_path / "model", tmp_path / "pictures"
    model.mkdir()
    pictures.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}', encoding="utf-8")
    Image.new("RGB", (64, 64)).save(pictures / "a.png")
    values = {
        "run": {"name": "dog"},
        "model": {"base": str(model)},
        "data": {"folder": str(pictures), "resolution": 64},
    }
    run_id = studio.start_run(values).run_id
    assert run_id
    wait_for(lambda: run_id in studio.active_runs(), "the run goes on")
    file = put(studio.data_dir / "cache", "aa01", idle_days=0)
    for language in LANGUAGES:
        assert asking(studio, language)["free_cached"](0) == {"error": texts(language)("storage.in_use")}
    assert file.exists() and asking(studio)["cached"](0)["working"]
    studio.command(run_id, "stop")
    wait_for(lambda: not studio.active_runs(), "the run is over")
    asking(studio)["free_cached"](0)
    wait_for(lambda: not file.exists(), "everything is freed")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_has_a_name(language: str) -> None:
    assert {f"storage.kind.{kind}" for kind in KINDS} <= set(texts(language).table)


def test_days_go_down_to_everything() -> None:
    assert list(CHOICES) == sorted(CHOICES, reverse=True) and CHOICES[-1] == 0
