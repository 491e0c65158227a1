"""Trials of a run's adapter for the page: what may be asked, what was drawn, and how far the rest is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from app.jobs.causes import last_line
from app.jobs.tester import Testers
from app.services import files
from trainers import catalog, resolve
from trainers.config import TrainConfig
from trainers.errors import AtelierError, ConfigError
from trainers.rundir import RunDir, all_records, read_lines
from trainers.trials import Trial, TrialFolder

SHOWN = 100  # newest trials that the page lists
SWEEP = [0.0, 0.5, 0.8, 1.0, 1.2]

# of what a person may type: what else is wrong with a request, the page would not have sent
BOUNDS = ("greater_than_equal", "less_than_equal", "less_than", "string_too_long", "too_short", "too_long")

State = Literal["waiting", "loading", "drawing", "done", "failed", "open"]  # open: nobody works on it any more


@dataclass(frozen=True)
class Panel:
    """What the form begins with.

    multiple: of which sides are; guided: whether a negative prompt does anything; files: names of the run's adapter
    files, the finished one first.
    """

    prompt: str
    negative: str
    seed: int
    strengths: list[float]
    width: int
    height: int
    steps: int
    guidance: float
    multiple: int
    guided: bool
    file: str
    files: list[str]


@dataclass(frozen=True)
class TrialPicture:
    """One strength; the addresses are empty before it is drawn."""

    strength: float
    url: str
    thumb_url: str


@dataclass(frozen=True)
class TrialInfo:
    """A trial as the page shows it. detail: what is being loaded; sheet_url: all pictures in one, empty without."""

    id: str
    settings: Trial
    pictures: list[TrialPicture]
    sheet_url: str
    state: State
    detail: str
    message: str
    hint: str


class Trials:
    """Answers for one run each. find: the folder of a run, None for an unknown one."""

    def __init__(self, find: Callable[[str], RunDir | None], testers: Testers) -> None:
        self._find, self._testers = find, testers

    def panel(self, run_id: str) -> Panel | None:
        """None for a run that has no adapter file yet."""
        run = self._find(run_id)
        config = _config(run) if run else None
        if run is None or config is None or not run.adapter(config.run.name).is_file():
            return None
        family = catalog.FAMILIES[config.model.family]
        return Panel(
            prompt=config.sample.prompts[0] if config.sample.prompts else config.captions.trigger,
            negative=config.sample.negative,
            seed=config.sample.seed,
            strengths=SWEEP,
            width=int(config.data.resolution),
            height=int(config.data.resolution),
            steps=int(config.sample.steps),
            guidance=float(config.sample.guidance),
            multiple=family.pixel_multiple,
            guided="negative" in family.features,
            file=run.adapter(config.run.name).name,
            files=[path.name for path in run.adapter_files()],
        )

    def poll(self, run_id: str) -> dict[str, Any]:
        """mark: as long as it and `tester` stay the same, the list does too; why: what the process said last."""
        run = self._find(run_id)
        if run is None:
            return {"mark": 0, "tester": "off", "busy": False, "why": ""}
        desk, state = TrialFolder(run).desk, self._testers.state(run)
        return {
            "mark": desk.events.stat().st_size if desk.events.exists() else 0,
            "tester": state,
            "busy": self._testers.busy(),
            "why": last_line(desk.log) if state == "gone" else "",
        }

    def newest(self, run_id: str) -> list[TrialInfo]:
        """Newest first, SHOWN at most."""
        run = self._find(run_id)
        if run is None:
            return []
        trials = TrialFolder(run)
        known = [(trial, trial_id) for trial_id in trials.ids() if (trial := trials.read(trial_id))]
        known.sort(key=lambda pair: pair[0].asked, reverse=True)
        progress = _Progress(trials, alive=self._testers.state(run) == "on")
        return [_info(run_id, trials, trial_id, trial, progress) for trial, trial_id in known[:SHOWN]]

    def ask(self, run_id: str, trial: Trial) -> str:
        """Have pictures drawn; the id of the trial. Raises AtelierError with the remedy."""
        run, panel = self._find(run_id), self.panel(run_id)
        if run is None or panel is None:
            raise AtelierError("This run has no adapter file to test.", "Wait for its end, or resume it.")
        for side in (trial.width, trial.height):
            if side % panel.multiple:
                near = max(round(side / panel.multiple), 1) * panel.multiple
                raise AtelierError(f"{side} is not a multiple of {panel.multiple}.", f"Use {near}.")
        if trial.file and trial.file not in panel.files:
            raise AtelierError(f"This run has no file {trial.file} any more.", "Choose one of its files.")
        trials = TrialFolder(run)
        trial_id = trials.add(trial.model_copy(update={"asked": round(time.time(), 3)}))
        try:
            self._testers.ask(run, trial_id)
        except AtelierError:
            trials.delete(trial_id)
            raise
        return trial_id

    def again(self, run_id: str, trial_id: str) -> None:
        """Have the rest of a trial drawn that broke off. Raises AtelierError."""
        self._testers.ask(self._known(run_id, trial_id), trial_id)

    def delete(self, run_id: str, trial_id: str) -> None:
        """Remove settings and pictures; if it is being drawn, that ends too. Raises AtelierError."""
        TrialFolder(self._known(run_id, trial_id)).delete(trial_id)

    def stop(self, run_id: str) -> None:
        """End the process of the run, which returns its memory."""
        if run := self._find(run_id):
            self._testers.end(run)

    def _known(self, run_id: str, trial_id: str) -> RunDir:
        run = self._find(run_id)
        if run is None or TrialFolder(run).read(trial_id) is None:
            raise AtelierError("This test is gone already.")
        return run


def trial_of(settings: Any) -> Trial:
    """What a page asks for. Raises ValueError for what no page sends, ConfigError for a number out of bounds."""
    try:
        return Trial.model_validate(settings)
    except ValidationError as error:
        detail = error.errors()[0]
        if detail["type"] not in BOUNDS:
            raise
        raise ConfigError(str(detail["loc"][0]), f"{detail['input']!r} cannot be used.", f"{detail['msg']}.") from error


def _config(run: RunDir) -> TrainConfig | None:
    """None when the file is missing, or was written by a version that nobody can read now."""
    try:
        return resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))
    except (OSError, AtelierError):
        return None


class _Progress:
    """What the events say of each trial. Those of a process that is gone count for failures only."""

    def __init__(self, trials: TrialFolder, *, alive: bool) -> None:
        self._last: dict[str, dict[str, Any]] = {}
        skip = 0
        for record in all_records(trials.desk.events):
            if record.get("kind") == "tester_started":
                skip = record.get("skip", 0)
            elif "trial" in record:
                self._last[record["trial"]] = record
        asked = read_lines(trials.requests, skip).records if alive else []
        self._asked = {record.get("trial"): record.get("time", 0.0) for record in asked}

    def of(self, trial_id: str) -> dict[str, Any]:
        """The newest record of the trial, with the phase that it is in now."""
        last = self._last.get(trial_id, {})
        asked = self._asked.get(trial_id)
        if asked is not None and last.get("time", 0.0) < asked:
            return {"phase": "waiting"}
        if asked is None and last.get("phase") != "failed":
            return {"phase": "open"}
        return last


def _info(run_id: str, trials: TrialFolder, trial_id: str, trial: Trial, progress: _Progress) -> TrialInfo:
    pictures = [_picture(run_id, trials, trial_id, index) for index in range(len(trial.strengths))]
    record = progress.of(trial_id)
    sheet = trials.sheet(trial_id)
    return TrialInfo(
        id=trial_id,
        settings=trial,
        pictures=[TrialPicture(strength, *urls) for strength, urls in zip(trial.strengths, pictures, strict=True)],
        sheet_url=files.trial_urls(run_id, sheet)[0] if sheet.exists() else "",
        state="done" if all(url for url, _ in pictures) else record["phase"],
        detail=record.get("detail", "") if record["phase"] == "loading" else "",
        message=record.get("message", ""),
        hint=record.get("hint", ""),
    )


def _picture(run_id: str, trials: TrialFolder, trial_id: str, index: int) -> tuple[str, str]:
    path = trials.picture(trial_id, index)
    return files.trial_urls(run_id, path) if path.exists() else ("", "")
