"""The tab with every parameter, made from `trainers.parameters`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.ui import forms
from app.ui.texts import Texts
from app.ui.widgets.field import control
from app.ui.widgets.live import live
from app.ui.widgets.markup import fixed, group_heading
from trainers.parameters import parameters, sections


@dataclass(frozen=True)
class ExpertTab:
    """fields: dotted path -> control, for every parameter."""

    fields: dict[str, Component]
    preset: gr.Dropdown
    start: gr.Button


def build(texts: Texts, values: forms.Values, preset: str, presets: list[tuple[str, str]]) -> ExpertTab:
    """presets: (title, name) of each that can be chosen."""
    fields: dict[str, Component] = {}
    with gr.Row(elem_classes=["columns", "expert"]):
        with gr.Column(elem_classes=["groups"], min_width=0):
            live("groups", texts, "expert.", value=_groups(texts), functions=[_search(texts)])
        with gr.Column(elem_classes=["main"], min_width=0):
            chosen = gr.Dropdown(
                presets,
                value=preset,
                label=texts("expert.preset"),
                info=texts("expert.preset.note"),
                elem_id="x-preset",
                elem_classes=["field", "preset"],
                min_width=0,
            )
            for section in sections():
                with gr.Column(elem_id=f"g-{section}", elem_classes=["group"]):
                    title = texts(f"group.{section}")
                    group_heading(section, title, texts.section(section), texts("expert.reset_group"))
                    with gr.Column(elem_classes=["grid"]):
                        for parameter in (p for p in parameters() if p.section == section):
                            value = forms.get(values, parameter.path)
                            fields[parameter.path] = control(parameter, texts, value, "x")
            fixed(f"<p class='nothing'>{texts('expert.nothing')}</p>", "no-hits")
        with gr.Column(elem_classes=["side"], min_width=0):
            live("toml", texts, "toml.")
            start = gr.Button(texts("start"), variant="primary", elem_id="x-start", elem_classes=["start"])
    return ExpertTab(fields, chosen, start)


def _groups(texts: Texts) -> list[dict[str, str]]:
    return [{"section": section, "title": texts(f"group.{section}")} for section in sections()]


def _search(texts: Texts) -> Callable[[Any], list[str]]:
    def search(query: Any) -> list[str]:
        """Paths that the query finds. A server function takes whatever the network sends."""
        return forms.search(query[:200], texts) if isinstance(query, str) else []

    return search
