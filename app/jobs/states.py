"""The kinds of runs, their states, and the moves between them."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["train", "caption", "generate", "score", "compare"]
State = Literal["queued", "starting", "running", "stopping", "done", "stopped", "failed", "interrupted"]

KINDS: tuple[Kind, ...] = get_args(Kind)

ACTIVE: frozenset[State] = frozenset({"starting", "running", "stopping"})
ENDED: frozenset[State] = frozenset({"done", "stopped", "failed", "interrupted"})
RESUMABLE: frozenset[State] = frozenset({"stopped", "failed", "interrupted"})

MOVES: dict[State, frozenset[State]] = {
    "queued": frozenset({"starting", "stopped"}),
    "starting": frozenset({"running", "stopping", *ENDED}),
    "running": frozenset({"stopping", *ENDED}),
    "stopping": ENDED,
    # a run that ended goes on through the queue, or in a worker that a person started by hand
    "done": frozenset({"running"}),
    "stopped": frozenset({"queued", "running"}),
    "failed": frozenset({"queued", "running"}),
    "interrupted": frozenset({"queued", "running"}),
}
