"""Trials of a run as the page asks for them: what is refused, what is listed, and that training comes first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

from app.services import files
from app.services.studio import Studio
from app.services.trials import SWEEP, TrialInfo, trial_of
from app.ui.tabs.runs import of_trials
from app.web import create_app
from tests.test_services import MACHINE, make_pictures, start, wait_state
from tests.test_supervisor import FAKE, wait_for
from trainers.errors import AtelierError, ConfigError
from trainers.rundir import RunDir, worker_info
from trainers.trials import TrialFolder

TESTER = [sys.executable, "-m", "tests.fake_tester"]
SETTINGS: dict[str, Any] = {
    "prompt": "a dog",
    "negative": "",
    "seed": 1,
    "steps": 2,
    "guidance": 1,
    "width": 64,
    "height": 64,
    "strengths": [0, 1],
}


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "FluxPipeline"}', encoding="utf-8")
    pictures = make_pictures(tmp_path / "pictures")
    return {
        "run": {"name": "dog"},
        "model": {"base": str(model)},
        "data": {"folder": str(pictures), "resolution": 64},
        "sample": {"prompts": ["a wuzzle"]},
        "schedule": {"max_steps": 20},
    }


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    made: list[Studio] = []

    def studio(mode: str = "ok") -> Studio:
        data = tmp_path / "data"
        made.append(Studio(data, machine=MACHINE, worker_command=[*FAKE, mode], tester_command=TESTER))
        made[-1].start()
        return made[-1]

    yield studio
    for one in made:
        one.close()
    for file in tmp_path.glob("data/runs/**/worker.json"):
        info = worker_info(RunDir(file.parent))
        if info and info.alive:
            psutil.Process(info.pid).kill()


@pytest.fixture
def studio(make: Callable[..., Studio]) -> Studio:
    return make()


@pytest.fixture
def run_id(studio: Studio, values: dict[str, Any]) -> str:
    """A run that has its file."""
    started = start(studio, values)
    wait_state(studio, started, "done")
    return started


def functions(studio: Studio) -> dict[str, Callable[..., Any]]:
    return {function.__name__: function for function in of_trials(studio)}


def trials(studio: Studio, run_id: str) -> list[TrialInfo]:
    return studio.trials.newest(run_id)


def ask(studio: Studio, run_id: str, **changes: Any) -> str:
    return studio.trials.ask(run_id, trial_of({**SETTINGS, **changes}))


def wait_trial(studio: Studio, run_id: str, *states: str) -> TrialInfo:
    wait_for(lambda: trials(studio, run_id)[0].state in states, f"{states}")
    return trials(studio, run_id)[0]


def test_the_form_begins_with_what_the_run_says(studio: Studio, run_id: str) -> None:
    panel = studio.trials.panel(run_id)
    assert panel and (panel.prompt, panel.width, panel.multiple, panel.guided) == ("a wuzzle", 64, 16, False)
    assert panel.strengths == SWEEP and studio.trials.panel("unknown") is None


def test_a_run_without_a_file_has_no_form(studio: Studio, run_id: str) -> None:
    run = studio.run_dir(run_id)
    assert run
    run.adapter("dog").unlink()
    assert studio.trials.panel(run_id) is None
    with pytest.raises(AtelierError, match="has no adapter file"):
        ask(studio, run_id)


def test_a_trial_is_listed_from_the_moment_it_is_asked_for(studio: Studio, run_id: str) -> None:
    ask(studio, run_id)
    first = trials(studio, run_id)[0]
    assert first.settings.prompt == "a dog" and [one.strength for one in first.pictures] == [0, 1]
    done = wait_trial(studio, run_id, "done")
    assert all(one.url and one.thumb_url for one in done.pictures)
    wait_for(lambda: trials(studio, run_id)[0].sheet_url, "the sheet")


def test_trials_survive_a_restart_newest_first(make: Callable[..., Studio], values: dict[str, Any]) -> None:
    first = make()
    run_id = start(first, values)
    wait_state(first, run_id, "done")
    ids = []
    for prompt in ("one", "two"):
        ids.append(ask(first, run_id, prompt=prompt))
        wait_trial(first, run_id, "done")
    first.close()
    again = make()
    assert [(one.id, one.state) for one in trials(again, run_id)] == [(ids[1], "done"), (ids[0], "done")]
    assert again.trials.poll(run_id)["tester"] == "on", "the process lives on"


def test_the_page_learns_what_went_wrong(studio: Studio, run_id: str) -> None:
    ask(studio, run_id, prompt="fail")
    failed = wait_trial(studio, run_id, "failed")
    assert (failed.message, failed.hint) == ("It cannot be drawn.", "Ask for something else.")
    assert studio.trials.poll(run_id)["tester"] == "on"


def test_a_trial_whose_process_died_can_be_asked_for_again(studio: Studio, run_id: str) -> None:
    trial_id = ask(studio, run_id, prompt="slow", strengths=[0, 0.5, 1])
    wait_for(lambda: trials(studio, run_id)[0].pictures[0].url, "the first picture")
    info = worker_info(TrialFolder(RunDir(studio.data_dir / "runs" / "dog")).desk)
    assert info
    psutil.Process(info.pid).kill()
    wait_for(lambda: studio.trials.poll(run_id)["tester"] == "gone", "the end of the process")
    assert trials(studio, run_id)[0].state == "open"
    studio.trials.again(run_id, trial_id)
    assert trials(studio, run_id)[0].state in ("waiting", "loading", "drawing")
    wait_trial(studio, run_id, "done")


def test_what_an_earlier_process_left_is_not_taken_for_work_of_this_one(studio: Studio, run_id: str) -> None:
    ask(studio, run_id, prompt="die")
    wait_for(lambda: studio.trials.poll(run_id)["tester"] == "gone", "the end of the process")
    ask(studio, run_id)
    wait_trial(studio, run_id, "done")
    assert [one.state for one in trials(studio, run_id)] == ["done", "open"]


def test_a_deleted_trial_leaves_nothing(studio: Studio, run_id: str) -> None:
    trial_id = ask(studio, run_id)
    wait_for(lambda: trials(studio, run_id)[0].sheet_url, "the sheet")
    studio.trials.delete(run_id, trial_id)
    assert trials(studio, run_id) == []
    assert not list((studio.data_dir / "runs" / "dog" / "trials").glob(f"{trial_id}*"))
    with pytest.raises(AtelierError, match="gone already"):
        studio.trials.delete(run_id, trial_id)


def test_a_run_that_starts_gets_the_memory(
    make: Callable[..., Studio], values: dict[str, Any], studio: Studio, run_id: str
) -> None:
    ask(studio, run_id)
    wait_trial(studio, run_id, "done")
    studio.close()
    slow = make("slow")
    assert slow.trials.poll(run_id)["tester"] == "on"
    training = start(slow, {**values, "run": {"name": "cat"}})
    wait_state(slow, training, "running")
    assert slow.trials.poll(run_id) | {"mark": 0} == {"mark": 0, "tester": "off", "busy": True, "why": ""}
    with pytest.raises(AtelierError, match="A run is training"):
        ask(slow, run_id)
    assert len(trials(slow, run_id)) == 1, "what was refused leaves nothing"
    slow.command(training, "stop")
    wait_state(slow, training, "stopped")
    ask(slow, run_id)


def test_a_deleted_run_takes_its_process_along(studio: Studio, run_id: str) -> None:
    ask(studio, run_id)
    wait_trial(studio, run_id, "done")
    info = worker_info(TrialFolder(RunDir(studio.data_dir / "runs" / "dog")).desk)
    studio.delete_run(run_id)
    assert info and not (psutil.pid_exists(info.pid) and psutil.Process(info.pid).status() != psutil.STATUS_ZOMBIE)
    assert not (studio.data_dir / "runs" / "dog").exists()


# ------------------------------------------------------------------ what comes from the network


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": 1},
        {"prompt": None},
        {"seed": "1"},
        {"seed": 1.5},
        {"seed": True},
        {"steps": None},
        {"strengths": "0, 1"},
        {"strengths": [True]},
        {"strengths": [[0]]},
        {"guidance": float("nan")},
        {"width": 64.5},
        {"more": 1},
        {"asked": "now"},
    ],
)
def test_settings_of_a_wrong_type_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        trial_of({**SETTINGS, **change})


@pytest.mark.parametrize("settings", [None, [], "x", 1, {}])
def test_settings_that_are_no_record_are_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match="validation error"):
        trial_of(settings)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "x" * 4001},
        {"seed": -1},
        {"seed": 1 << 32},
        {"steps": 0},
        {"steps": 201},
        {"strengths": []},
        {"strengths": [0] * 13},
        {"strengths": [5]},
        {"guidance": 51},
        {"width": 0},
        {"height": 5000},
    ],
)
def test_numbers_out_of_bounds_are_told_in_a_sentence(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(change))}: "):
        trial_of({**SETTINGS, **change})


def test_a_size_that_the_family_cannot_draw_is_told(studio: Studio, run_id: str) -> None:
    answer = functions(studio)["test_draw"]([run_id, {**SETTINGS, "width": 70}])
    assert answer == {"error": "70 is not a multiple of 16. Use 64."} and trials(studio, run_id) == []


@pytest.mark.parametrize("bad", [None, 1, [], {}, "x" * 201])
def test_functions_of_a_run_take_nothing_but_its_name(studio: Studio, bad: Any) -> None:
    for name in ("test_panel", "test_poll", "test_list", "test_stop"):
        with pytest.raises(ValueError, match="short text"):
            functions(studio)[name](bad)


@pytest.mark.parametrize("bad", [None, "x", ["run"], ["run", 1], ["run", "../x"], ["run", "A" * 12], {"run": "x"}])
def test_functions_of_a_trial_take_nothing_but_ids(studio: Studio, bad: Any) -> None:
    for name in ("test_again", "test_delete"):
        with pytest.raises(ValueError, match=r"twelve letters|2 values"):
            functions(studio)[name](bad)


def test_unknown_runs_and_trials_are_told(studio: Studio) -> None:
    asked = functions(studio)
    assert asked["test_panel"]("nothing") is None and asked["test_list"]("nothing") == []
    assert asked["test_poll"]("nothing")["tester"] == "off"
    assert "no adapter file" in asked["test_draw"](["nothing", SETTINGS])["error"]
    assert "gone already" in asked["test_delete"](["nothing", "0" * 12])["error"]


def test_only_pictures_of_trials_are_served(studio: Studio, run_id: str) -> None:
    ask(studio, run_id)
    done = wait_trial(studio, run_id, "done")
    client = TestClient(create_app(studio), base_url="http://127.0.0.1")  # not entered: it would close the studio
    for url in (done.pictures[0].url, done.pictures[0].thumb_url):
        answer = client.get(url)
        assert answer.status_code == 200 and answer.headers["content-type"] in ("image/png", "image/webp")
    base = f"/file/trial/{run_id}"
    for name in ("events.jsonl", f"{done.id}.json", "worker.log", "..", "none.png"):
        assert client.get(f"{base}/{name}").status_code != 200, name
    assert client.get(f"/file/trial/other/{Path(done.pictures[0].url).name}").status_code == 404
    run = studio.run_dir(run_id)
    assert run and (run.samples / "step-000000-0.png").is_file()
    with pytest.raises(FileNotFoundError):
        files.trial(run, "../samples/step-000000-0.png")


def test_addresses_change_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    first = files.trial_urls("run", path)
    path.touch()
    assert files.trial_urls("run", path) != first and files.trial_urls("run", tmp_path / "no.png")[0].endswith("?v=0")
