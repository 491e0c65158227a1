"""What the page may ask of captioning, with real worker processes whose captioner needs no model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.studio import Studio
from captioners.catalog import CAPTIONERS
from captioners.config import CaptionConfig
from captioners.resolve import load
from tests.fake_captioner import CANNOT_LOAD, DIES
from tests.stub_server import StubServer
from tests.test_caption_job import draw
from trainers.errors import AtelierError, ConfigError, DataError
from trainers.machine import Machine
from trainers.parameters import by_path
from trainers.rundir import RunDir, worker_info

COUNT = 8
PATIENCE_S = 20.0
SLOW = {"run": {"seed": 100}, "captioner": {"batch_size": 1}}
CARD = Machine("cuda", "a card", 12.0, 32.0, 8, bf16=True)


def open_studio(data: Path, machine: Machine | None = None) -> Studio:
    fake = [sys.executable, "-m", "tests.fake_captioner"]
    worker = [sys.executable, "-m", "tests.fake_worker", "ok"]
    studio = Studio(data, machine=machine, worker_command=worker, caption_command=fake)
    studio.start()
    return studio


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    draw(tmp_path / "datasets" / "scenes", COUNT)
    return tmp_path


@pytest.fixture
def studio(data: Path) -> Iterator[Studio]:
    studio = open_studio(data)
    yield studio
    studio.close()


def set_id(studio: Studio) -> str:
    return str(studio.gallery.sets()[0]["id"])


def texts(data: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in sorted((data / "datasets" / "scenes").glob("*.txt"))}


def wait(ask: Callable[[], Any], until: Callable[[Any], Any]) -> Any:
    """The first answer that will do."""
    due = time.monotonic() + PATIENCE_S
    while not until(answer := ask()):
        assert time.monotonic() < due, answer
        time.sleep(0.02)
    return answer


def started(studio: Studio, values: dict[str, Any], then_train: bool = False) -> str:
    answer = studio.captioning.start(values, set_id(studio), then_train)
    assert answer["errors"] == []
    return str(answer["run"])


def ended(studio: Studio, run: str, state: str = "done") -> dict[str, Any]:
    poll = wait(
        lambda: studio.captioning.poll(run, 0),
        lambda poll: poll["state"] not in ("queued", "starting", "running", "stopping"),
    )
    assert poll["state"] == state, poll
    return dict(poll)


def test_a_job_writes_captions_that_the_page_sees(studio: Studio, data: Path) -> None:
    sets = set_id(studio)
    wait(lambda: studio.gallery.open(sets), lambda status: status["ready"])
    assert studio.gallery.open(sets)["counts"]["no_caption"] == COUNT
    run = started(studio, {"captioner": {"batch_size": 3}, "policy": {"trigger": "scene"}})
    poll = ended(studio, run)
    assert (poll["done"], poll["written"], poll["skipped"], poll["failed"]) == (COUNT, COUNT, 0, 0)
    assert poll["summary"] == f"written {COUNT}, skipped 0, failed 0" and poll["set"] == sets
    assert [item[2] for item in poll["items"]] == ["written"] * COUNT
    assert all(text.startswith("scene, a ") for text in texts(data).values()) and len(texts(data)) == COUNT
    # what another process wrote is what the tab Data shows, without being read again
    assert studio.gallery.open(sets)["counts"]["no_caption"] == 0
    pid, name = poll["items"][0][:2]
    assert studio.gallery.detail(sets, pid)["caption"] == texts(data)[Path(name).stem]
    written = studio.captioning.written(sets, pid)
    assert (written["captioner"], written["edited"], written["run"]) == (
        "sandbox",
        False,
        Path(studio.run(run).path).name,
    )  # type: ignore[union-attr]
    assert studio.captioning.latest(sets) == {"run": run} and studio.captioning.latest("0" * 12) == {"run": ""}
    summary = studio.run(run).summary  # type: ignore[union-attr]
    assert (summary.kind, summary.model, summary.step, summary.total) == ("caption", "sandbox", COUNT, COUNT)


def test_a_page_gathers_every_picture_by_its_cursor(studio: Studio) -> None:
    run = started(studio, SLOW)
    seen: list[str] = []

    def ask() -> dict[str, Any]:
        poll = studio.captioning.poll(run, len(seen))
        assert poll["from"] == len(seen)
        seen.extend(item[1] for item in poll["items"])
        return poll

    wait(ask, lambda poll: poll["state"] == "done" and not poll["more"] and len(seen) == poll["n"])
    assert seen == [f"p{number:02}.png" for number in range(COUNT)]
    assert studio.captioning.poll(run, 99)["from"] == 0
    assert studio.captioning.poll("nobody", 0) == {"run": ""}


def test_stop_restart_continue_edit_undo(studio: Studio, data: Path) -> None:
    run = started(studio, SLOW)
    going = wait(lambda: studio.captioning.poll(run, 0), lambda poll: poll["written"] >= 2 and poll["per_s"])
    assert going["state"] == "running" and 0 < going["per_s"] <= 10 and going["eta_s"] is not None
    asked = time.monotonic()
    assert "batch" in studio.command(run, "stop")
    poll = ended(studio, run, "stopped")
    assert time.monotonic() - asked < 3 and poll["resumable"]
    assert "Stopped by you: written" in poll["reason"] and "Resume goes on" in poll["reason"]
    assert poll["written"] == len(texts(data)) < COUNT
    studio.close()

    again = open_studio(data)
    try:
        sets = set_id(again)
        assert again.captioning.latest(sets) == {"run": run}
        assert again.captioning.poll(run, 0)["written"] == len(texts(data))
        assert again.resume_run(run).run_id == run
        poll = ended(again, run)
        assert (poll["written"], poll["done"], poll["n"]) == (COUNT, COUNT, COUNT) and len(texts(data)) == COUNT
        pid = poll["items"][3][0]
        stamp = again.gallery.detail(sets, pid)["stamp"]
        again.gallery.save(sets, pid, "by hand", stamp)
        assert again.captioning.written(sets, pid)["edited"]
        assert again.captioning.poll(run, 0)["can_undo"]
        came = again.captioning.undo(run)
        assert (came["done"], came["skipped"]) == (COUNT - 1, [["p03.txt", "its text was changed meanwhile"]])
        assert texts(data) == {"p03": "by hand"}
        assert again.captioning.poll(run, 0)["undone"] and again.gallery.open(sets)["counts"]["no_caption"] == COUNT - 1
        assert again.captioning.redo(run)["done"] == COUNT - 1 and len(texts(data)) == COUNT
        assert not again.captioning.poll(run, 0)["undone"]
    finally:
        again.close()


def test_a_job_goes_on_when_the_app_is_gone(studio: Studio, data: Path) -> None:
    run = started(studio, SLOW)
    wait(lambda: studio.captioning.poll(run, 0), lambda poll: poll["written"] >= 1)
    studio.close()
    again = open_studio(data)
    try:
        assert again.captioning.poll(run, 0)["state"] == "running"
        assert ended(again, run)["written"] == COUNT
    finally:
        again.close()


def test_a_worker_that_is_killed_loses_the_batch_in_hand_alone(studio: Studio, data: Path) -> None:
    run = started(studio, {"run": {"seed": DIES}, "captioner": {"batch_size": 1}})
    poll = ended(studio, run, "interrupted")
    assert poll["resumable"] and len(texts(data)) == 2 == poll["written"]
    config = Path(studio.run(run).path, "config.toml")  # type: ignore[union-attr]
    config.write_text(config.read_text().replace(f"seed = {DIES}", "seed = 1"))
    studio.resume_run(run)
    assert ended(studio, run)["written"] == COUNT and len(texts(data)) == COUNT


def test_a_model_that_cannot_be_loaded_says_why(studio: Studio) -> None:
    run = started(studio, {"run": {"seed": CANNOT_LOAD}})
    assert ended(studio, run, "failed")["reason"] == "The weights are damaged. Download them again."


def test_a_try_writes_nothing_and_shows_before_and_after(studio: Studio, data: Path) -> None:
    (data / "datasets" / "scenes" / "p01.txt").write_text("old words")
    sets = set_id(studio)
    wait(lambda: studio.gallery.open(sets), lambda status: status["ready"])
    studio.captioning.try_out({"policy": {"prefix": "photo of"}}, sets, [])
    trial = wait(studio.captioning.trial, lambda trial: trial["state"] == "done")
    assert [one["name"] for one in trial["results"]] == ["p00.png", "p01.png", "p02.png"]
    assert [one["before"] for one in trial["results"]] == [None, "old words", None]
    assert all(one["after"] == f"photo of {one['raw']}" and one["thumb"] for one in trial["results"])
    assert texts(data) == {"p01": "old words"} and studio.runs() == []
    pid = trial["results"][1]["pid"]
    studio.captioning.try_out({"policy": {"existing": "append"}}, sets, [pid])
    trial = wait(studio.captioning.trial, lambda trial: trial["state"] == "done" and len(trial["results"]) == 1)
    assert trial["results"][0]["after"].startswith("old words, a ")


def test_a_job_takes_the_place_of_a_try_and_keeps_others_out(studio: Studio) -> None:
    sets = set_id(studio)
    studio.captioning.try_out({"run": {"seed": 900}, "captioner": {"batch_size": 1}}, sets, [])
    trying = wait(lambda: studio.captioning._trial.desk, lambda desk: desk and worker_info(desk))
    run = started(studio, SLOW)
    wait(lambda: studio.captioning.poll(run, 0), lambda poll: poll["written"] >= 1)
    info = worker_info(RunDir(trying.path))
    assert info and not info.alive
    with pytest.raises(AtelierError, match="A run is at work"):
        studio.captioning.try_out({}, sets, [])
    with pytest.raises(AtelierError, match="still at work"):
        studio.captioning.undo(run)
    assert studio.command(run, "pause") == "A captioning job can be stopped and continued."
    studio.command(run, "stop")
    ended(studio, run, "stopped")


def draft_of(data: Path, folder: Path) -> dict[str, Any]:
    """A draft that the fake trainer can run."""
    base = data / "base"
    base.mkdir()
    (base / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    return {
        "run": {"name": "trained"},
        "model": {"base": str(base)},
        "data": {"folder": str(folder), "resolution": 64},
        "schedule": {"max_steps": 5},
        "captions": {"trigger": "scene"},
    }


def test_caption_then_train(studio: Studio, data: Path) -> None:
    studio.save_draft("", draft_of(data, data / "datasets" / "scenes"))
    answer = studio.captioning.start(SLOW, set_id(studio), True)
    assert answer["errors"] == [] and answer["train"]
    assert studio.run(answer["train"]).summary.state == "queued"  # type: ignore[union-attr]
    ended(studio, answer["run"])
    wait(lambda: studio.run(answer["train"]).summary, lambda run: run.state == "done")  # type: ignore[union-attr]


def test_a_training_run_does_not_follow_a_job_that_was_stopped(studio: Studio, data: Path) -> None:
    studio.save_draft("", draft_of(data, data / "datasets" / "scenes"))
    answer = studio.captioning.start(SLOW, set_id(studio), True)
    wait(lambda: studio.captioning.poll(answer["run"], 0), lambda poll: poll["written"] >= 1)
    studio.command(answer["run"], "stop")
    ended(studio, answer["run"], "stopped")
    train = wait(lambda: studio.run(answer["train"]).summary, lambda run: run.state == "interrupted")  # type: ignore[union-attr]
    assert "did not end well" in train.reason and "resume this one" in train.hint
    assert studio.resume_run(answer["train"]).run_id == answer["train"]
    wait(lambda: studio.run(answer["train"]).summary, lambda run: run.state == "done")  # type: ignore[union-attr]


def test_a_draft_of_other_pictures_is_refused_before_anything_starts(studio: Studio, data: Path) -> None:
    studio.save_draft("", draft_of(data, data))
    answer = studio.captioning.start({}, set_id(studio), True)
    assert answer["run"] == "" and answer["errors"][0]["field"] == "data.folder"
    assert studio.runs() == [] and texts(data) == {}


def test_check_tells_what_would_be_done(studio: Studio, data: Path) -> None:
    (data / "datasets" / "scenes" / "p01.txt").write_text("old words")
    (data / "datasets" / "scenes" / "p02.txt").write_text("")
    sets = set_id(studio)
    found = studio.captioning.check({"policy": {"existing": "fill", "prefix": "a b"}}, sets)
    assert found["errors"] == [] and found["blocked"] == ""
    assert found["pictures"] == {"total": COUNT, "captioned": 1, "empty": 1, "to_do": COUNT - 1}
    assert found["command"].startswith("python launch.py caption sandbox ")
    assert "policy.existing=fill 'policy.prefix=a b'" in found["command"]
    assert load(found["toml"]).policy.existing == "fill"
    wait(lambda: studio.gallery.open(sets), lambda status: status["ready"])
    assert studio.captioning.check({"policy": {"existing": "fill"}}, sets)["pictures"] == found["pictures"]
    question = {"captioner": {"name": "qwen3-vl-2b"}, "prompt": {"text": "What is {name}?"}}
    assert studio.captioning.check(question, sets)["prompt"] == "What is p00?"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"captioner": {"name": "florence3"}}, "captioner.name"),
        ({"captioner": {"batch_size": 0}}, "captioner.batch_size"),
        ({"captioner": {"name": "florence2-base"}, "prompt": {"text": "Why?"}}, "prompt.text"),
        ({"captioner": {"name": "florence2-base"}, "prompt": {"task": "poem"}}, "prompt.task"),
        ({"policy": {"existing": "eat"}}, "policy.existing"),
        ({"policy": {"replacements": ["no arrow"]}}, "policy.replacements"),
        ({"nonsense": {"a": 1}}, "nonsense"),
    ],
)
def test_faults_are_told_at_their_field(studio: Studio, values: dict[str, Any], field: str) -> None:
    found = studio.captioning.check(values, set_id(studio))
    assert [error["field"] for error in found["errors"]] == [field]
    assert studio.captioning.start(values, set_id(studio), False)["errors"] == found["errors"]
    assert studio.runs() == []


def test_pictures_that_came_with_the_program_can_be_tried_but_not_captioned(studio: Studio) -> None:
    sets = studio.gallery.id_of("assets/samples")
    studio.save_draft("sandbox", {"data": {"folder": "assets/samples"}})
    assert studio.captioning.check({}, sets)["blocked"] == "These pictures come with Atelier."
    with pytest.raises(DataError, match="come with Atelier"):
        studio.captioning.start({}, sets, False)
    studio.captioning.try_out({}, sets, [])
    trial = wait(studio.captioning.trial, lambda trial: trial["state"] == "done")
    assert len(trial["results"]) == 3 and all(one["before"] for one in trial["results"])


def test_every_captioner_has_a_card_and_a_form(studio: Studio) -> None:
    cards = studio.captioning.cards()
    assert [card["name"] for card in cards] == list(CAPTIONERS)
    for card in cards:
        names = [parameter.path for parameter in studio.captioning.parameters(card["name"])]
        assert "policy.existing" in names and "captioner.name" not in names
        assert set(studio.captioning.choices(card["name"])) <= set(names) <= set(by_path(CaptionConfig))
        assert all(studio.captioning.choices(card["name"]).values())
    sandbox = cards[0]
    assert sandbox["built_in"] and sandbox["here"] and sandbox["fits"] == "yes"


def test_cards_say_what_fits_into_a_card(data: Path) -> None:
    studio = open_studio(data, CARD)
    try:
        fits = {card["name"]: card["fits"] for card in studio.captioning.cards()}
    finally:
        studio.close()
    assert (fits["florence2-large"], fits["joycaption-beta-one"], fits["server"]) == ("yes", "tight", "")


def test_settings_survive_a_restart(studio: Studio, data: Path) -> None:
    values = {"captioner": {"name": "wd-vit"}, "policy": {"trigger": "\u65e0"}}
    assert studio.captioning.draft() == {}
    studio.captioning.save_draft(values)
    again = open_studio(data)
    again.close()
    assert again.captioning.draft() == values
    (data / "settings" / "captioning.json").write_text("{")
    assert again.captioning.draft() == {}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"captioner": {"name": "server"}}, "server.url"),
        ({"captioner": {"name": "server"}, "server": {"url": "ftp://x"}}, "server.url"),
        ({"captioner": {"name": "joycaption-alpha-two-folders"}}, "captioner.source"),
        ({"captioner": {"name": "florence2-base"}}, "captioner.source"),  # not here, and the network is off
        ({"captioner": {"name": "qwen3-vl-2b", "precision": "fp16"}}, "captioner.precision"),
    ],
)
def test_what_would_end_a_job_later_is_told_before_it_starts(
    studio: Studio, values: dict[str, Any], field: str
) -> None:
    found = studio.captioning.check(values, set_id(studio))
    assert [error["field"] for error in found["errors"]] == [field]
    assert found["pictures"]["total"] == COUNT  # the rest of the page stays
    assert studio.captioning.start(values, set_id(studio), False)["errors"] == found["errors"]
    with pytest.raises(ConfigError):
        studio.captioning.try_out(values, set_id(studio), [])
    assert studio.runs() == []


def test_missing_packages_are_told_before_a_job_starts(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captioners.packages.importlib.util.find_spec", lambda name: None)
    errors = studio.captioning.check({"captioner": {"name": "wd-vit"}}, set_id(studio))["errors"]
    assert errors[0]["field"] == "captioner.name" and "requirements-tagger.txt" in errors[0]["message"]
    needs = {card["name"]: card["needs"] for card in studio.captioning.cards()}
    assert needs["wd-vit"] and not needs["sandbox"]
    small = {"captioner": {"name": "joycaption-beta-one", "quantize": "nf4"}}
    errors = studio.captioning.check(small, set_id(studio))["errors"]
    assert errors[0]["field"] == "captioner.quantize" and "requirements-quantize.txt" in errors[0]["message"]


def test_models_of_a_server_are_listed_with_its_own_key(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_SERVER_KEY", "sk-own")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    with StubServer() as server:
        server.models = ["small", "large"]
        assert studio.captioning.server_models(server.url) == ["small", "large"]
        assert [one.headers["Authorization"] for one in server.asked] == ["Bearer sk-own"]
    with pytest.raises(AtelierError, match="cannot be reached"):
        studio.captioning.server_models(server.url)
    with pytest.raises(ConfigError, match="address"):
        studio.captioning.server_models("")


def test_the_page_cannot_choose_which_secret_is_sent(studio: Studio) -> None:
    names = [parameter.path for parameter in studio.captioning.parameters("server")]
    assert "server.url" in names and "server.key_env" not in names
