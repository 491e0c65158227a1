"""What a run tells the world while it works: small frozen records, one JSON line each.

The worker appends them to `events.jsonl`; tests collect them with `list.append`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Event:
    """Base of all events; `kind` names the record in `events.jsonl`."""

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__dict__.get("kind") or re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        KINDS[cls.kind] = cls


KINDS: dict[str, type[Event]] = {}
Emit = Callable[[Event], None]


@dataclass(frozen=True)
class PhaseChanged(Event):
    """The run does something else now. `done` of `total` when the phase can be counted; a download counts bytes.

    phase: preparing | downloading | loading | caching | training | paused | sampling | validating | saving |
    measuring | captioning | generating | scoring | comparing
    """

    phase: str
    detail: str = ""
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class StepDone(Event):
    """One optimizer step. seconds: wall time of the step; memory_gib: peak so far on the device."""

    kind: ClassVar[str] = "step"
    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    seconds: float
    memory_gib: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleReady(Event):
    """A preview was drawn; step 0 is the model before training. path: relative to the run folder."""

    step: int
    index: int
    prompt: str
    seed: int
    path: str


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """Everything needed to go on from here was written. path: relative to the run folder."""

    step: int
    path: str


@dataclass(frozen=True)
class ValidationDone(Event):
    """Loss on held-out pictures at fixed noise.

    by_sigma: mean loss per noise level; metrics: means, with the names that those of steps have.
    """

    step: int
    loss: float
    by_sigma: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured(Event):
    """Shares in [0, 1] that were counted on generated pictures, by name."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Warned(Event):
    """Something a person should know, and what to do about it."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Captioned:
    """What became of one picture of a captioning job.

    status: written | skipped | failed | shown (a dry run); before, after: text of the caption file, None for no file;
    said: the model's own words; reason: why nothing was written.
    """

    name: str
    status: str
    before: str | None = None
    after: str | None = None
    said: str = ""
    reason: str = ""


@dataclass(frozen=True)
class BatchCaptioned(Event):
    """A batch of a captioning job is through. done of total: pictures; the counts are those of the whole job.

    seconds: wall time of the batch; model_s: of it, in the model.
    """

    done: int
    total: int
    written: int
    skipped: int
    failed: int
    seconds: float
    model_s: float
    pictures: tuple[Captioned, ...] = ()


@dataclass(frozen=True)
class Made:
    """A picture that a job drew for a preference set. path: relative to the set; role: in a comparison, else empty."""

    image_id: str
    prompt_id: str
    prompt: str
    seed: int
    path: str
    role: str = ""


@dataclass(frozen=True)
class PicturesMade(Event):
    """A batch of pictures is drawn and in the set. done of total: pictures; seconds: wall time of the batch."""

    done: int
    total: int
    seconds: float
    items: tuple[Made, ...] = ()


@dataclass(frozen=True)
class PicturesScored(Event):
    """A batch of pictures has its scores. done of total: scores, of all scorers of the job.

    seconds: wall time of the batch; scored: pictures that got a number; not_applicable: that the scorer has no opinion
    of; failed: that could not be read or scored.
    """

    done: int
    total: int
    scorer: str
    seconds: float
    scored: int = 0
    not_applicable: int = 0
    failed: int = 0


@dataclass(frozen=True)
class RunFinished(Event):
    """The run is through; the file at `path` is written, "" for none. stopped: a person ended it before its end."""

    step: int
    path: str
    seconds: float
    stopped: bool = False
    summary: str = ""


@dataclass(frozen=True)
class RunFailed(Event):
    """The run ended without its file; detail holds the traceback."""

    message: str
    hint: str = ""
    detail: str = ""


def to_line(event: Event, seq: int) -> str:
    """One JSON line with seq and time first. NaN and infinities, which JSON lacks, become null."""
    record = {"seq": seq, "time": round(time.time(), 3), "kind": event.kind, **dataclasses.asdict(event)}
    return json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
