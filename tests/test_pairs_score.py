"""Scores of a set's pictures: each once for each scorer and its weights, whatever happens meanwhile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training import CPU
from trainers import settings
from trainers.events import Event, PicturesScored, Warned
from trainers.preferences import judges, resolve, scorers, scoring
from trainers.preferences.config import ScoreConfig
from trainers.preferences.halving import Outcome
from trainers.preferences.pairing import Rule, build_pairs
from trainers.preferences.prefset import Picture, Prefset, image_id_of
from trainers.preferences.rewards import sandbox
from trainers.preferences.rewards.base import Runtime, Scorer
from trainers.rundir import RunDir, all_records
from trainers.sandbox import scenes

PROMPTS, EACH = 3, 4
ALL = PROMPTS * EACH


class Toy:
    """Scores the mean brightness; what it is told to do else happens in `answer`."""

    name = "sandbox"

    def __init__(self, version: str = "1") -> None:
        self.version, self.loaded = version, 0
        self.seen: list[int] = []  # sizes of batches

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        self.seen.append(len(images))
        return [self.answer(image) for image in images]

    def answer(self, image: Image.Image) -> float | None:
        return float(np.asarray(image).mean())


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Takes the place of the sandbox's scorer."""
    scorer = Toy()

    def open_scorer(name: str, files: Any, runtime: Runtime) -> Scorer:
        scorer.loaded += 1
        return scorer

    monkeypatch.setattr(scorers, "open_scorer", open_scorer)
    monkeypatch.setattr(scorers, "version_of", lambda *_: scorer.version)
    return scorer


@pytest.fixture
def prefset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prefset:
    """EACH pictures of PROMPTS scenes, the object at another height in each."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    prefset, rng = Prefset.create(tmp_path / "set"), np.random.default_rng(3)
    for number in range(PROMPTS):
        scene = scenes.sample_scene(rng)
        (prompt,) = prefset.add_prompts([(scenes.caption(scene, number % 3), "")])
        for place, y in enumerate(np.linspace(26, 38, EACH)):
            path = f"images/{number}-{place}.png"
            scenes.draw(scenes.Scene(**{**vars(scene), "y": float(y)})).save(prefset.folder / path)
            data = (prefset.folder / path).read_bytes()
            prefset.add_pictures([Picture(image_id_of(data), prompt.prompt_id, path, 64, 64)])
    return prefset


class Job:
    def __init__(self, prefset: Prefset, **wishes: Any) -> None:
        values = {"set": {"folder": str(prefset.folder)}, "scorers": {"names": ["sandbox"], "batch_size": 5, **wishes}}
        self.config = resolve.resolve(settings.validate(values, ScoreConfig), CPU)
        self.run = RunDir(resolve.run_folder(self.config))
        self.run.create(settings.dump(self.config))
        self.events: list[Event] = []

    def go_on(self, stop_after: int | None = None) -> Outcome:
        """stop_after: scores, after which a person stops the job."""
        self.events = []

        def stop_asked() -> bool:
            done = sum(e.scored + e.failed for e in self.events if isinstance(e, PicturesScored))
            return stop_after is not None and done >= stop_after

        return scoring.work(self.run, self.config, self.events.append, stop_asked, lambda *_: None)

    def warnings(self) -> list[Warned]:
        return [event for event in self.events if isinstance(event, Warned)]


def lines(prefset: Prefset) -> list[dict[str, Any]]:
    return list(all_records(prefset.folder / "scores.jsonl"))


def test_every_picture_is_scored_once_by_a_scorer_that_is_loaded_once(prefset: Prefset, toy: Toy) -> None:
    job = Job(prefset)
    assert job.go_on() == Outcome(ALL, False, f"scored {ALL}") and toy.loaded == 1 and toy.seen == [5, 5, 2]
    told = [event for event in job.events if isinstance(event, PicturesScored)]
    assert [(event.done, event.total, event.scorer) for event in told] == [(n, ALL, "sandbox") for n in (5, 10, 12)]
    prefset.refresh()
    for (_, prompt_id, image_id), score in prefset.scores.items():
        with Image.open(prefset.path(image_id)) as picture:
            assert score.v == toy.answer(picture) and score.version == "1" and score.prompt_id == prompt_id
    assert Job(prefset).go_on().summary == "scored 0" and toy.loaded == 1, "nothing to do needs no model"
    assert len(lines(prefset)) == ALL


def test_stopped_and_resumed_scores_the_rest(prefset: Prefset, toy: Toy) -> None:
    job = Job(prefset)
    first = job.go_on(stop_after=5)
    assert first.stopped and len(lines(prefset)) == first.done == 5
    assert job.go_on() == Outcome(ALL, False, f"scored {ALL - 5}")
    assert len(lines(prefset)) == len({line["image_id"] for line in lines(prefset)}) == ALL


def test_new_pictures_alone_are_scored_and_other_weights_score_all(prefset: Prefset, toy: Toy) -> None:
    Job(prefset).go_on()
    prompt_id = next(iter(prefset.prompts))
    Image.new("RGB", (64, 64), "red").save(prefset.folder / "images" / "new.png")
    data = (prefset.folder / "images" / "new.png").read_bytes()
    prefset.add_pictures([Picture(image_id_of(data), prompt_id, "images/new.png", 64, 64)])
    assert Job(prefset).go_on().summary == "scored 1"
    toy.version = "2"
    assert Job(prefset).go_on().summary == f"scored {ALL + 1}"
    prefset.refresh()
    assert {score.version for score in prefset.scores.values()} == {"2"}, "the last one counts"


def test_scoring_again_goes_on_where_it_was_stopped(prefset: Prefset, toy: Toy) -> None:
    Job(prefset).go_on()
    again = Job(prefset, again=True)
    assert again.go_on(stop_after=5).stopped
    assert again.go_on().summary == f"scored {ALL - 5}" and len(lines(prefset)) == 2 * ALL
    assert again.go_on().summary == "scored 0"


def test_no_opinion_is_kept_as_none_and_never_as_a_number(prefset: Prefset, toy: Toy) -> None:
    toy.answer = lambda image: None  # type: ignore[method-assign]
    assert Job(prefset).go_on().summary == f"scored 0, not applicable {ALL}"
    assert {line["v"] for line in lines(prefset)} == {None}
    assert Job(prefset).go_on().summary == "scored 0", "and is not asked again"


def test_a_picture_that_cannot_be_read_is_one_warning_and_has_no_score(prefset: Prefset, toy: Toy) -> None:
    broken, *_ = prefset.pictures.values()
    (prefset.folder / broken.path).write_bytes(b"broken")
    os.unlink(prefset.folder / list(prefset.pictures.values())[1].path)
    job = Job(prefset, names=["sandbox", "sandbox:higher"])
    assert job.go_on().summary == f"scored {2 * (ALL - 2)}, failed 4"
    assert [warning.code for warning in job.warnings()] == ["picture_not_scored"] * 2
    assert job.warnings()[0].message.startswith(f"{broken.path}: ")
    assert broken.image_id not in {line["image_id"] for line in lines(prefset)}


def test_a_score_that_fails_is_no_score_and_the_others_are_had(prefset: Prefset, toy: Toy) -> None:
    """A failure must not look like a bad picture, or the picture would lose every pair."""
    worst = min(prefset.pictures.values(), key=lambda one: one.path)

    def answer(image: Image.Image) -> float:
        with Image.open(prefset.folder / worst.path) as picture:
            if picture.convert("RGB").tobytes() == image.tobytes():
                raise ValueError("no such thing")
        return 1.0

    toy.answer = answer  # type: ignore[method-assign]
    job = Job(prefset)
    assert job.go_on().summary == f"scored {ALL - 1}, failed 1"
    assert job.warnings()[0].message == f"{worst.path}: ValueError: no such thing."
    toy.answer = Toy().answer  # type: ignore[method-assign]
    assert Job(prefset).go_on().summary == "scored 1", "it is tried again next time"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_score(prefset: Prefset, toy: Toy, value: float) -> None:
    toy.answer = lambda image: value  # type: ignore[method-assign]
    assert Job(prefset).go_on().summary == f"scored 0, failed {ALL}" and lines(prefset) == []


def test_a_scorer_that_fails_with_everything_ends_the_job(prefset: Prefset, toy: Toy) -> None:
    def answer(image: Image.Image) -> float:
        raise ValueError("of other shape")

    toy.answer = answer  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="of other shape"):
        Job(prefset).go_on()


def test_memory_that_runs_out_halves_the_batch(prefset: Prefset, toy: Toy) -> None:
    def score(images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        toy.seen.append(len(images))
        if len(images) > 2:
            raise MemoryError
        return [1.0] * len(images)

    toy.score = score  # type: ignore[method-assign]
    job = Job(prefset)
    assert job.go_on().done == ALL and toy.seen[:2] == [5, 2] and max(toy.seen[1:]) == 2
    assert [warning.hint for warning in job.warnings()] == ["Next time: scorers.batch_size = 2."]


# --------------------------------------------------------------------------- the sandbox's own scorer


@pytest.mark.parametrize("form", range(len(scenes.CAPTION_FORMS)))
def test_the_sandbox_scorer_counts_what_the_prompt_says(form: int) -> None:
    scene = scenes.Scene("circle", "red", "left", "white", 20.0, 32.0, 15.0)
    others = [("colour", "blue"), ("shape", "cross"), ("background", "black")]
    scorer, prompt = sandbox.load({}, Runtime(), "1"), scenes.caption(scene, form)
    changed = [scenes.draw(scenes.Scene(**{**vars(scene), part: word})) for part, word in others]
    right, *wrong = scorer.score([scenes.draw(scene), *changed], [prompt] * 4)
    assert right == 1.0 and wrong == [0.75] * 3
    assert scorer.score([changed[0]], ["a blue circle"]) == [1.0] and scorer.score([changed[0]], ["a dog"]) == [None]


def test_rules_of_the_sandbox_can_be_right_or_wrong(prefset: Prefset) -> None:
    """Prompts leave the height open: higher and lower are opposites, and neither is what the prompt says."""
    names = ["sandbox", "sandbox:higher", "sandbox:lower", "sandbox:contrary"]
    Job(prefset, names=names).go_on()
    prefset.refresh()
    for prompt_id in prefset.prompts:
        by_height = prefset.pictures_of(prompt_id)  # the highest first
        said = {name: [prefset.scores[name, prompt_id, one.image_id].v for one in by_height] for name in names}
        assert said["sandbox"] == [1.0] * EACH and said["sandbox:contrary"] == [0.0] * EACH
        assert said["sandbox:higher"] == sorted(said["sandbox:higher"], reverse=True) and len(set(said[names[1]])) > 1
        assert said["sandbox:lower"] == [pytest.approx(1 - value) for value in said["sandbox:higher"]]
    pairs = build_pairs(prefset, Rule(weights={"sandbox:lower": 0, "sandbox:contrary": 0}))
    highest = {prefset.pictures_of(prompt_id)[0].image_id for prompt_id in prefset.prompts}
    assert {pair.a if pair.auto and pair.auto.winner == "a" else pair.b for pair in pairs} == highest


def test_a_judge_calls_itself_as_it_was_asked_for() -> None:
    values = {"set": {"folder": "x"}, "scorers": {"names": ["sandbox:lower", "sandbox"]}}
    config = resolve.resolve(settings.validate(values, ScoreConfig), CPU)
    found = judges.judges_of(config.scorers, 1, lambda *_: None)
    assert [(one.load().name, one.load().version) for one in found] == [("sandbox:lower", "1"), ("sandbox", "1")]
