"""What the Runs tab gets of preference training and of jobs on preference sets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from app.monitoring.metrics import PAIR_FIELDS, POINT_FIELDS, Series
from app.services.studio import Studio
from app.ui.texts import texts
from trainers.events import Event, PhaseChanged, PicturesMade, PicturesScored, StepDone, ValidationDone, Warned, to_line
from trainers.paths import PROGRAM
from trainers.rundir import EventLog, RunDir

ALARM = Warned("dpo_winner_worse", "The model draws the preferred pictures worse than its reference does.", "Stop.")
MONITOR = PROGRAM / "trainers" / "objectives" / "monitor.py"  # read, not imported: it lies among what needs torch
METRICS = {name: float(number) for number, name in enumerate(PAIR_FIELDS)}


def fed(*events: Event) -> Series:
    series = Series()
    assert series.add([record(event, number) for number, event in enumerate(events)], 0, len(events))
    return series


def record(event: Event, number: int = 0) -> dict[str, Any]:
    """As a reader of the file gets it."""
    found: dict[str, Any] = json.loads(to_line(event, number))
    return found


def step(number: int, metrics: dict[str, float] | None = None) -> StepDone:
    return StepDone(number, 0.5, 1e-4, 1.0, 0.2, 1.0, metrics or {})


def test_points_of_pairs_follow_those_of_every_run() -> None:
    series = fed(step(1, {"epoch": 0.1, **METRICS}), ValidationDone(1, 0.6, {}, METRICS))
    assert series.points[0][1 + len(POINT_FIELDS) :] == tuple(METRICS.values())
    assert series.validation == [(1, 0.6, *METRICS.values())]


def test_other_runs_have_no_points_of_pairs() -> None:
    series = fed(step(1, {"epoch": 0.1}), ValidationDone(1, 0.6))
    assert len(series.points[0]) == 1 + len(POINT_FIELDS)
    assert series.validation == [(1, 0.6)]


def test_an_alarm_is_kept_in_full_until_its_steps_are_trained_again() -> None:
    series = fed(step(1, METRICS), step(2, METRICS), ALARM, Warned("oom", "Memory ran out.", "Halved."))
    assert series.alarms == {ALARM.code: (2, ALARM.message, ALARM.hint)}
    assert series.add([record(step(2, METRICS), 4)], 4, 5)
    assert series.alarms == {}


def test_every_alarm_is_said_in_chinese() -> None:
    table = texts("zh").table
    codes = re.findall(r'"(dpo_\w+)"', MONITOR.read_text(encoding="utf-8"))
    assert len(codes) == 4
    wanted = {f"alarm.{code}{part}" for code in codes for part in ("", ".hint")}
    assert wanted == {key for key in table if key.startswith("alarm.")}


def test_pictures_take_the_place_of_steps() -> None:
    series = fed(PhaseChanged("generating", "", 0, 6), PicturesMade(2, 6, 4.0), PicturesMade(4, 6, 4.0))
    assert (series.step, series.total, series.phase) == (4, 6, "generating")
    assert series.seconds_per_step() == 2.0
    assert not series.points


def test_what_draws_and_then_scores_counts_each_by_itself() -> None:
    series = fed(
        PhaseChanged("generating", "", 0, 6),
        PicturesMade(6, 6, 60.0),
        PhaseChanged("scoring", "rule", 0, 12),
        PicturesScored(4, 12, "rule", 2.0),
    )
    assert (series.step, series.total, series.phase, series.detail) == (4, 12, "scoring", "rule")
    assert series.seconds_per_step() == 0.5  # drawing, which is slower, says nothing of scoring


def test_a_job_that_goes_on_counts_what_is_there() -> None:
    series = fed(PhaseChanged("generating", "", 4, 6))
    assert (series.step, series.total) == (4, 6)
    assert series.seconds_per_step() is None


def test_the_page_gets_alarms_and_points(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "pairs")
    run.create('[objective]\nkind = "dpo"\n')
    write_events(run, [step(number, METRICS) for number in range(1, 30)], ALARM)
    studio = Studio(tmp_path)
    try:
        studio._supervisor.discover()
        answer: dict[str, Any] = studio.poll(studio.runs()[0].id, 0)
    finally:
        studio.close()
    assert [code for code, *_ in answer["alarms"]] == ["dpo_winner_worse"]
    assert len(answer["points"]) == 29 and len(answer["points"][0]) == 1 + len(POINT_FIELDS) + len(PAIR_FIELDS)


def write_events(run: RunDir, events: list[Any], *more: Event) -> None:
    writer = EventLog(run)
    for event in [*events, *more]:
        writer.emit(event)
    writer.close()
