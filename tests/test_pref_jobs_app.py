"""Jobs on preference sets in the app's queue, with the real worker: followed, stopped, continued, found again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.jobs.folder import FACTS, kind_of, new_row, read_config, speed_key
from app.jobs.row import RunRow
from app.jobs.states import KINDS
from app.jobs.store import Store, database_url
from app.jobs.supervisor import ONLY_STOP, STOPPING, Supervisor
from app.monitoring.metrics import Metrics
from tests.training import CPU
from trainers import settings
from trainers.parameters import by_path
from trainers.preferences import resolve
from trainers.preferences.config import CONFIGS, GenerateConfig, JobKind, ScoreConfig
from trainers.preferences.prefset import Picture, Prefset, image_id_of
from trainers.rundir import RunDir, all_records
from trainers.sandbox import scenes

PATIENCE_S = 60.0
MANY = 200
PROMPTS = ["a red circle on the left, white background", "a blue square in the middle, grey background"]


class Desk:
    """A supervisor on a data folder of its own. Nothing but preference jobs can be started."""

    def __init__(self, data: Path) -> None:
        self.data = data
        (data / "runs").mkdir(exist_ok=True)
        self.store, self.metrics = Store(database_url(data)), Metrics()
        nothing = (sys.executable, "-c", "raise SystemExit(9)")
        self.supervisor = Supervisor(
            self.store, self.metrics, data, nothing, caption_command=nothing, poll_s=0.02, kill_after_s=30
        )
        self.supervisor.start()

    def enqueue(self, kind: JobKind, **sections: dict[str, Any]) -> str:
        config = resolve.resolve(settings.validate({"set": {"folder": "shapes"}, **sections}, CONFIGS[kind]), CPU)
        run = RunDir(resolve.run_folder(config))
        run.create(settings.dump(config))
        return self.supervisor.enqueue(run).id

    def draw(self) -> str:
        return self.enqueue("generate", prompts={"texts": PROMPTS}, pictures={"per_prompt": 2, "steps": 2})

    def state(self, run_id: str) -> str:
        row = self.store.get(run_id)
        assert row
        return self.supervisor.state(row)

    def wait(self, run_id: str, *states: str) -> None:
        due = time.monotonic() + PATIENCE_S
        while (state := self.state(run_id)) not in states:
            assert time.monotonic() < due, f"{state}, waiting for {states}"
            time.sleep(0.02)

    def row(self, run_id: str) -> Any:
        return self.store.get(run_id)

    def close(self) -> None:
        self.supervisor.close()
        self.store.close()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def desk(data: Path) -> Iterator[Desk]:
    desk = Desk(data)
    yield desk
    desk.close()


def test_pictures_are_drawn_and_then_scored_from_the_queue(desk: Desk, data: Path) -> None:
    drawn, scored = desk.draw(), desk.enqueue("score", scorers={"names": ["sandbox"]})
    assert desk.state(scored) == "queued", "the set is there by the time that it starts"
    desk.wait(scored, "done")
    rows = [desk.row(drawn), desk.row(scored)]
    folder = str(data / "preferences" / "shapes")
    assert [(row.kind, row.state, row.model, row.folder) for row in rows] == [
        ("generate", "done", "sandbox", folder),
        ("score", "done", "sandbox", folder),
    ]
    assert [(row.step, row.total_steps) for row in rows] == [(4, 4), (4, 4)]
    assert rows[0].reason == "drawn 4 of 4; the set has 4 pictures of 2 prompts" and rows[1].reason == "scored 4"
    assert rows[0].seconds_per_step and rows[0].loss is None
    prefset = Prefset(Path(folder))
    assert len(prefset.pictures) == len(prefset.scores) == 4

    desk.close()
    for file in data.glob("*.db*"):
        file.unlink()
    again = Desk(data)
    try:
        found = [again.row(drawn), again.row(scored)]
        assert [told(row) for row in found] == [told(row) for row in rows], "the folders tell it all"
    finally:
        again.close()


def told(row: RunRow) -> dict[str, Any]:
    """All of a row but its speed, which is measured in another way."""
    return {key: value for key, value in vars(row).items() if key not in ("seconds_per_step", "worked_s", "ended")}


def test_a_job_is_stopped_between_pictures_and_continued(desk: Desk, data: Path) -> None:
    prefset = Prefset.create(data / "preferences" / "shapes")
    fill(prefset, MANY)
    run_id = desk.enqueue("score", scorers={"names": ["sandbox"], "batch_size": 1})
    due = time.monotonic() + PATIENCE_S
    while desk.metrics.load(run_id, RunDir(Path(desk.row(run_id).path)), live=True).step < 3:
        assert time.monotonic() < due
        time.sleep(0.02)
    assert desk.supervisor.send(run_id, "pause") == ONLY_STOP["score"]
    assert desk.supervisor.send(run_id, "stop") == STOPPING["score"]
    desk.wait(run_id, "stopped")
    row = desk.row(run_id)
    assert 3 <= row.step < MANY and row.reason == f"Stopped by you: scored {row.step}."
    prefset.refresh()
    assert len(prefset.scores) == row.step
    assert desk.supervisor.requeue(run_id)
    desk.wait(run_id, "done")
    assert (desk.row(run_id).step, desk.row(run_id).total_steps) == (MANY, MANY)
    assert len(list(all_records(prefset.folder / "scores.jsonl"))) == MANY, "none was scored twice"


def fill(prefset: Prefset, count: int) -> None:
    """Scenes of one prompt."""
    rng, pictures = np.random.default_rng(5), []
    (prompt,) = prefset.add_prompts([(PROMPTS[0], "")])
    for number in range(count):
        file = prefset.images_dir / f"{number}.png"
        scenes.draw(scenes.sample_scene(rng)).save(file)
        pictures.append(Picture(image_id_of(file.read_bytes()), prompt.prompt_id, f"images/{number}.png", 64, 64))
    prefset.add_pictures(pictures)


def test_a_job_that_fails_tells_its_cause(desk: Desk) -> None:
    run_id = desk.enqueue("score", scorers={"names": ["sandbox"]})
    desk.wait(run_id, "failed")
    assert "holds no preference set" in desk.row(run_id).reason


# --------------------------------------------------------------------------- what kinds are known by


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_setting_that_a_kind_is_known_by_exists(kind: JobKind) -> None:
    known, facts = by_path(CONFIGS[kind]), FACTS[kind]
    assert {facts.folder, facts.model, *facts.speed} <= set(known)


def test_every_kind_is_recognised_and_has_its_words() -> None:
    assert [kind_of({"kind": kind}) for kind in KINDS] == list(KINDS)
    assert kind_of({}) == kind_of({"kind": "nonsense"}) == "train"
    assert set(STOPPING) == set(FACTS) == set(KINDS) and set(ONLY_STOP) == set(KINDS) - {"train"}
    assert set(CONFIGS) <= set(KINDS)


def test_speed_is_told_apart_by_what_takes_time(data: Path) -> None:
    plain = GenerateConfig().model_dump(mode="json")
    same = GenerateConfig.model_validate({"pictures": {"per_prompt": 9, "seed": 3}}).model_dump(mode="json")
    slower = GenerateConfig.model_validate({"pictures": {"steps": 50}}).model_dump(mode="json")
    assert speed_key(plain) == speed_key(same) != speed_key(slower)


def test_a_row_lists_several_scorers(data: Path) -> None:
    run = RunDir(data / "runs" / "one")
    config = ScoreConfig.model_validate({"scorers": {"names": ["hpsv2.1", "clip"]}, "set": {"folder": "x"}})
    run.create(settings.dump(config))
    assert new_row(run, read_config(run)).model == "hpsv2.1, clip"
