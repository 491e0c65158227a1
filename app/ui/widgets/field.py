"""The Gradio control of a parameter."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from app.ui import forms
from app.ui.texts import Texts
from trainers.parameters import Parameter


def control(parameter: Parameter, texts: Texts, value: Any, form: str, **changes: Any) -> Component:
    """The control of a parameter, holding `value`. form: prefix of its element id, as in `x` for `x-adapter-rank`.

    Numbers are text boxes: a number box cannot show 1e-4 or "auto".
    """
    unit = texts.unit(parameter)
    label = texts.label(parameter)
    options: dict[str, Any] = {
        "label": f"{label} ({unit})" if unit and unit.lower() != label.lower() else label,
        "info": texts.help(parameter),
        "value": forms.show(parameter, value),
        "elem_id": element_id(form, parameter.path),
        "elem_classes": ["field", f"field-{parameter.kind}"],
        "min_width": 0,
        **changes,
    }
    if parameter.kind == "bool":
        return gr.Checkbox(**options)
    if parameter.kind == "choice":
        return gr.Dropdown(choices=list(parameter.choices), **options)
    size = {"lines": 3, "max_lines": 6} if parameter.kind == "lines" else {"lines": 1, "max_lines": 1}
    return gr.Textbox(placeholder=str(parameter.default or ""), **size, **options)


def element_id(form: str, path: str) -> str:
    return f"{form}-{path.replace('.', '-')}"
