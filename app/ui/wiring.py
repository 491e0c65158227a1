"""Connects the controls of both forms to the one draft, and draws what a change moved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from app.ui import forms, sets
from app.ui.draft import DraftEditor, Edited
from app.ui.state import describe, errors_by_path
from app.ui.tabs.expert import ExpertTab
from app.ui.tabs.train import TrainTab
from app.ui.texts import Texts
from trainers.errors import AtelierError
from trainers.parameters import by_path

if TYPE_CHECKING:
    from app.services.studio import Studio

ADDING = ("add_set", "add_regularisation")

log = logging.getLogger(__name__)

# The answer comes at once and without a spinner: these events do not wait in Gradio's queue.
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Forms:
    """Both forms over one draft. state: the widget that hands the page what `describe` says."""

    def __init__(
        self, studio: Studio, editor: DraftEditor, texts: Texts, state: gr.HTML, simple: TrainTab, full: ExpertTab
    ) -> None:
        self._studio, self._editor, self._texts = studio, editor, texts
        self._state, self._simple, self._full = state, simple, full
        pairs = [*simple.fields.items(), *full.fields.items()]
        self._paths = {control._id: path for path, control in pairs}

    def connect(self, page: gr.Blocks) -> None:
        """Add the events of every control."""
        for path, field in self._simple.fields.items():
            if path == "model.base":
                self._on_base(field)
            else:
                self._on_edit(path, field, [self._full.fields[path]])
        for path, field in self._full.fields.items():
            self._on_edit(path, field, self._mirrors(path))
        self._on_choice(self._simple.goal, self._editor.choose_goal, self._controls())  # it can bring another preset
        self._on_choice(self._simple.quality, self._editor.choose_quality, [self._full.fields["schedule.max_steps"]])
        self._on_choice(self._full.preset, self._editor.choose_preset, self._controls())
        self._on_start(self._simple.start, self._simple.fields)
        self._on_start(self._full.start, self._full.fields)
        everything = [self._state, *self._controls()]
        self._state.act(self._act, None, everything, **QUIET)
        page.load(self._restore, None, everything, **QUIET)

    def _controls(self) -> list[Component]:
        return [*self._simple.controls(), *self._full.fields.values(), self._full.preset]

    def _mirrors(self, path: str) -> list[Component]:
        """Controls of the beginner's form that show a parameter of the expert's."""
        mirrors: list[Component] = [self._simple.fields[path]] if path in self._simple.fields else []
        if path in forms.GOAL_PATHS:
            mirrors.append(self._simple.goal)
        if path == "schedule.max_steps":
            mirrors.append(self._simple.quality)
        return mirrors

    def _on_edit(self, path: str, field: Component, mirrors: list[Component]) -> None:
        def edit(raw: Any) -> Any:
            edited = self._editor.edit({path: raw})
            if edited.before == edited.after:
                return self._outputs(gr.skip(), [gr.skip()] * len(mirrors))
            return self._outputs(self._describe(edited), self._updates(mirrors, edited))

        # text is taken when the field is left: half a path or half a number should not be checked
        triggers = [field.blur, field.submit] if isinstance(field, gr.Textbox) else [field.input]
        gr.on(triggers, edit, field, [self._state, *mirrors], **QUIET)

    def _on_base(self, field: Component) -> None:
        """A typed base is chosen as by its card: another preset can come with it."""

        def choose(raw: Any) -> Any:
            base, now = forms.parse(by_path()["model.base"], raw), self._editor.current()
            if base == forms.get(now.after, "model.base"):
                return [gr.skip()] * (1 + len(self._controls()))
            edited = self._editor.choose_model(base)
            return [self._describe(edited), *self._updates(self._controls(), edited)]

        gr.on([field.blur, field.submit], choose, field, [self._state, *self._controls()], **QUIET)

    def _on_choice(self, field: Component, choose: Callable[[str], Edited], mirrors: list[Component]) -> None:
        def chosen(name: str) -> Any:
            edited = choose(name)
            return self._outputs(self._describe(edited), self._updates(mirrors, edited))

        field.input(chosen, field, [self._state, *mirrors], **QUIET)

    def _on_start(self, button: gr.Button, fields: Mapping[str, Component]) -> None:
        paths = list(fields)

        def start(*raws: Any) -> dict[str, Any]:
            # the fields themselves: a click can overtake the event of the field that was just left
            edited = self._editor.edit(dict(zip(paths, raws, strict=True)))
            try:
                started = self._studio.start_run(edited.after)
            except AtelierError as error:
                return self._describe(edited, toast=str(error), refused=True)
            if started.run_id is None:
                record = self._describe(edited, refused=True, toast=self._texts("start.refused"))
                return {**record, "errors": errors_by_path(started.errors) | record["errors"]}
            return self._describe(edited, started=started.run_id)

        button.click(start, list(fields.values()), self._state, **QUIET)

    def _act(self, event: gr.EventData) -> list[Any]:
        """What a widget asks for: {"do": name of an act, "value": text}."""
        asked = event._data if isinstance(event._data, dict) else {}
        action, value = asked.get("do"), asked.get("value")
        acts = self._acts()
        if action not in acts or not isinstance(value, str):
            log.warning("the page asked for %r, which does not exist", action)
            return [gr.skip()] * (1 + len(self._controls()))
        try:
            edited = acts[action](value)
        except AtelierError as error:
            edited = self._editor.current()
            return [self._describe(edited, toast=str(error), refused=True), *[gr.skip()] * len(self._controls())]
        toast = self._texts("sets.added", name=Path(value).name) if action in ADDING else ""
        return [self._describe(edited, toast=toast), *self._updates(self._controls(), edited)]

    def _acts(self) -> dict[Any, Callable[[str], Edited]]:
        """The value: a model, a path or section, TOML, JSON of values, a folder, or the line of a data set."""
        editor, words = self._editor, self._texts

        def add(folder: str, *, regularisation: bool) -> Edited:
            return editor.change_sets(lambda now: sets.added(now, folder, regularisation=regularisation, texts=words))

        return {
            "model": editor.choose_model,
            "reset": editor.reset,
            "toml": editor.load_toml,
            "fix": editor.fix,
            "look": lambda _: editor.current(),
            "add_set": partial(add, regularisation=False),
            "add_regularisation": partial(add, regularisation=True),
            "remove_set": lambda line: editor.change_sets(lambda now: sets.without(now, line, words)),
        }

    def _restore(self) -> list[Any]:
        """What the page was not built with. The rest is left alone: a person may be typing there already."""
        edited, controls = self._editor.current(), self._controls()
        pairs = zip(controls, self._updates(controls, edited), strict=True)
        updates = [gr.skip() if update["value"] == control.value else update for control, update in pairs]
        return [self._describe(edited), *updates]

    @staticmethod
    def _outputs(record: Any, updates: list[Any]) -> Any:
        """What a handler returns: Gradio takes a list of one for the value itself."""
        return [record, *updates] if updates else record

    def _describe(self, edited: Edited, **more: Any) -> dict[str, Any]:
        return describe(self._studio, self._editor, edited, self._texts, **more)

    def _updates(self, controls: list[Component], edited: Edited) -> list[Any]:
        """An update for each control with what it holds now."""
        return [gr.update(value=self._content(control, edited.preset, edited.after)) for control in controls]

    def _content(self, control: Component, preset: str, values: forms.Values) -> Any:
        if control is self._full.preset:
            return preset
        if control is self._simple.goal:
            return forms.goal_of(values)
        if control is self._simple.quality:
            return forms.quality_of(values, self._editor.preset(preset))
        path = self._paths[control._id]
        return forms.show(by_path()[path], forms.get(values, path))
