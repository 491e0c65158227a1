"""A server that speaks as much of OpenAI's protocol as a test needs, on a free port of this machine.

It says what it sees: the colour and the size of the picture that came, so that a test knows which one that was.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from PIL import Image, ImageStat

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 30),
    "blue": (30, 30, 220),
    "yellow": (230, 220, 30),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
HANG_S = 20.0


@dataclass(frozen=True)
class Asked:
    """A request as it came. picture: decoded from the data URL of the question; None without one."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    picture: Image.Image | None


@dataclass
class StubServer:
    """script: what to do with the first questions, one after the other; others get an answer. models: of GET."""

    script: list[Act] = field(default_factory=list)
    models: Any = ("stub",)
    usual: Act = field(default_factory=lambda: answer())

    def __post_init__(self) -> None:
        self.asked: list[Asked] = []
        self.open = self.most_open = 0
        self.released = threading.Event()
        self._lock = threading.Lock()
        stub = self

        class Handler(_Handler):
            server_stub = stub

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def questions(self) -> list[Asked]:
        return [one for one in self.asked if one.path.endswith("/chat/completions")]

    def take(self, asked: Asked) -> Act:
        with self._lock:
            self.asked.append(asked)
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            return self.script.pop(0) if self.script else self.usual

    def done(self) -> None:
        with self._lock:
            self.open -= 1

    def __enter__(self) -> StubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_stub: StubServer

    def do_GET(self) -> None:
        stub = self.server_stub
        stub.asked.append(Asked(self.path, dict(self.headers), {}, None))
        if callable(stub.models):
            stub.models(self, stub.asked[-1])
        else:
            self.send_json({"object": "list", "data": [{"id": name, "object": "model"} for name in stub.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = Asked(self.path, dict(self.headers), body, _picture(body))
        act = self.server_stub.take(asked)
        try:
            act(self, asked)
        finally:
            self.server_stub.done()

    def send_json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(json.dumps(body).encode(), status, headers)

    def send_bytes(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


Act = Callable[[_Handler, Asked], None]


def answer(text: str | None = None, finish: str = "stop", wait_s: float = 0.0, **message: Any) -> Act:
    """text: None for what the picture shows."""

    def act(handler: _Handler, asked: Asked) -> None:
        handler.server_stub.released.wait(wait_s)
        content = describe(asked.picture) if text is None else text
        whole = {"role": "assistant", "content": content, **message}
        handler.send_json({"choices": [{"index": 0, "finish_reason": finish, "message": whole}]})

    return act


def status(code: int, body: Any = None, **headers: str) -> Act:
    """headers: with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, asked: handler.send_json(body if body is not None else {}, code, named)


def raw(content: bytes) -> Act:
    return lambda handler, asked: handler.send_bytes(content)


def break_off(handler: _Handler, asked: Asked) -> None:
    """The connection ends in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def hang(handler: _Handler, asked: Asked) -> None:
    """No answer until the test ends."""
    handler.server_stub.released.wait(HANG_S)
    handler.close_connection = True


def drip(handler: _Handler, asked: Asked) -> None:
    """A blank every moment, as some servers send so that the connection stays open."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(1000):
        if handler.server_stub.released.wait(0.02):
            break
        try:
            handler.wfile.write(b" ")
        except OSError:  # the client has gone
            break
    handler.close_connection = True


def describe(picture: Image.Image | None) -> str:
    if picture is None:
        return "no picture came"
    mean = ImageStat.Stat(picture).mean
    colour = min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(COLOURS[name], mean, strict=True)))
    return f"A {colour} picture of {picture.width}x{picture.height}."


def _picture(body: dict[str, Any]) -> Image.Image | None:
    for message in body["messages"]:
        parts = message["content"] if isinstance(message["content"], list) else []
        for part in parts:
            if part["type"] == "image_url":
                head, _, content = part["image_url"]["url"].partition(",")
                assert head == "data:image/jpeg;base64"
                picture = Image.open(io.BytesIO(base64.b64decode(content, validate=True)))
                picture.load()
                assert (picture.format, picture.mode) == ("JPEG", "RGB")
                return picture
    return None
