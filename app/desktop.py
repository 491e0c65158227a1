"""What makes the server feel like a program: a free port, one instance per data folder, a window of its own."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import webbrowser
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psutil

from trainers.rundir import is_process

APP_NAME = "atelier"  # by this an instance is told from other servers on a port
PORTS_TRIED = 50
ANSWER_WAIT_S = 10.0

BROWSERS = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge")
MAC_BROWSERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
WINDOWS_BROWSERS = (r"Google\Chrome\Application\chrome.exe", r"Microsoft\Edge\Application\msedge.exe")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `port`, or on the next free one. Raises OSError when there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        server = socket.socket(family)
        try:
            # on Windows this option would let two programs share a port
            if os.name == "posix":
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((host, candidate))
            server.listen(128)
        except OSError as error:
            server.close()
            if not _is_taken(error):
                raise
        else:
            return server
    raise OSError(f"the ports {port} to {port + PORTS_TRIED - 1} are all taken")


def _is_taken(error: OSError) -> bool:
    windows_taken, windows_forbidden = 10048, 10013  # the second for ports that Windows keeps for itself
    return error.errno == errno.EADDRINUSE or getattr(error, "winerror", 0) in (windows_taken, windows_forbidden)


@dataclass(frozen=True)
class Instance:
    """A server that works on a data folder. url: opens its page, with the token if it has one; cookie: carries it."""

    pid: int
    started: float
    url: str
    cookie: str

    def lives(self) -> bool:
        return is_process(self.pid, self.started)

    def _serves(self) -> bool:
        where = urlsplit(self.url)
        token = parse_qs(where.query).get("t", [""])[0]
        headers = {"Cookie": f"{self.cookie}={token}"} if token else {}
        try:
            answer = httpx.get(f"http://{where.netloc}/ready", headers=headers, timeout=2, trust_env=False)
            return bool(answer.json().get("app") == APP_NAME)
        except (httpx.HTTPError, ValueError, AttributeError):
            return False

    def answers(self, wait_s: float = 0.0) -> bool:
        """It lives and serves; a server that is just starting gets `wait_s` seconds."""
        give_up = time.monotonic() + wait_s
        while self.lives():
            if self._serves():
                return True
            if time.monotonic() > give_up:
                return False
            time.sleep(0.1)
        return False


class InstanceLock:
    """`instance.json` in the data folder says who works there. Only the owner can read it: it may hold the token."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "instance.json"
        self._held = False

    def other(self) -> Instance | None:
        """The instance that holds the folder and lives."""
        try:
            found = Instance(**json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.pid != os.getpid() and found.lives() else None

    def take(self, url: str, cookie: str) -> bool:
        """Say that this process works here; False when another one was faster."""
        if self.other():
            return False
        mine = Instance(os.getpid(), psutil.Process().create_time(), url, cookie)
        self._file.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            handle = os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(mine), file)
            self._held = True
        return self._held

    def release(self) -> None:
        if self._held:
            self._file.unlink(missing_ok=True)


def open_window(url: str, profile: Path) -> None:
    """Show the page in a window without browser controls if there is a browser for it, else in the usual browser."""
    if not _has_screen():
        return
    browser = _app_browser()
    if browser:
        profile.mkdir(parents=True, exist_ok=True)
        quiet = ("--no-first-run", "--no-default-browser-check")
        command = [browser, f"--app={url}", f"--user-data-dir={profile}", *quiet]
        with contextlib.suppress(OSError):
            subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=os.name == "posix"
            )
            return
    webbrowser.open(url)


def _has_screen() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _app_browser() -> str | None:
    if os.name == "posix" and os.geteuid() == 0:
        return None  # these browsers refuse to run as root
    roots = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
    folders = [Path(os.environ[name]) for name in roots if name in os.environ]
    known = [Path(path) for path in MAC_BROWSERS] + [folder / path for folder in folders for path in WINDOWS_BROWSERS]
    installed = next((str(path) for path in known if path.is_file()), None)
    return installed or next((path for name in BROWSERS if (path := shutil.which(name))), None)
