"""The real app in a process that can be killed in the middle of its work and started again at the same address."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.browser import free_port

READY_S = 90.0


class Killable:
    def __init__(self, data: Path) -> None:
        self.data, self.port = data, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the pages are there."""
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.serve", str(self.data), str(self.port), "slow"]
        with (self.data.parent / "app.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        give_up = time.monotonic() + READY_S
        while time.monotonic() < give_up and self._process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                if b'"ready":true' in opener.open(f"{self.url}/ready", timeout=2).read():
                    return
            time.sleep(0.1)
        raise RuntimeError((self.data.parent / "app.log").read_text())

    def kill(self) -> None:
        """At once, as when the power fails for this process: nothing is finished or tidied up."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def killable(data: Path) -> Iterator[Killable]:
    app = Killable(data)
    app.start()
    try:
        yield app
    finally:
        app.kill()
