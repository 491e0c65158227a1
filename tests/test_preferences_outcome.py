"""The whole way through the command line: what was preferred is drawn more often, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.preferences import one_seed
from trainers.preferences.agreement import wilson_interval


def test_the_preferred_is_drawn_more_often_and_reversed_votes_do_the_reverse(tmp_path: Path) -> None:
    """Of 200 pictures, in the upper half: about half before; the interval of chance is about 7 points to each side."""
    found = one_seed(tmp_path, 1, ("preferred", "reversed"))
    for labels, sign in (("preferred", 1), ("reversed", -1)):
        before, after, _ = found[labels]
        low, high = wilson_interval(round(before.upper * before.count), before.count)
        assert after.upper > high + 0.2 if sign > 0 else after.upper < low - 0.15
        assert after.adherence > before.adherence - 0.04  # one point more than is aimed at: this is one seed
    assert found["preferred"][1].upper >= 0.8
