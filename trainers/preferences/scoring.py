"""The scoring of a set's pictures, as a story: one scorer after the other, each loaded once. Light."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from trainers.boundary import is_out_of_memory
from trainers.data.decode import DECODE_ERRORS, open_picture, reason_of
from trainers.errors import AtelierError
from trainers.events import Emit, PhaseChanged, PicturesScored, Warned
from trainers.preferences.config import ScoreConfig
from trainers.preferences.halving import Halving, Outcome, StopAsked
from trainers.preferences.judges import Judge, judges_of, spec_of
from trainers.preferences.prefset import Picture, Prefset, Score
from trainers.preferences.rewards.base import Scorer
from trainers.rundir import RunDir, read_lines, write_atomic
from trainers.weights.hub import Progress

log = logging.getLogger(__name__)

READERS = 2  # threads that decode the next pictures while the scorer works
HOPELESS = 8  # pictures that failed one after the other, before any was scored: it is not the pictures


@dataclass(frozen=True)
class Task:
    """What one scorer has still to look at. scored: how many pictures have their score already."""

    judge: Judge
    pictures: list[Picture]
    scored: int


@dataclass
class Totals:
    """done of total: scores, of all scorers; failed: pictures that could not be read or scored."""

    total: int
    done: int
    scored: int = 0
    not_applicable: int = 0
    failed: int = 0

    def sentence(self) -> str:
        said = f"scored {self.scored}"
        said += f", not applicable {self.not_applicable}" if self.not_applicable else ""
        return said + (f", failed {self.failed}" if self.failed else "")


def work(
    run: RunDir,
    config: ScoreConfig,
    emit: Emit,
    stop_asked: StopAsked,
    download: Progress,
    only: Collection[str] | None = None,
) -> Outcome:
    """Score what these scorers have not scored yet. config: resolved; only: image ids. Raises AtelierError."""
    prefset = Prefset(Path(config.set.folder))
    every = [picture for prompt_id in prefset.prompts for picture in prefset.pictures_of(prompt_id)]
    pictures = [one for one in every if only is None or one.image_id in only]
    known = list(prefset.scores.values())
    if config.scorers.again:  # those of this job alone count
        known = list(_since(prefset, _begun_at(run, prefset)))
    tasks = [_task(judge, pictures, known) for judge in judges_of(config.scorers, int(config.run.threads), download)]
    scored = sum(task.scored for task in tasks)
    totals = Totals(scored + sum(len(task.pictures) for task in tasks), scored)
    emit(PhaseChanged("scoring", "", totals.done, totals.total))
    scoring = Scoring(prefset, config.scorers.batch_size, emit, stop_asked, totals)
    through = all(scoring.run(task) for task in tasks if task.pictures)
    return Outcome(totals.done, not through, totals.sentence())


def _task(judge: Judge, pictures: Sequence[Picture], known: Sequence[Score]) -> Task:
    """known: the scores that count; of them, those of this scorer and these weights."""
    version = judge.version
    there = {(one.prompt_id, one.image_id) for one in known if (one.scorer, one.version) == (judge.name, version)}
    left = [one for one in pictures if (one.prompt_id, one.image_id) not in there]
    return Task(judge, left, len(pictures) - len(left))


def _begun_at(run: RunDir, prefset: Prefset) -> int:
    """Bytes of the set's scores when this job began."""
    file = run.path / "begun.json"
    if not file.is_file():
        scores = prefset.folder / "scores.jsonl"
        write_atomic(file, json.dumps({"scores_bytes": scores.stat().st_size if scores.is_file() else 0}))
    return int(json.loads(file.read_text(encoding="utf-8"))["scores_bytes"])


def _since(prefset: Prefset, offset: int) -> Iterator[Score]:
    while (lines := read_lines(prefset.folder / "scores.jsonl", offset)).offset > offset:
        offset = lines.offset
        yield from (prefset.scores[one["scorer"], one["prompt_id"], one["image_id"]] for one in lines.records)


@dataclass(frozen=True)
class Decoded:
    """A picture with its pixels; without them it cannot be read."""

    picture: Picture
    image: Image.Image | None
    reason: str = ""


@dataclass(frozen=True)
class Judged:
    """What became of a picture. value: None where the scorer does not apply; failed: why it has no score at all."""

    value: float | None = None
    failed: str = ""


class Scoring:
    """Works through the tasks of a job; what comes of it goes to the set batch by batch."""

    def __init__(self, prefset: Prefset, batch: int, emit: Emit, stop_asked: StopAsked, totals: Totals) -> None:
        self._prefset, self._batch, self._emit, self._stop_asked = prefset, batch, emit, stop_asked
        self._totals = totals
        self._told: set[str] = set()  # pictures that were warned of
        self._failed_first: int | None = 0  # pictures that failed before any was scored; None once one was

    def run(self, task: Task) -> bool:
        """False when it was stopped. Raises AtelierError, and what every picture fails with."""
        if self._stop_asked():
            return False
        self._emit(PhaseChanged("loading", spec_of(task.judge.name).title))
        scorer, self._failed_first = task.judge.load(), 0
        halving = Halving(self._batch, "scorers.batch_size", self._emit)
        with contextlib.closing(self._decoded(task.pictures)) as decoded:
            begun = time.monotonic()
            while batch := list(islice(decoded, halving.size)):
                if self._stop_asked():
                    return False
                self._score(batch, scorer, task.judge, halving, begun)
                begun = time.monotonic()
        return True

    def _score(self, batch: list[Decoded], scorer: Scorer, judge: Judge, halving: Halving, begun: float) -> None:
        readable = [one for one in batch if one.image is not None]
        judged = iter(halving.run(readable, lambda part: self._judge(scorer, part)))
        came = [(one.picture, next(judged) if one.image is not None else Judged(failed=one.reason)) for one in batch]
        fine = [(picture, one.value) for picture, one in came if not one.failed]
        self._prefset.add_scores(
            Score(picture.image_id, picture.prompt_id, judge.name, judge.version, value) for picture, value in fine
        )
        for picture, one in came:
            if one.failed:
                self._warn(picture, one.failed)
        none = sum(value is None for _, value in fine)
        self._tell(judge.name, len(fine) - none, none, len(came) - len(fine), time.monotonic() - begun)

    def _tell(self, name: str, scored: int, none: int, failed: int, seconds: float) -> None:
        totals = self._totals
        totals.done += scored + none + failed
        totals.scored += scored
        totals.not_applicable += none
        totals.failed += failed
        self._emit(PicturesScored(totals.done, totals.total, name, round(seconds, 4), scored, none, failed))

    def _judge(self, scorer: Scorer, part: Sequence[Decoded]) -> list[Judged]:
        """One after the other where a batch fails. Lets errors of memory through, and those of the scorer itself."""
        images = [one.image for one in part if one.image]
        prompts = [self._prefset.prompts[one.picture.prompt_id].prompt for one in part]
        try:
            values = scorer.score(images, prompts)
        except AtelierError:
            raise
        except Exception as error:  # the boundary of one batch: the job goes on
            if is_out_of_memory(error):
                raise
            if len(part) > 1:
                return [judged for one in part for judged in self._judge(scorer, [one])]
            return [self._failed(error)]
        self._failed_first = None
        return [_judged(value) for value in values]

    def _failed(self, error: Exception) -> Judged:
        """A score that could not be had is none: it is never a bad one."""
        if self._failed_first is not None:
            self._failed_first += 1
            if self._failed_first >= HOPELESS:
                raise error
        log.warning("a picture could not be scored", exc_info=error)
        return Judged(failed=f"{type(error).__name__}: {error}")

    def _warn(self, picture: Picture, reason: str) -> None:
        if picture.path not in self._told:
            self._told.add(picture.path)
            hint = "It has no score; pairs with it are made by votes alone."
            self._emit(Warned("picture_not_scored", f"{picture.path}: {reason}.", hint))

    # the next pictures, read ahead

    def _decoded(self, pictures: Sequence[Picture]) -> Generator[Decoded, None, None]:
        readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        coming = iter(pictures)
        waiting: deque[Future[Decoded]] = deque()
        try:
            waiting.extend(readers.submit(self._decode, one) for one in islice(coming, self._batch + READERS))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(readers.submit(self._decode, one) for one in islice(coming, 1))
        finally:
            readers.shutdown(cancel_futures=True)

    def _decode(self, picture: Picture) -> Decoded:
        try:
            return Decoded(picture, open_picture(self._prefset.folder / picture.path))
        except DECODE_ERRORS as error:
            return Decoded(picture, None, reason_of(error))


def _judged(value: float | None) -> Judged:
    if value is not None and not math.isfinite(value):
        return Judged(failed=f"the scorer said {value}")
    return Judged(value)
