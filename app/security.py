"""A guard in front of every route: known Host, own Origin, and a token where others can reach the app."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = frozenset({"0.0.0.0", "::", ""})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ENTER = "/enter"
WRONG_TOKENS = 10  # of one address in PERIOD_S; then it has to wait
PERIOD_S = 60.0
COOKIE_AGE_S = 30 * 24 * 3600

SECURITY_HEADERS = {
    # Gradio compiles its templates in the page, hence the two unsafe words; nothing may be fetched from elsewhere
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the token is in one address
    "Cross-Origin-Opener-Policy": "same-origin",
}

# A browser that comes by a link from another site does not send a strict cookie with the redirect from /enter; it does
# once this page itself moves on.
LOCKED_PAGE = """<!doctype html><meta charset="utf-8"><title>Atelier</title>
<body style="font:16px system-ui;max-width:32em;margin:20vh auto;padding:0 1em">
<h1 style="font-size:20px">This Atelier is locked</h1>
<p>Open it by the full link that its owner sees in the terminal. The link holds the key.</p>
<script>if (!location.search) location.replace("/?entered")</script>"""


def is_loopback(host: str) -> bool:
    return host in LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


@dataclass
class Policy:
    """Who may come in.

    bound: address that the server listens on; hosts: other names it is known by; token: empty for none.
    """

    bound: str = "127.0.0.1"
    hosts: set[str] = field(default_factory=set)
    token: str = ""
    cookie: str = "atelier"

    def knows_host(self, host: str) -> bool:
        """Names that others control are refused: by them a foreign page could reach a server on this machine."""
        if host in LOOPBACK or host == self.bound or host in self.hosts:
            return True
        return self.bound in WILDCARDS and _is_address(host)

    def knows_origin(self, origin: str, host_header: str) -> bool:
        netloc = urlsplit(origin).netloc.lower()
        return bool(netloc) and (netloc == host_header or _host_name(netloc) in self.hosts)


class Guard:
    """ASGI middleware; a plain one, because event streams pass through it."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app, self._policy = app, policy
        self._wrong: dict[str, deque[float]] = defaultdict(deque)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._answer(scope)
        if refusal is None:
            await self._app(scope, receive, _with_security_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_security_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        """What the guard itself answers; None lets the request pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if not self._policy.knows_host(_host_name(host)):
            return PlainTextResponse("This address is not known here. Start Atelier with --allow-host NAME.", 403)
        if scope.get("method") not in SAFE_METHODS and not self._is_own_page(headers, host):
            return PlainTextResponse("Another site may not do this.", 403)
        if not self._policy.token:
            return RedirectResponse("/", 303) if scope["path"] == ENTER else None
        if scope["path"] == ENTER:
            return self._enter(scope, headers)
        if self._is_token(self._cookie(headers)):
            return None
        if "text/html" in headers.get("accept", ""):
            return HTMLResponse(LOCKED_PAGE, 401)
        return PlainTextResponse("Open Atelier by its full link first.", 401)

    def _is_own_page(self, headers: Headers, host: str) -> bool:
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return False
        origin = headers.get("origin")
        return origin is None or self._policy.knows_origin(origin, host)

    def _enter(self, scope: Scope, headers: Headers) -> Response:
        client = (scope.get("client") or ("", 0))[0]
        if self._waits(client):
            return PlainTextResponse("Too many wrong keys. Wait a minute.", 429)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("t", [""])[0]
        if not self._is_token(given):
            self._wrong[client].append(time.monotonic())
            return PlainTextResponse("This key is wrong, or of an earlier start of Atelier.", 401)
        answer = RedirectResponse("/", 303)
        secure = scope["scheme"] == "https" or headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(
            self._policy.cookie, given, max_age=COOKIE_AGE_S, httponly=True, samesite="strict", secure=secure
        )
        return answer

    def _waits(self, client: str) -> bool:
        now = time.monotonic()
        for address in list(self._wrong):
            times = self._wrong[address]
            while times and now - times[0] > PERIOD_S:
                times.popleft()
            if not times:
                del self._wrong[address]
        return len(self._wrong.get(client, ())) >= WRONG_TOKENS

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._policy.token.encode())

    def _cookie(self, headers: Headers) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._policy.cookie)
        except CookieError:
            return ""
        return morsel.value if morsel else ""


def _with_security_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _host_name(netloc: str) -> str:
    """The name without port and brackets; empty for what is no host."""
    match = re.fullmatch(r"\[([0-9a-f:.]+)\](?::\d+)?|([^:/@\s]+)(?::\d+)?", netloc)
    return (match[1] or match[2]) if match else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
