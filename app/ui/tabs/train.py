"""The tab for a first run: seven fields in three steps, and the plan that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.ui import forms
from app.ui.texts import Texts
from app.ui.widgets.drop import LIMITS
from app.ui.widgets.field import control, element_id
from app.ui.widgets.live import live
from app.ui.widgets.markup import step_heading, tab_heading
from trainers.parameters import by_path


@dataclass(frozen=True)
class TrainTab:
    """fields: dotted path -> text control; goal and quality stand for several parameters each."""

    fields: dict[str, Component]
    goal: gr.Radio
    quality: gr.Radio
    start: gr.Button

    def controls(self) -> list[Component]:
        return [*self.fields.values(), self.goal, self.quality]


@dataclass(frozen=True)
class Pictures:
    """What the first step asks the server: to take dropped files, and for thumbnails of the draft's folder."""

    add: Callable[[Any], Any]
    strip: Callable[[Any], Any]


@dataclass(frozen=True)
class Models:
    """What the second step shows of base models: records of the cards, and the files of the chosen one."""

    cards: list[dict[str, Any]]
    parts: Callable[[Any], Any]


def build(texts: Texts, values: forms.Values, preset: forms.Values, models: Models, pictures: Pictures) -> TrainTab:

    def text(path: str, **changes: object) -> Component:
        return control(by_path()[path], texts, forms.get(values, path), "t", **changes)

    fields: dict[str, Component] = {}
    with gr.Row(elem_classes=["columns"]):
        with gr.Column(elem_classes=["main"], min_width=0):
            tab_heading(texts("train.title"), texts("train.subtitle"))
            with gr.Column(elem_classes=["step"]):
                step_heading(1, texts("train.pictures"), texts("train.pictures.note"))
                with gr.Row(elem_classes=["pair", "sources"]):
                    fields["data.folder"] = text("data.folder")
                    live("drop", texts, "drop.", value=LIMITS, functions=[pictures.add])
                live("strip", texts, "strip.", functions=[pictures.strip])
            with gr.Column(elem_classes=["step"]):
                step_heading(2, texts("train.model"), texts("train.model.note"))
                live("models", texts, "models.", value=models.cards)
                fields["model.base"] = text("model.base", label=texts("parts.own"), info=texts("parts.own_note"))
                live("parts", texts, "parts.", functions=[models.parts])
                with gr.Row(elem_classes=["pair"]):
                    goal = gr.Radio(
                        [(texts(f"goal.{name}"), name) for name in forms.GOALS],
                        value=forms.goal_of(values),
                        label=texts("train.goal"),
                        info=texts("train.goal.note"),
                        elem_id="t-goal",
                        elem_classes=["field", "segments"],
                        min_width=0,
                    )
                    fields["captions.trigger"] = text("captions.trigger")
                quality = gr.Radio(
                    [(texts(f"quality.{name}"), name) for name in forms.QUALITIES],
                    value=forms.quality_of(values, preset),
                    label=texts("train.quality"),
                    info=texts("train.quality.note"),
                    elem_id=element_id("t", "schedule.max_steps"),
                    elem_classes=["field", "segments"],
                    min_width=0,
                )
            with gr.Column(elem_classes=["step"]):
                step_heading(3, texts("train.preview"), texts("train.preview.note"))
                fields["sample.prompts"] = text("sample.prompts")
                fields["run.name"] = text("run.name")
        with gr.Column(elem_classes=["side"], min_width=0):
            live("plan", texts, "plan.")
            start = gr.Button(texts("start"), variant="primary", elem_id="t-start", elem_classes=["start"])
            gr.Button(texts("train.open_expert"), elem_id="t-open-expert", elem_classes=["quiet"]).click(
                None, js="() => window.atelier.go('expert')"
            )
    return TrainTab(fields, goal, quality, start)
