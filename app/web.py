"""The web application: own routes at once, and Gradio's pages as soon as they are built."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.desktop import APP_NAME
from app.security import LABEL, Guard, Policy
from app.services import files
from app.services.studio import Studio
from trainers.data.decode import DECODE_ERRORS
from trainers.errors import DataError

if TYPE_CHECKING:
    from trainers.rundir import RunDir

log = logging.getLogger(__name__)

SPLASH = Path(__file__).with_name("splash.html")
MAX_UPLOAD = "2gb"
PRIVATE = ("settings", "runs", "window", "journals", "caption-trials", "preferences")  # of the data folder
# the addresses of pictures change with the files
KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}

T = TypeVar("T")
Build = Callable[[Studio], FastAPI]


class Pages:
    """ASGI application that shows a splash page until `build` is through, and then what it built."""

    def __init__(self, studio: Studio, build: Build) -> None:
        self._studio, self._build = studio, build
        self._built: FastAPI | None = None
        self.error = ""
        self.opened = threading.Event()  # the pages are up, or never will be

    @property
    def ready(self) -> bool:
        return self._built is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner: ASGIApp = self._built or _splash
        await inner(scope, receive, send)

    async def open(self, closing: asyncio.Event) -> None:
        """Start the studio and build the pages in a thread; keep them up until `closing` is set."""
        try:
            built = await asyncio.to_thread(self._start)
        except Exception:  # the boundary: the page says what the terminal shows in full
            log.exception("the pages could not be built")
            self.error = "Atelier could not start. The terminal says why."
            self.opened.set()
            return
        # Gradio starts its queue in this context
        async with built.router.lifespan_context(built):
            self._built = built
            self.opened.set()
            await closing.wait()
            self._built = None

    def _start(self) -> FastAPI:
        self._studio.start()
        return self._build(self._studio)


async def _splash(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    page = HTMLResponse(SPLASH.read_text(encoding="utf-8"), headers={"Cache-Control": "no-store"})
    starting = JSONResponse({"detail": "Atelier is starting."}, 503)
    await (page if scope["path"] in ("/", LABEL, f"{LABEL}zh/") else starting)(scope, receive, send)


def build_pages(studio: Studio) -> FastAPI:
    """Gradio's pages on an application of their own. Takes seconds: imports Gradio."""
    import gradio as gr
    from fastapi.staticfiles import StaticFiles

    from app.ui import label_page, shell

    inner = FastAPI(openapi_url=None)
    inner.mount(shell.STATIC_ROUTE, StaticFiles(directory=shell.static_dir()))
    label_page.add_routes(inner, studio)
    options = {
        **shell.mount_options(),
        "footer_links": [],
        "run_history": False,
        "show_error": False,
        "ssr_mode": False,
        "enable_monitoring": False,
        "max_file_size": MAX_UPLOAD,
        "blocked_paths": [str(studio.data_dir / name) for name in PRIVATE],
    }
    for path, page in shell.pages(studio).items():
        page.queue(max_size=64)
        if path != "/":  # the mount at "/" would answer 404
            inner.add_route(path, _redirect(f"{path}/"))
        gr.mount_gradio_app(inner, page, path=path, **options)
    return inner


def _redirect(path: str) -> Callable[[Request], RedirectResponse]:
    return lambda _: RedirectResponse(path)


def create_app(studio: Studio, *, policy: Policy | None = None, build: Build = build_pages) -> FastAPI:
    """The whole application behind its guard. The studio is started, and closed, with it."""
    pages = Pages(studio, build)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        closing = asyncio.Event()
        opening = asyncio.create_task(pages.open(closing))
        yield
        closing.set()
        await opening
        await asyncio.to_thread(studio.close)

    app = FastAPI(title="Atelier", lifespan=lifespan, openapi_url=None)
    app.state.pages, app.state.studio = pages, studio
    policy = policy or Policy()
    studio.preferences.voting.label_token = policy.label_token
    app.add_middleware(Guard, policy=policy)
    app.get("/ready")(lambda: {"ready": pages.ready, "app": APP_NAME, "error": pages.error})
    _add_file_routes(app, studio)
    app.mount("/", pages)
    return app


def _add_file_routes(app: FastAPI, studio: Studio) -> None:
    making = threading.BoundedSemaphore(4)  # thumbnails that are made at a time

    @app.get("/file/sample/{run_id}/{name}")
    def sample(run_id: str, name: str) -> FileResponse:
        return FileResponse(_found(files.sample, _run(studio, run_id), name), headers=KEPT)

    @app.get("/file/trial/{run_id}/{name}")
    def trial(run_id: str, name: str) -> FileResponse:
        return FileResponse(_found(files.trial, _run(studio, run_id), name), headers=KEPT)

    @app.get("/file/adapter/{run_id}/{name}")
    def adapter(run_id: str, name: str) -> FileResponse:
        path = _found(files.adapter, _run(studio, run_id), name)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    def small(picture: Path) -> FileResponse:
        try:
            with making:
                made = files.thumbnail(picture, studio.data_dir / "cache" / "thumbs")
        except DECODE_ERRORS:
            raise HTTPException(404, "This is no picture.") from None
        return FileResponse(made, media_type="image/webp", headers=KEPT)

    @app.get("/thumb/{run_id}/{name}")
    def thumb(run_id: str, name: str) -> FileResponse:
        return small(_found(files.sample, _run(studio, run_id), name))

    @app.get("/thumb/trial/{run_id}/{name}")
    def trial_thumb(run_id: str, name: str) -> FileResponse:
        return small(_found(files.trial, _run(studio, run_id), name))

    @app.get("/thumb/data/{set_id}/{pid}")
    def data_thumb(set_id: str, pid: str) -> FileResponse:
        with making:
            small = _picture(studio.gallery.thumbnail, set_id, pid)
        return FileResponse(small, media_type="image/webp", headers=KEPT)

    @app.get("/file/data/{set_id}/{pid}")
    def data_picture(set_id: str, pid: str) -> FileResponse:
        path, media_type = _picture(studio.gallery.shown, set_id, pid)
        return FileResponse(path, media_type=media_type, headers=KEPT)

    @app.get("/thumb/set/{set_name}/{image_id}")
    def set_thumb(set_name: str, image_id: str) -> FileResponse:
        with making:
            small = _picture(studio.preferences.shelf.thumbnail, set_name, image_id)
        return FileResponse(small, media_type="image/webp", headers=KEPT)

    @app.get("/file/set/{set_name}/{image_id}")
    def set_picture(set_name: str, image_id: str) -> FileResponse:
        path, media_type = _picture(studio.preferences.shelf.shown, set_name, image_id)
        return FileResponse(path, media_type=media_type, headers=KEPT)

    @app.get("/file/pref/{set_name}/{token}")
    def voted(set_name: str, token: str) -> FileResponse:
        def find(name: str, wanted: str) -> tuple[Path, str]:
            return studio.preferences.voting.pictures.shown(name, wanted, studio.data_dir / "cache" / "thumbs")

        path, media_type = _picture(find, set_name, token)
        # neither size and time of the file nor its name may tell two pictures apart, or which of them is the newer one
        blind = {"ETag": f'"{token}"', "Last-Modified": formatdate(0, usegmt=True)}
        return FileResponse(path, media_type=media_type, headers={**KEPT, **blind})


def _picture(find: Callable[[str, str], T], set_id: str, pid: str) -> T:
    try:
        return find(set_id, pid)
    except (*DECODE_ERRORS, DataError):
        raise HTTPException(404, "There is no such picture.") from None


def _run(studio: Studio, run_id: str) -> RunDir:
    run = studio.run_dir(run_id)
    if run is None:
        raise HTTPException(404, "There is no such run.")
    return run


def _found(find: Callable[[RunDir, str], Path], run: RunDir, name: str) -> Path:
    try:
        return find(run, name)
    except (OSError, ValueError):  # ValueError: a name with a null character
        raise HTTPException(404, "There is no such file.") from None
