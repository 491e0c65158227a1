"""The alarms of preference training on made-up numbers."""

from __future__ import annotations

import pytest

from trainers.objectives.monitor import SUSTAINED, WINDOW, Monitor

HEALTHY = {
    "accuracy": 0.8,
    "winner_error": 0.098,
    "winner_change": -0.002,
    "drift": 0.01,
    "gradient_factor": 0.3,
}


def told(monitor: Monitor, steps: int, **changed: float) -> list[str]:
    """The codes of the warnings in so many steps with these numbers."""
    return [one.code for _ in range(steps) for one in monitor.trained({**HEALTHY, **changed})]


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(saturated_below=0.02)


# the reference's error is 0.1 in all of them
FAULTS = {
    "dpo_winner_worse": {"winner_error": 0.12, "winner_change": 0.02},
    "dpo_saturated": {"gradient_factor": 0.01},
    "dpo_collapsing": {"drift": 0.5},
}


def test_a_healthy_run_is_left_in_peace(monitor: Monitor) -> None:
    assert told(monitor, 4 * WINDOW) == []


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_told_once_when_it_lasts(code: str, monitor: Monitor) -> None:
    assert told(monitor, WINDOW - 1, **FAULTS[code]) == []
    assert told(monitor, 4 * WINDOW, **FAULTS[code]) == [code]


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_that_went_away_and_came_back_is_told_again(code: str, monitor: Monitor) -> None:
    assert told(monitor, WINDOW, **FAULTS[code]) == [code]
    assert told(monitor, 3 * WINDOW) == []
    assert told(monitor, 2 * WINDOW, **FAULTS[code]) == [code]


def test_a_number_on_the_edge_does_not_repeat_itself(monitor: Monitor) -> None:
    swinging = [step for _ in range(3) for value in (0.03, -0.02) for step in told(monitor, 15, winner_change=value)]
    assert swinging == ["dpo_winner_worse"]


def test_an_error_that_has_doubled_is_a_collapse(monitor: Monitor) -> None:
    codes = told(monitor, WINDOW, winner_error=0.25, winner_change=0.15)
    assert codes == ["dpo_winner_worse", "dpo_collapsing"]


def test_one_bad_batch_is_no_fault(monitor: Monitor) -> None:
    told(monitor, WINDOW)
    assert told(monitor, 1, winner_change=0.01, drift=0.2) == []
    assert told(monitor, WINDOW) == []


def test_memorised_pairs_are_told_when_two_measurements_agree(monitor: Monitor) -> None:
    told(monitor, WINDOW, accuracy=0.95)
    looks = [[one.code for one in monitor.held_out({"accuracy": value})] for value in (0.9, 0.6, 0.9, 0.6, 0.6, 0.5)]
    assert looks == [[], [], [], [], ["dpo_overfit"], []]
    assert SUSTAINED == 2


def test_a_target_that_is_certainty_is_no_saturation() -> None:
    """The goal of dmpo with alpha = 0.01 is sigma(-z) = 0.01."""
    assert told(Monitor(saturated_below=0.005), 2 * WINDOW, gradient_factor=0.01) == []


def test_numbers_of_another_kind_are_passed_over(monitor: Monitor) -> None:
    for _ in range(2 * WINDOW):
        assert monitor.trained({"accuracy": 0.5}) == []
    assert monitor.held_out({"winner_error": 1.0}) == []


def test_every_warning_has_a_remedy(monitor: Monitor) -> None:
    everything = {"winner_error": 0.25, "winner_change": 0.15, "gradient_factor": 0.001}
    warnings = [one for _ in range(WINDOW) for one in monitor.trained({**HEALTHY, **everything})]
    warnings += [one for _ in range(SUSTAINED) for one in monitor.held_out({"accuracy": 0.1})]
    assert len(warnings) == 4 and all(one.message.endswith(".") and "." in one.hint for one in warnings)
