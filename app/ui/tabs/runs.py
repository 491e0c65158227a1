"""The tab with every run: the list, and one run live. All of it comes from the studio, so it outlives page and app."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.services.trials import trial_of
from app.ui import asked
from app.ui.answers import answer, done
from app.ui.texts import Texts
from app.ui.widgets.live import live
from trainers.trials import ID

if TYPE_CHECKING:
    from app.services.studio import Started, Studio

COMMANDS = ("stop", "save", "sample", "pause", "resume")


def build(studio: Studio, texts: Texts) -> None:
    with gr.Row(elem_classes=["columns", "runs"]):
        with gr.Column(elem_classes=["list"], min_width=0):
            live("runlist", texts, "runs.", "state.", functions=[_list(studio)])
        with gr.Column(elem_classes=["main"], min_width=0):
            live(
                "rundetail",
                texts,
                "runs.",
                "state.",
                "run.",
                "plot.",
                "phase.",
                "measured.",
                "alarm.",
                "test.",
                functions=[*server_functions(studio), *of_trials(studio)],
            )


def _list(studio: Studio) -> Callable[[Any], list[dict[str, Any]]]:
    def runs(query: Any) -> list[dict[str, Any]]:
        text = query if isinstance(query, str) else ""
        return [dataclasses.asdict(run) for run in studio.runs(search=text[:200])]

    return runs


def server_functions(studio: Studio) -> list[Callable[..., Any]]:
    """What the page may ask of a run. Every argument comes from the network, so its type is checked."""

    def detail(run_id: Any) -> dict[str, Any] | None:
        found = studio.run(asked.run(run_id))
        return dataclasses.asdict(found) if found else None

    def poll(request: Any) -> dict[str, Any]:
        run_id, cursor = asked.parts(request, 2)
        return studio.poll(asked.run(run_id), asked.count(cursor))

    def samples(run_id: Any) -> list[dict[str, Any]]:
        return [dataclasses.asdict(sample) for sample in studio.samples(asked.run(run_id))]

    def use(run_id: Any) -> list[list[float | None]]:
        return studio.use(asked.run(run_id))

    def log(request: Any) -> dict[str, Any]:
        run_id, offset = asked.parts(request, 2)
        return studio.log(asked.run(run_id), asked.count(offset))

    def command(request: Any) -> dict[str, Any]:
        run_id, name = asked.parts(request, 2)
        if name not in COMMANDS:
            raise ValueError(f"unknown command {name!r}")
        return answer(lambda: {"toast": studio.command(asked.run(run_id), name)})

    def resume(run_id: Any) -> dict[str, Any]:
        return started_record(studio.resume_run(asked.run(run_id)))

    def cancel(run_id: Any) -> dict[str, Any]:
        return answer(lambda: {"toast": studio.cancel(asked.run(run_id)) or ""})

    def delete(request: Any) -> dict[str, Any]:
        """Deletes only when the run's name is sent along, as the dialog does: a stray call does no harm."""
        run_id, name = asked.parts(request, 2)
        found = studio.run(asked.run(run_id))
        if found is None or found.summary.name != name:
            return {"error": "the name does not match; nothing was deleted."}
        return answer(lambda: {"toast": studio.delete_run(run_id)})

    return [detail, poll, samples, use, log, command, resume, cancel, delete]


def of_trials(studio: Studio) -> list[Callable[..., Any]]:
    """What the page may ask of the adapter of a run. Every argument comes from the network, so its type is checked."""
    trials = studio.trials

    def test_panel(run_id: Any) -> dict[str, Any] | None:
        found = trials.panel(asked.run(run_id))
        return dataclasses.asdict(found) if found else None

    def test_poll(run_id: Any) -> dict[str, Any]:
        return trials.poll(asked.run(run_id))

    def test_list(run_id: Any) -> list[dict[str, Any]]:
        return [
            dataclasses.asdict(found) | {"settings": found.settings.model_dump()}
            for found in trials.newest(asked.run(run_id))
        ]

    def test_draw(request: Any) -> dict[str, Any]:
        run_id, settings = asked.parts(request, 2)
        return answer(lambda: {"toast": trials.ask(asked.run(run_id), trial_of(settings))})

    def test_again(request: Any) -> dict[str, Any]:
        run_id, trial_id = asked.parts(request, 2)
        return done(lambda: trials.again(asked.run(run_id), _trial(trial_id)))

    def test_delete(request: Any) -> dict[str, Any]:
        run_id, trial_id = asked.parts(request, 2)
        return done(lambda: trials.delete(asked.run(run_id), _trial(trial_id)))

    def test_stop(run_id: Any) -> dict[str, Any]:
        return done(lambda: trials.stop(asked.run(run_id)))

    return [test_panel, test_poll, test_list, test_draw, test_again, test_delete, test_stop]


def started_record(started: Started) -> dict[str, Any]:
    return {"run": started.run_id, "error": " ".join(error.message for error in started.errors)}


def _trial(value: Any) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise ValueError("a test is named by twelve letters")
    return value
