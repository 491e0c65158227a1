"""What the page may ask of preference sets: lists, pictures, pairs, results, jobs, and the settings of a run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.preferences.service import Preferences
from app.services.studio import Studio
from tests.preference_sets import build, make_comparison, make_set, score, vote
from trainers import resolve
from trainers.errors import ConfigError, DataError
from trainers.machine import Machine
from trainers.preferences.pairing import Rule
from trainers.preferences.prefset import Picture, Prefset, image_id_of, make_pair
from trainers.rundir import RunDir

MACHINE = Machine("cpu", "test processor", 8.0, 8.0, 2, bf16=False)
IDLE = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def studio(data: Path) -> Iterator[Studio]:
    """Not started: no worker is, either."""
    studio = Studio(data, machine=MACHINE, preference_command=IDLE)
    yield studio
    studio.close()


@pytest.fixture
def preferences(studio: Studio) -> Preferences:
    return studio.preferences


@pytest.fixture
def prefset(data: Path) -> Prefset:
    return make_set(data / "preferences" / "scenes")


def test_a_set_is_listed_with_its_counts_and_the_last_used_comes_first(
    preferences: Preferences, prefset: Prefset, data: Path
) -> None:
    build(prefset)
    vote(prefset)
    make_set(data / "preferences" / "older", prompts=1)
    for file in (data / "preferences" / "older").iterdir():
        os.utime(file, (1, 1))
    first, second = preferences.shelf.all()
    assert (first["name"], second["name"]) == ("scenes", "older")
    assert (first["prompts"], first["pictures"], first["pairs"], first["votes"]) == (4, 12, 12, 12)


def test_a_damaged_set_does_not_hide_the_others(preferences: Preferences, prefset: Prefset, data: Path) -> None:
    (data / "preferences" / "broken").mkdir()
    (data / "preferences" / "broken" / "set.json").write_text("{")
    assert [one["name"] for one in preferences.shelf.all()] == ["scenes"]


def test_what_another_process_adds_is_seen(preferences: Preferences, prefset: Prefset) -> None:
    before = preferences.status("scenes")
    prefset.add_prompts([("one more", "")])
    after = preferences.status("scenes")
    assert (before["prompts"], after["prompts"]) == (4, 5)
    assert before["rev"] != after["rev"]


def test_pictures_come_by_prompt_with_their_scores(preferences: Preferences, prefset: Prefset) -> None:
    score(prefset)
    page = preferences.shelf.page("scenes", 1, 2)
    assert page["total"] == 4
    assert [one["prompt"] for one in page["prompts"]] == ["a scene, number 2", "a scene, number 1"]
    assert all(len(one["pictures"]) == 3 and one["pictures"][0][3].keys() == {"rule"} for one in page["prompts"])


def test_only_pictures_of_the_set_are_served(preferences: Preferences, prefset: Prefset, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not a picture")
    prefset.add_pictures([Picture("f" * 64, next(iter(prefset.prompts)), str(secret), 1, 1, "external")])
    known = next(iter(prefset.pictures))
    assert preferences.shelf.shown("scenes", known)[1] == "image/png"
    for image_id in ("f" * 64, "0" * 64, "../set.json"):
        with pytest.raises(DataError):
            preferences.shelf.shown("scenes", image_id)


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "x" * 81])
def test_names_of_sets_stay_in_their_folder(preferences: Preferences, name: str) -> None:
    with pytest.raises(DataError):
        preferences.shelf.create(name)


def test_a_name_is_given_once(preferences: Preferences, prefset: Prefset) -> None:
    with pytest.raises(DataError, match="exists"):
        preferences.shelf.create("scenes")


def test_other_weights_need_no_scoring_and_write_no_pairs(preferences: Preferences, prefset: Prefset) -> None:
    score(prefset)
    score(prefset, "opposite", sign=-1.0)
    lines = (prefset.folder / "scores.jsonl").read_bytes()
    both = preferences.building.preview("scenes", {"pairs": "best_worst"})
    one = preferences.building.preview("scenes", {"weights": {"opposite": 0.0}})
    assert (both["winners"], both["ties"]) == (0, 4)  # two scorers that say the opposite agree on nothing
    assert (one["winners"], one["ties"]) == (4, 0)
    assert one["rule"]["weights"] == {"rule": 1.0, "opposite": 0.0}
    assert preferences.building.preview("scenes", {})["rule"] == one["rule"]  # it is kept
    assert not Prefset(prefset.folder).pairs and (prefset.folder / "scores.jsonl").read_bytes() == lines


def test_a_set_without_scores_gets_random_pairs(preferences: Preferences, prefset: Prefset) -> None:
    found = preferences.building.preview("scenes", {})
    assert found["kinds"] == ["random"] and found["rule"]["pairs"] == "random"
    assert preferences.building.build("scenes", {"per_prompt": 2})["unscored"] == 8
    assert preferences.status("scenes")["pairs"] == 8


def test_a_rule_that_cannot_be_is_refused(preferences: Preferences, prefset: Prefset) -> None:
    with pytest.raises(ConfigError, match="share"):
        preferences.building.preview("scenes", {"agree": 2.0})


def test_results_tell_what_can_be_trained(preferences: Preferences, prefset: Prefset) -> None:
    score(prefset)
    pairs = build(prefset, Rule("all", margin=0.0, agree=0.0))
    vote(prefset, "ann", pairs[:6])
    vote(prefset, "bob", pairs[:3])
    people, all_of_it = (preferences.results("scenes", use_scores=scores) for scores in (False, True))
    assert people["usable"]["pairs"] == 6 and all_of_it["usable"]["pairs"] == 12
    assert people["auto"] == 6
    assert [one["votes"] for one in people["annotators"]] == [6, 3]
    assert people["scorers"]["rule"].keys() >= {"share", "low", "high", "n"}
    assert people["scorers"]["rule"]["share"] == 1.0  # people and scorer go by the same rule


def test_settings_of_training_follow_from_the_set(preferences: Preferences, prefset: Prefset) -> None:
    build(prefset)
    vote(prefset)
    found = preferences.training("scenes", use_scores=False)
    assert found["objective.kind"] == "dpo"
    assert found["objective.pairs"] == str(prefset.folder)
    assert found["model.base"] == "sandbox" and found["data.resolution"] == 64
    assert found["objective.label_smoothing"] == 0  # nobody was asked twice
    assert found["objective.sft_lora"] == "" and found["objective.preservation"] == 0


def test_a_preset_for_pairs_of_the_base_says_how_they_are_trained(preferences: Preferences, prefset: Prefset) -> None:
    build(prefset)
    vote(prefset)
    found, preset = preferences.training("scenes", use_scores=False), resolve.load("sandbox-preference")
    assert found["objective.beta"] == preset["objective"]["beta"] and found["noise.shift"] == preset["noise"]["shift"]
    assert found["schedule.max_steps"] == preset["schedule"]["max_steps"]
    assert found["schedule.batch_size"] <= 12  # there are no more pairs


def test_training_builds_on_the_adapter_that_drew_the_pictures(
    preferences: Preferences, prefset: Prefset, tmp_path: Path
) -> None:
    adapter = {"path": str(tmp_path / "style.safetensors"), "hash": "0", "scale": 1.0}
    prompt = next(iter(prefset.prompts))
    data = [f"picture {number}".encode() for number in range(20)]
    prefset.add_pictures(
        Picture(image_id_of(one), prompt, f"images/{n}.png", 64, 64, gen={"base": "sandbox", "adapters": [adapter]})
        for n, one in enumerate(data)
    )
    prefset.add_pairs([make_pair(image_id_of(data[0]), image_id_of(data[1]), prompt, "queue")])
    vote(prefset)
    assert preferences.training("scenes", use_scores=False)["objective.sft_lora"] == adapter["path"]


def test_nothing_decided_is_nothing_to_train_on(preferences: Preferences, prefset: Prefset) -> None:
    build(prefset)
    with pytest.raises(DataError, match="no pair that is decided"):
        preferences.training("scenes", use_scores=False)


def test_scores_stand_in_for_votes_only_when_asked(preferences: Preferences, prefset: Prefset) -> None:
    score(prefset)
    build(prefset, Rule("best_worst"))
    with pytest.raises(DataError):
        preferences.training("scenes", use_scores=False)
    file = Path(preferences.training("scenes", use_scores=True)["objective.pairs"])
    assert {json.loads(line)["source"] for line in file.read_text().splitlines()} == {"scores"}


# ---------------------------------------------------------------- jobs


def test_a_form_that_lacks_its_first_need_has_no_fault(preferences: Preferences, prefset: Prefset) -> None:
    for kind, wants in (("generate", "prompts"), ("score", "scorers"), ("compare", "policy")):
        found = preferences.jobs.check(kind, {}, "scenes")  # type: ignore[arg-type]
        assert (found["wants"], found["errors"]) == (wants, [])


def test_a_job_counts_what_the_set_lacks(preferences: Preferences, prefset: Prefset) -> None:
    texts = [one.prompt for one in prefset.prompts.values()] + ["another"]
    values: dict[str, Any] = {"prompts": {"texts": texts}, "pictures": {"steps": 8, "guidance": 1.0, "per_prompt": 4}}
    found = preferences.jobs.check("generate", values, "scenes")
    assert found["errors"] == []
    assert found["facts"] == {"prompts": 5, "there": 12, "to_do": 4 * 1 + 4}
    other_steps = {**values, "pictures": {"steps": 9, "per_prompt": 4}}
    assert preferences.jobs.check("generate", other_steps, "scenes")["facts"]["to_do"] == 20
    assert preferences.jobs.check("score", {"scorers": {"names": ["sandbox"]}}, "scenes")["facts"]["to_do"] == 12


def test_faults_are_told_by_field(preferences: Preferences, prefset: Prefset) -> None:
    found = preferences.jobs.check("generate", {"prompts": {"texts": ["a"]}, "pictures": {"width": 65}}, "scenes")
    assert [one["field"] for one in found["errors"]] == ["pictures.width"]
    with pytest.raises(DataError):
        preferences.jobs.check("generate", {"prompts": {"texts": ["a"]}}, "nowhere")


def test_a_started_job_waits_in_the_queue_and_belongs_to_its_set(
    studio: Studio, preferences: Preferences, prefset: Prefset, data: Path
) -> None:
    make_set(data / "preferences" / "other", prompts=1)
    studio.start()
    started = preferences.jobs.start("generate", {"prompts": {"texts": ["a", "b"]}}, "scenes")
    assert started["errors"] == []
    run = studio.run_dir(started["run"])
    assert run is not None and f'folder = "{prefset.folder}"' in run.config.read_text()
    assert run.path.parent == data / "runs"
    job = preferences.status("scenes")["jobs"]["generate"]
    assert job["run"] == started["run"] and job["kind"] == "generate"
    assert preferences.status("other")["jobs"]["generate"] is None
    assert preferences.jobs.find(started["run"])["set"] == "scenes"
    again = preferences.jobs.start("generate", {"prompts": {"texts": ["a"]}, "run": {"name": run.path.name}}, "scenes")
    assert again["errors"][0]["field"] == "run.name"
    stop(studio, started["run"])


def stop(studio: Studio, run_id: str) -> None:
    """The worker that hears nothing."""
    worker = studio._supervisor._jobs[run_id].worker
    for _ in range(100):
        worker = studio._supervisor._jobs[run_id].worker
        if worker is not None:
            break
        time.sleep(0.05)
    assert worker is not None
    worker.kill()


def test_pictures_of_a_comparison_lie_beside_the_set(preferences: Preferences, prefset: Prefset, data: Path) -> None:
    folder = preferences.jobs._folder("compare", "scenes")
    assert folder == data / "preferences" / "scenes-proof"
    assert preferences.jobs._folder("generate", "scenes") == prefset.folder


def test_a_comparison_is_told_with_scores_and_votes_as_they_are_now(
    studio: Studio, preferences: Preferences, prefset: Prefset, data: Path
) -> None:
    run = RunDir(data / "runs" / "compare-1")
    beside = make_comparison(run, data / "preferences" / "scenes-proof", "/somewhere/new.safetensors")
    studio._supervisor.discover()
    assert [one[1:] for one in preferences.status("scenes")["comparisons"]] == [[1.0, 12]]
    (found,) = preferences.proof("scenes")["comparisons"]
    assert (found["result"]["policy"], found["result"]["reference"], found["set"]) == ("new", "", "scenes-proof")
    assert found["result"]["human"] is None
    vote(beside, "ann")
    (found,) = preferences.proof("scenes")["comparisons"]
    assert found["result"]["human"]["n"] == 12


def test_pictures_of_a_comparison_stand_side_by_side(
    studio: Studio, preferences: Preferences, prefset: Prefset, data: Path
) -> None:
    make_comparison(RunDir(data / "runs" / "compare-1"), data / "preferences" / "scenes-proof", "/x.safetensors")
    studio._supervisor.discover()
    rows = preferences.samples(studio.runs()[0].id)
    assert len(rows) == 12 and rows[0]["prompt"] == "something new, number 0"
    for role in ("reference", "policy"):
        files = [preferences.shelf.shown("scenes-proof", Path(row[role][1]).name)[0] for row in rows]
        assert len(set(files)) == 12 and all(file.stem.endswith(role) for file in files)
    with pytest.raises(DataError):
        preferences.samples("nothing")


def test_a_comparison_of_a_trained_run_is_found_wherever_its_pictures_lie(
    studio: Studio, preferences: Preferences, prefset: Prefset, data: Path
) -> None:
    trained = RunDir(data / "runs" / "trained")
    trained.create(f'[objective]\nkind = "dpo"\npairs = "{prefset.folder}/export/pairs-1.train.jsonl"\n')
    policy = str(trained.path / "trained.safetensors")
    make_comparison(RunDir(data / "runs" / "compare-1"), data / "preferences" / "elsewhere-proof", policy)
    studio._supervisor.discover()
    assert len(preferences.status("scenes")["comparisons"]) == 1


def test_drafts_of_jobs_are_kept_by_set_and_prompts_do_not_wander(preferences: Preferences) -> None:
    drafts = preferences.drafts
    drafts.save("one", "generate", {"prompts": {"texts": ["mine"]}, "pictures": {"steps": 9}})
    assert drafts.load("one", "generate")["prompts"] == {"texts": ["mine"]}
    assert drafts.load("two", "generate") == {"pictures": {"steps": 9}}
    assert drafts.load("one", "score") == {}


def test_an_import_goes_on_in_the_background_and_says_what_came(
    preferences: Preferences, prefset: Prefset, tmp_path: Path
) -> None:
    build(prefset)
    vote(prefset)
    preferences.imports.start(str(prefset.folder), "copy")
    end = time.monotonic() + 20
    while preferences.imports.state()["state"] == "running" and time.monotonic() < end:
        time.sleep(0.02)
    found = preferences.imports.state()
    assert found["state"] == "done", found
    assert (found["came"]["pictures"], found["came"]["votes"]) == (12, 12)
    assert preferences.status("copy")["votes"] == 12
    with pytest.raises(DataError):
        preferences.imports.start(str(tmp_path / "nothing"), "copy")
