"""The tab with every run: the list, and one run live. All of it comes from the studio, so it outlives page and app."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.services.trials import trial_of
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
        found = studio.run(_text(run_id))
        return dataclasses.asdict(found) if found else None

    def poll(request: Any) -> dict[str, Any]:
        run_id, cursor = _pair(request)
        return studio.poll(_text(run_id), _count(cursor))

    def samples(run_id: Any) -> list[dict[str, Any]]:
        return [dataclasses.asdict(sample) for sample in studio.samples(_text(run_id))]

    def use(run_id: Any) -> list[list[float | None]]:
        return studio.use(_text(run_id))

    def log(request: Any) -> dict[str, Any]:
        run_id, offset = _pair(request)
        return studio.log(_text(run_id), _count(offset))

    def command(request: Any) -> dict[str, Any]:
        run_id, name = _pair(request)
        if name not in COMMANDS:
            raise ValueError(f"unknown command {name!r}")
        return answer(lambda: {"toast": studio.command(_text(run_id), name)})

    def resume(run_id: Any) -> dict[str, Any]:
        return started_record(studio.resume_run(_text(run_id)))

    def cancel(run_id: Any) -> dict[str, Any]:
        return answer(lambda: {"toast": studio.cancel(_text(run_id)) or ""})

    def delete(request: Any) -> dict[str, Any]:
        """Deletes only when the run's name is sent along, as the dialog does: a stray call does no harm."""
        run_id, name = _pair(request)
        found = studio.run(_text(run_id))
        if found is None or found.summary.name != name:
            return {"error": "the name does not match; nothing was deleted."}
        return answer(lambda: {"toast": studio.delete_run(run_id)})

    return [detail, poll, samples, use, log, command, resume, cancel, delete]


def of_trials(studio: Studio) -> list[Callable[..., Any]]:
    """What the page may ask of the adapter of a run. Every argument comes from the network, so its type is checked."""
    trials = studio.trials

    def test_panel(run_id: Any) -> dict[str, Any] | None:
        found = trials.panel(_text(run_id))
        return dataclasses.asdict(found) if found else None

    def test_poll(run_id: Any) -> dict[str, Any]:
        return trials.poll(_text(run_id))

    def test_list(run_id: Any) -> list[dict[str, Any]]:
        return [
            dataclasses.asdict(found) | {"settings": found.settings.model_dump()}
            for found in trials.newest(_text(run_id))
        ]

    def test_draw(request: Any) -> dict[str, Any]:
        run_id, settings = _pair(request)
        return answer(lambda: {"toast": trials.ask(_text(run_id), trial_of(settings))})

    def test_again(request: Any) -> dict[str, Any]:
        run_id, trial_id = _pair(request)
        return done(lambda: trials.again(_text(run_id), _trial(trial_id)))

    def test_delete(request: Any) -> dict[str, Any]:
        run_id, trial_id = _pair(request)
        return done(lambda: trials.delete(_text(run_id), _trial(trial_id)))

    def test_stop(run_id: Any) -> dict[str, Any]:
        return done(lambda: trials.stop(_text(run_id)))

    return [test_panel, test_poll, test_list, test_draw, test_again, test_delete, test_stop]


def started_record(started: Started) -> dict[str, Any]:
    return {"run": started.run_id, "error": " ".join(error.message for error in started.errors)}


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError("a run is named by a short text")
    return value


def _trial(value: Any) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise ValueError("a test is named by twelve letters")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a position is a whole number")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("two values are needed")
    return value[0], value[1]
