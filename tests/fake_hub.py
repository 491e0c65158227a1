"""A hub on this machine that speaks enough of Hugging Face's protocol for downloads to be real."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """repos: id -> folder; gated: ids that need the token "let-me-in".

    cut: file -> bytes after which its connection breaks, and the hub with it; broken: every file is answered with 503;
    asked: (method, path, range) of each request; sent: bytes of each file.
    """

    repos: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    cut: dict[str, int] = field(default_factory=dict)
    broken: bool = False
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    address: str = ""

    def downloaded(self) -> set[str]:
        return {path.partition("/resolve/main/")[2] for method, path, _ in self.asked if method == "GET"} - {""}


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append((self.command, path, self.headers.get("Range", "")))
            if path.startswith("/api/models/"):
                self._list(path.removeprefix("/api/models/"))
            else:
                self._file(path, body)

        def _list(self, rest: str) -> None:
            repo, _, revision = rest.partition("/revision/")
            if not self._is_open(repo, revision or "main"):
                return
            folder = hub.repos[repo]
            siblings = [
                {"rfilename": str(file.relative_to(folder)), "size": file.stat().st_size}
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            ]
            self._send(200, json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode())

        def _file(self, path: str, body: bool) -> None:
            repo, _, rest = path.removeprefix("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            if not self._is_open(repo, revision):
                return
            file = hub.repos[repo] / name
            if not file.is_file():
                self._refuse(404, "EntryNotFound")
            elif body and hub.broken:
                self._refuse(503, "")
            else:
                self._send_file(file, name, body)

        def _is_open(self, repo: str, revision: str) -> bool:
            if repo not in hub.repos:
                self._refuse(401, "RepoNotFound")  # as the hub does for who is not signed in
            elif repo in hub.gated and self.headers.get("Authorization") != "Bearer let-me-in":
                self._refuse(401, "GatedRepo")
            elif revision not in ("main", COMMIT):
                self._refuse(404, "RevisionNotFound")
            else:
                return True
            return False

        def _refuse(self, status: int, code: str) -> None:
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

        def _send_file(self, file: Path, name: str, body: bool) -> None:
            data = file.read_bytes()
            begin = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
            facts = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if begin:
                facts["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            self.send_response(206 if begin else 200)
            for key, value in {**facts, "Content-Length": str(len(data) - begin)}.items():
                self.send_header(key, value)
            self.end_headers()
            end = hub.cut.pop(name, len(data)) if body else begin
            self.wfile.write(data[begin:end])
            hub.sent[name] = hub.sent.get(name, 0) + end - begin
            if body and end < len(data):
                hub.broken = True
                self.wfile.flush()
                self.close_connection = True

        def _send(self, status: int, data: bytes, more: dict[str, str] | None = None) -> None:
            self.send_response(status)
            facts = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(more or {})}
            for key, value in facts.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
