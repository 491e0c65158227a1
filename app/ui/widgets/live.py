"""Live parts of the page: a `gr.HTML` with a constant template that a script of `assets/js` fills.

Data reaches the page only as JSON and is set with `textContent`: text in a template would be run as code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from app.ui.texts import Texts
from trainers.paths import ASSETS

STATIC_ROUTE = "/ui"  # not "/assets": that is Gradio's own, and a mount there would hide its files
SCRIPTS = (
    "core",
    "shell",
    "form",
    "drop",
    "plan",
    "parts",
    "expert",
    "datasetgrid",
    "datasetchips",
    "dataseteditor",
    "datasetpanel",
    "datasettags",
    "datasetbuckets",
    "datasetbulk",
    "datasetsets",
    "datasethead",
    "dataset",
    "captionsdiff",
    "captionssets",
    "captionscards",
    "captionsform",
    "captionstrial",
    "captionsplan",
    "captionsjob",
    "captionsgrid",
    "captionspanel",
    "captions",
    "preferencesvoteoutbox",
    "preferencesvotestage",
    "preferencesvotepanel",
    "preferencesvote",
    "preferencessets",
    "preferencesjob",
    "preferencesgenerate",
    "preferencesscore",
    "preferenceslabel",
    "preferencesresults",
    "preferencesproof",
    "preferences",
    "storage",
    "plot",
    "paircharts",
    "charts",
    "samples",
    "runfiles",
    "runtest",
    "rundetail",
    "runlist",
)


def asset_url(path: str) -> str:
    """Address of a file in `assets`; it changes with the file, so that browsers do not show an old one."""
    return f"{STATIC_ROUTE}/{path}?v={(ASSETS / path).stat().st_mtime_ns:x}"


def scripts() -> str:
    return "".join(f'<script src="{asset_url(f"js/{name}.js")}"></script>' for name in SCRIPTS)


def live(
    name: str,
    texts: Texts,
    *prefixes: str,
    value: Any = None,
    functions: Sequence[Callable[..., Any]] = (),
) -> gr.HTML:
    """The widget that `atelier.widgets[name]` draws, with the texts under `prefixes` and what it may ask the server."""
    return gr.HTML(
        value=value,
        html_template=f'<div class="at at-{name}"></div>',
        js_on_load=f"window.atelier.mount('{name}', {{element, props, trigger, server, watch}}); /* 'act' */",
        head=scripts(),
        server_functions=list(functions) or None,
        apply_default_css=False,
        elem_id=f"at-{name}",
        elem_classes=["at-host"],
        words=texts.part("common.", *prefixes),
        language=texts.language,
    )
