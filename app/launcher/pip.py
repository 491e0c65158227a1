"""Run pip with its words in a log, progress on the screen, and a cause when it fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from app.launcher.errors import SetupError

LARGE_MB = 20  # downloads from this size on are named where no one watches

# part of a line of pip's output -> what to say of it
STATUS = (
    (r"Downloading (\S+?)-\d\S* \((.+)\)", "downloading {} ({})"),
    (r"Collecting ([\w.-]+)", "looking for {}"),
    (r"(?:Processing|Using cached) .*?([\w.]+)-\d\S*\.whl", "reading {}"),
    (r"Building wheel for (\S+)", "building {}"),
    (r"Installing collected packages", "unpacking the packages"),
    (r"WARNING: Retrying", "no answer from the package index, trying again"),
)

# part of a failed pip's output -> (cause, remedy); the first match counts
FAILURES = (
    (
        r"No space left on device|not enough space on the disk",
        "the disk is full.",
        "Free some space (pip also unpacks in {temp}), then start again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "the certificate of the package index cannot be checked.",
        "Behind a company proxy, name its certificate: pip config set global.cert FILE. Then start again.",
    ),
    (
        r"NewConnectionError|NameResolutionError|getaddrinfo failed|name resolution|Network is unreachable|"
        r"ConnectTimeoutError|ReadTimeout|Connection refused|ConnectionResetError|ProxyError",
        "there is no network, or the package index does not answer.",
        "Connect to the network (or set HTTPS_PROXY), then start again. Once set up, Atelier starts without network.",
    ),
    (
        r"No matching distribution found for",
        "a package has no build for this Python and system.",
        "Use a 64-bit Python 3.11 to 3.14. PyTorch has no builds for Macs with an Intel processor.",
    ),
    (
        r"Permission denied|Access is denied|PermissionError",
        "a file of the environment is in use or protected.",
        "Close every Atelier window, then start again.",
    ),
)


def pip_install(python: Path, log: Path, title: str, arguments: list[str]) -> None:
    """Install with the pip of an environment's Python. Raises SetupError with the cause and the log's end."""
    command = [str(python), "-m", "pip", "install", "--no-input", "--progress-bar", "off", *arguments]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with log.open("w", encoding="utf-8") as file, Progress(title) as progress:
        pip = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ, encoding="utf-8", errors="replace"
        )
        with pip:
            for line in pip.stdout or ():
                file.write(line)
                progress.see(line)
    if pip.returncode:
        cause, remedy = explain(log.read_text(encoding="utf-8"))
        raise SetupError(f"{title} failed: {cause}\n{last_lines(log)}\nThe whole log: {log}", remedy)


class Progress:
    """What pip does right now: on a terminal one line, rewritten each second; elsewhere only what takes long."""

    def __init__(self, title: str) -> None:
        self._title, self._status = title, "asking the package index"
        self._watched = sys.stdout.isatty()
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        if self._watched:
            self._thread.start()
        else:
            print(self._title, flush=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._watched:
            self._thread.join()
            print(flush=True)

    def see(self, line: str) -> None:
        """Take in one line of pip's output."""
        status = status_of(line)
        if status and not self._watched and takes_long(status):
            print(f"  {status}", flush=True)
        self._status = status or self._status

    def _tick(self) -> None:
        while True:
            width = shutil.get_terminal_size().columns - 1
            line = f"{self._title}: {self._status} ({time.monotonic() - self._started:.0f} s)"
            print("\r" + line[:width].ljust(width), end="", flush=True)
            if self._ended.wait(1):
                return


def status_of(line: str) -> str:
    """A line of pip's output in a few words; empty for lines that say nothing new."""
    for pattern, words in STATUS:
        if found := re.search(pattern, line):
            return words.format(*found.groups())
    return ""


def takes_long(status: str) -> bool:
    size = re.search(r"\(([\d.]+) (MB|GB)\)", status)
    large = size is not None and (size[2] == "GB" or float(size[1]) >= LARGE_MB)
    return large or status.startswith(("unpacking", "building"))


def explain(log: str) -> tuple[str, str]:
    """(cause, remedy) of a failure, from what pip wrote."""
    for pattern, cause, remedy in FAILURES:
        if re.search(pattern, log):
            return cause, remedy.format(temp=tempfile.gettempdir())
    return "pip could not go on.", "Start again; if it fails at the same place, remove the folder .venv first."


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, indented, without pip's remarks on its settings and its repeated attempts."""
    remarks = ("is ignored", "Looking in", "WARNING: Retrying")
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    telling = [line for line in lines if not any(remark in line for remark in remarks)]
    return "\n".join("    " + line for line in telling[-count:])
