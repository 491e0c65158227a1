"""Events as lines of JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import properties
from trainers import events
from trainers.events import KINDS, Captioned, Event, Made, StepDone, ValidationDone, Warned, to_line

VALUES: dict[str, Any] = {
    "int": 3,
    "int | None": None,
    "float": 0.5,
    "str": 'two\nlines, "quoted", 我, \u2028',
    "bool": True,
    "dict[str, float]": {"a": 0.5, "b": math.nan},
    "tuple[Made, ...]": (
        Made("0a", "1b", "a dog, 我", 7, "images/a.png"),
        Made("0b", "1b", "\n", 8, "b.png", "policy"),
    ),
    "tuple[Captioned, ...]": (Captioned("a.png", "written", None, "a dog"), Captioned("b.png", "failed", reason="\n")),
}


def example(kind: str) -> Event:
    """An event of the kind with a value for every field."""
    return KINDS[kind](**{field.name: VALUES[str(field.type)] for field in dataclasses.fields(KINDS[kind])})


def step(**changes: Any) -> StepDone:
    values = {"step": 1, "loss": 0.5, "learning_rate": 1e-4, "grad_norm": 1.0, "seconds": 0.1, "memory_gib": 2.0}
    return StepDone(**{**values, **changes})


def test_kinds_are_the_snake_case_of_the_names_but_for_step() -> None:
    expected = {"SampleReady": "sample_ready", "RunFinished": "run_finished", "Warned": "warned", "StepDone": "step"}
    kinds = {cls.__name__: kind for kind, cls in KINDS.items()}
    assert expected.items() <= kinds.items()
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", kind) for kind in kinds.values())
    assert len(kinds) == len(KINDS) == len(Event.__subclasses__())


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_one_line_that_parses_to_its_fields(kind: str) -> None:
    event = example(kind)
    line = to_line(event, 7)
    assert "\n" not in line
    record = json.loads(line)
    assert list(record)[:3] == ["seq", "time", "kind"]
    assert record["seq"] == 7 and record["kind"] == kind and record["time"] > 1.6e9
    assert set(record) == {"seq", "time", "kind", *(field.name for field in dataclasses.fields(event))}


def test_step_line_is_the_documented_one() -> None:
    record = json.loads(to_line(step(metrics={"accuracy": 0.5}), 1))
    del record["time"]
    assert record == {
        "seq": 1,
        "kind": "step",
        "step": 1,
        "loss": 0.5,
        "learning_rate": 1e-4,
        "grad_norm": 1.0,
        "seconds": 0.1,
        "memory_gib": 2.0,
        "metrics": {"accuracy": 0.5},
    }


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_become_null(number: float) -> None:
    assert json.loads(to_line(step(loss=number), 1))["loss"] is None
    by_sigma = {"0.5": number, "0.9": 1.0}
    assert json.loads(to_line(ValidationDone(1, 1.0, by_sigma), 1))["by_sigma"] == {"0.5": None, "0.9": 1.0}
    assert events._finite([(number, 1.0)]) == [[None, 1.0]]


def test_unicode_stays_readable() -> None:
    line = to_line(Warned("code", "图片 café"), 1)
    assert "图片 café" in line


@properties
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_message_comes_back(message: str) -> None:
    line = to_line(Warned("code", message), 1)
    assert line.encode().count(b"\n") == 0
    assert json.loads(line)["message"] == message
