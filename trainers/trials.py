"""Trials of a finished adapter: pictures that a person asks for, kept in the run folder with what was asked.

trials/  ID.json  ID-00.png (one for each strength)  ID-sheet.png
         requests.jsonl  events.jsonl  worker.json  worker.log
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainers.events import Event
from trainers.rundir import RunDir, write_atomic

ID = re.compile(r"[0-9a-f]{12}")
MAX_STRENGTHS = 12
MAX_SIDE = 4096

Strength = Annotated[float, Field(ge=-4, le=4, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=16, le=MAX_SIDE)]
Do = Literal["draw", "stop"]


class Trial(BaseModel):
    """One prompt from one noise, once for each strength; 0 is the base alone.

    file: name of one of the run's adapter files, empty for the finished one; asked: seconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prompt: str = Field(max_length=4000)
    negative: str = Field("", max_length=4000)
    seed: int = Field(ge=0, lt=1 << 32)
    steps: int = Field(ge=1, le=200)
    guidance: float = Field(ge=0, le=50, allow_inf_nan=False)
    width: Side
    height: Side
    strengths: list[Strength] = Field(min_length=1, max_length=MAX_STRENGTHS)
    file: str = Field("", max_length=300)
    asked: float = 0.0


@dataclass(frozen=True)
class TesterStarted(Event):
    """A process begins to serve. skip: bytes of the requests that others have dealt with."""

    skip: int


@dataclass(frozen=True)
class TrialMoved(Event):
    """A trial is further on. phase: loading (detail says what) | drawing (done of total) | done | failed."""

    trial: str
    phase: str
    detail: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class TrialFolder:
    """Paths and files of a run's trials. Creating the object touches nothing on disk."""

    run: RunDir

    @property
    def desk(self) -> RunDir:
        """Where the process that draws keeps its events, log and heartbeat, under the names that a worker has."""
        return RunDir(self.run.path / "trials")

    @property
    def requests(self) -> Path:
        return self.desk.path / "requests.jsonl"

    def settings(self, trial_id: str) -> Path:
        return self.desk.path / f"{trial_id}.json"

    def picture(self, trial_id: str, index: int) -> Path:
        return self.desk.path / f"{trial_id}-{index:02d}.png"

    def sheet(self, trial_id: str) -> Path:
        return self.desk.path / f"{trial_id}-sheet.png"

    def add(self, trial: Trial) -> str:
        """Keep what is asked; its id."""
        trial_id = secrets.token_hex(6)
        write_atomic(self.settings(trial_id), trial.model_dump_json())
        return trial_id

    def read(self, trial_id: str) -> Trial | None:
        """None for a trial that was deleted, or whose file is damaged."""
        try:
            return Trial.model_validate_json(self.settings(trial_id).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def ids(self) -> list[str]:
        return [path.stem for path in self.desk.path.glob("*.json") if ID.fullmatch(path.stem)]

    def delete(self, trial_id: str) -> None:
        """The settings go first: without them the process that draws leaves the rest of the trial."""
        self.settings(trial_id).unlink(missing_ok=True)
        for path in self.desk.path.glob(f"{trial_id}-*.png"):
            path.unlink(missing_ok=True)

    def send(self, do: Do, trial_id: str = "") -> None:
        """Ask the process that draws for something."""
        self.desk.path.mkdir(parents=True, exist_ok=True)
        with self.requests.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({"time": round(time.time(), 3), "do": do, "trial": trial_id}) + "\n")

    def asked_bytes(self) -> int:
        """Length of the requests so far: a process that starts now begins behind them."""
        return self.requests.stat().st_size if self.requests.exists() else 0
