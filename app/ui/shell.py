"""The page: rail of tabs, header, and what `gr.mount_gradio_app` needs to show it.

    app.mount(shell.STATIC_ROUTE, StaticFiles(directory=shell.static_dir()))
    for path, blocks in shell.pages(studio).items():   # other languages first, "/" last
        gr.mount_gradio_app(app, blocks, path=path, **shell.mount_options())
"""
from __future__ import annotations
from pathlib import Path
from trainers.paths import ASSETS

# Not "/assets": that is Gradio's own route, and a mount there would hide its files.
STATIC_ROUTE = "/ui"


def static_dir() -> Path:
    """The folder served at STATIC_ROUTE."""
    return ASSETS
