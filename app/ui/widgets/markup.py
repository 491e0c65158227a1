"""Fixed pieces of markup. Every text in them is escaped; nothing a user types comes here."""

from __future__ import annotations

from html import escape

import gradio as gr


def fixed(markup: str, *classes: str) -> gr.HTML:
    """Markup that never changes and runs no script."""
    return gr.HTML(markup, js_on_load=None, apply_default_css=False, elem_classes=["at-host", *classes])


def tab_heading(title: str, subtitle: str) -> gr.HTML:
    return fixed(f"<header class='tab-heading'><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>")


def step_heading(number: int, title: str, note: str) -> gr.HTML:
    return fixed(f"<header class='step-heading'><b>{number}</b><h2>{escape(title)}</h2><p>{escape(note)}</p></header>")


def group_heading(section: str, title: str, note: str, reset: str) -> gr.HTML:
    """Head of a section of the expert form; `assets/js/expert.js` folds, counts and resets by its data attributes."""
    name = escape(section)
    return fixed(
        f"<header class='group-heading' data-section='{name}'>"
        f"<button type='button' class='fold' data-fold='{name}' aria-expanded='true'><h2>{escape(title)}</h2></button>"
        f"<p>{escape(note)}</p><span class='count' data-count='{name}'></span>"
        f"<button type='button' class='link' data-reset='{name}' hidden>{escape(reset)}</button></header>"
    )
