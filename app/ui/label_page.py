"""The page where one can only label, for people who help with it: without Gradio, so it is light on a phone.

/label/ and /label/zh/ are the page in each language; ?set=NAME opens a set. /label/ask/NAME answers what it asks.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.requests import Request

from app.ui import theme
from app.ui.tabs import preferences_votes
from app.ui.texts import LANGUAGES, Texts, texts
from app.ui.widgets.live import asset_url
from trainers.paths import ASSETS

if TYPE_CHECKING:
    from app.services.studio import Studio

LABEL = "/label"
STYLES = ("atelier", "voting")
SCRIPTS = (
    "core",
    "preferencesvoteoutbox",
    "preferencesvotestage",
    "preferencesvotepanel",
    "preferencesvote",
    "label",
)
LONGEST_QUESTION = 100_000  # bytes
Ask = Callable[[Any], dict[str, Any]]

PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{variables} :root {{ --font: {font} }}</style>
{styles}
</head>
<body class="label-page">
<script>{early}</script>
<main id="label" class="at"></main>
<script type="application/json" id="label-words">{words}</script>
{scripts}
</body>
</html>
"""


def add_routes(app: FastAPI, studio: Studio) -> None:
    """The page in each language, and its questions. They come before what is mounted at "/"."""
    router = APIRouter()
    router.add_api_route(LABEL, lambda: RedirectResponse(f"{LABEL}/"), include_in_schema=False)
    for language in LANGUAGES:
        words = texts(language)
        path = f"{LABEL}/" if language == "en" else f"{LABEL}/{language}/"
        asks = {function.__name__: function for function in functions(studio, words)}
        router.add_api_route(path, _shower(words), response_class=HTMLResponse)
        router.add_api_route(f"{path}ask/{{name}}", _answerer(asks), methods=["POST"])
    app.include_router(router)


def functions(studio: Studio, words: Texts) -> list[Ask]:
    """What the page may ask: to vote, and which sets there are. Scores are never shown before a vote here."""

    def sets(_: Any = None) -> dict[str, Any]:
        return {"sets": studio.preferences.voting.listed()}

    return [*preferences_votes.of_votes(studio, words, blind=True), sets]


def page(words: Texts) -> str:
    """The whole page. What is in it is the program's own, and the same for everybody."""
    known = words.part("common.", *preferences_votes.WORDS)
    return PAGE.format(
        lang="zh-CN" if words.language == "zh" else words.language,
        title=html.escape(words("voting.title")),
        variables=theme.variables(),
        font=", ".join(name if name.isalpha() or "-" in name else f'"{name}"' for name in theme.SANS),
        styles="".join(f'<link rel="stylesheet" href="{asset_url(f"css/{name}.css")}">' for name in STYLES),
        early=(ASSETS / "js" / "early.js").read_text(encoding="utf-8"),
        words=json.dumps(known, ensure_ascii=False).replace("<", "\\u003c"),
        scripts="".join(f'<script src="{asset_url(f"js/{name}.js")}"></script>' for name in SCRIPTS),
    )


def _shower(words: Texts) -> Callable[[], HTMLResponse]:
    return lambda: HTMLResponse(page(words), headers={"Cache-Control": "no-store"})


def _answerer(asks: dict[str, Ask]) -> Callable[[str, Request], Any]:
    async def ask(name: str, request: Request) -> JSONResponse:
        """JSON in, JSON out. 404 for what cannot be asked, 400 for what a page would not send."""
        if name not in asks:
            raise HTTPException(404, "There is no such question.")
        try:
            question = json.loads(await _body(request))
            return JSONResponse(await run_in_threadpool(asks[name], question))
        except (ValueError, RecursionError):
            raise HTTPException(400, "This is no question.") from None

    return ask


async def _body(request: Request) -> bytes:
    """Raises ValueError for more than any page sends."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_QUESTION:
            raise ValueError("too long")
    return body
