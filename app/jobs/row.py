"""One row of the index of runs."""

from __future__ import annotations

from dataclasses import dataclass

from app.jobs.states import Kind, State


@dataclass(frozen=True)
class RunRow:
    """A run at a glance. Times are seconds since 1970; `position` is the place in the queue, None outside it.

    speed_key: runs with the same one take the same time per step; events_bytes: length of `events.jsonl` that is in;
    folder: of its pictures; after: the run that has to end well before this one starts. Steps of jobs that caption,
    draw or score are pictures.
    """

    id: str
    kind: Kind
    path: str
    name: str
    folder: str
    model: str
    family: str
    state: State
    step: int
    total_steps: int
    loss: float | None
    created: float
    started: float | None
    ended: float | None
    worked_s: float
    seconds_per_step: float | None
    reason: str
    hint: str
    thumbnail: str
    speed_key: str
    events_bytes: int
    position: int | None
    after: str | None = None
