"""The page: header, rail of tabs, and the wiring of the forms.

For the server:

    app.mount(shell.STATIC_ROUTE, StaticFiles(directory=shell.static_dir()))
    for path, blocks in shell.pages(studio).items():
        gr.mount_gradio_app(app, blocks, path=path, **shell.mount_options())
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.ui import theme
from app.ui.draft import DraftEditor
from app.ui.tabs import captions, dataset, expert, preferences, runs, train
from app.ui.texts import LANGUAGES, Texts, texts
from app.ui.widgets import drop, parts, strip
from app.ui.widgets.live import STATIC_ROUTE, asset_url, live
from app.ui.wiring import Forms
from trainers.paths import ASSETS

if TYPE_CHECKING:
    from app.services.studio import Studio

__all__ = ["STATIC_ROUTE", "build", "mount_options", "pages", "static_dir"]

STYLES = ("atelier", "train", "runs", "dataset", "captions", "preferences", "voting", "storage")


def static_dir() -> Path:
    """The folder that is served at STATIC_ROUTE."""
    return ASSETS


def pages(studio: Studio) -> dict[str, gr.Blocks]:
    """Path -> page, one for each language, in the order to mount them: "/" last, because it takes every path."""
    others = {f"/{language}": build(studio, language) for language in LANGUAGES if language != "en"}
    return {**others, "/": build(studio)}


def build(studio: Studio, language: str = "en") -> gr.Blocks:
    """The page in one language. Reads the studio's draft; the page reads it again whenever it is opened."""
    words = texts(language)
    editor = DraftEditor(studio)
    current = editor.current()
    preset = editor.preset(current.preset)
    presets = [(words.preset(info.title), info.name) for info in studio.presets()] + [(words("expert.no_preset"), "")]

    with gr.Blocks(title="Atelier", analytics_enabled=False, fill_width=True) as page:
        live("header", words, "header.", "state.", "keys.", "tab.", functions=[_header(studio)])
        state = live("state", words, "state.")
        with gr.Tabs(elem_id="rail"):
            with gr.Tab(words("tab.train"), id="train", elem_id="tab-train"):
                asks = train.Pictures(drop.server_function(studio, editor), strip.server_function(studio, editor))
                models = train.Models(_cards(studio, words), parts.server_function(studio, editor))
                simple = train.build(words, current.after, preset, models, asks)
            with gr.Tab(words("tab.expert"), id="expert", elem_id="tab-expert"):
                full = expert.build(words, current.after, current.preset, presets)
            with gr.Tab(words("tab.dataset"), id="dataset", elem_id="tab-dataset"):
                dataset.build(studio, editor, words)
            with gr.Tab(words("tab.captions"), id="captions", elem_id="tab-captions"):
                captions.build(studio, editor, words)
            with gr.Tab(words("tab.preferences"), id="preferences", elem_id="tab-preferences"):
                preferences.build(studio, editor, words)
            with gr.Tab(words("tab.runs"), id="runs", elem_id="tab-runs"):
                runs.build(studio, words)
        Forms(studio, editor, words, state, simple, full).connect(page)
    return page


def _cards(studio: Studio, words: Texts) -> list[dict[str, Any]]:
    notes = {card.name: words.table.get(f"model_note.{card.name}", card.note) for card in studio.models()}
    return [dataclasses.asdict(card) | {"note": notes[card.name]} for card in studio.models()]


def _header(studio: Studio) -> Callable[[Any], dict[str, Any]]:
    def header(_: Any = None) -> dict[str, Any]:
        return studio.header()

    return header


def mount_options() -> dict[str, Any]:
    """Arguments of `gr.mount_gradio_app` that make the page look as it does."""
    # Runs before the page is drawn: the saved theme and language, so that neither flashes.
    early = (ASSETS / "js" / "early.js").read_text(encoding="utf-8")
    styles = "".join(f'<link rel="stylesheet" href="{asset_url(f"css/{name}.css")}">' for name in STYLES)
    head = f"<style>{theme.variables()}</style>{styles}<script>{early}</script>"
    return {"theme": theme.theme(), "head": head}
