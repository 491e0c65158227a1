"""Drives Chromium with Playwright against an app of our own, and notes what its page did wrong.

Every host name but 127.0.0.1 and localhost leads nowhere, so a page that reaches out fails visibly and is listed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = os.environ.get("ATELIER_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]
EXPECT_MS = 60_000  # a machine that has given memory back may read the browser and the app from disk again
LOCAL_HOSTS = ("127.0.0.1", "localhost", "")
STREAMS = r"/heartbeat/|/queue/data"  # end with the page, which is no fault


@dataclass
class Watch:
    """What one page reported: errors, exceptions, failed or refused requests, and requests to other hosts."""

    problems: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> Watch:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("response", self._response)
        return self

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and (parts.hostname or "") not in LOCAL_HOSTS:
            self.outside.append(request.url)

    def _failed(self, request: Any) -> None:
        # a reload ends whatever is under way
        if "ERR_ABORTED" not in (request.failure or ""):
            self.problems.append(f"failed: {request.method} {request.url} {request.failure}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"status: {response.status} {response.request.method} {response.url}")

    def assert_clean(self, allow: str = STREAMS) -> None:
        found = [line for line in self.problems if not re.search(allow, line)] + self.outside
        assert not found, "the page reported:\n  " + "\n  ".join(found)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """One Chromium with a fresh profile. Raises FileNotFoundError when there is none on this machine."""
    if not CHROMIUM:
        raise FileNotFoundError("no Chromium was found")
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(
    browser: Browser, *, width: int = 1400, height: int = 900, dark: bool = False, timeout_s: float = 60.0
) -> Iterator[tuple[Page, Watch]]:
    """A page with its own cookies and storage, and a Watch on it."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-US")
    context.set_default_timeout(timeout_s * 1000)
    page = context.new_page()
    try:
        yield page, Watch().attach(page)
    finally:
        context.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], log: Path, timeout_s: float = 90.0) -> Iterator[str]:
    """The app in a process of its own; `{port}` in the command is filled in. Yields its address when it is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        filled = [part.replace("{port}", str(port)) for part in command]
        process = subprocess.Popen(filled, stdout=output, stderr=output)
        try:
            _wait_ready(f"{url}/ready", process, log, timeout_s)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def serving_fake(data: Path) -> Iterator[str]:
    """The app over a worker that needs no model and steps until it is stopped. data: its data folder."""
    command = [sys.executable, "-m", "tests.serve", str(data), "{port}", "slow"]
    data.parent.mkdir(parents=True, exist_ok=True)
    with serving(command, data.with_name("app.log")) as url:
        yield url


def _wait_ready(address: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the app ended with {process.returncode}:\n{log.read_text()}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if b'"ready":true' in opener.open(address, timeout=2).read():
                return
        time.sleep(0.1)
    raise RuntimeError(f"the app was not ready in {timeout_s:.0f} s:\n{log.read_text()}")
