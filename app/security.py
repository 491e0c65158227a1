"""A guard in front of every route: known Host, own Origin, and a token where others can reach the app.

A second token, for people who help to label, opens the page for that and nothing else.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = frozenset({"0.0.0.0", "::", ""})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ENTER = "/enter"
LABEL = "/label/"
# all that the page for labelling needs: itself, what it asks, its scripts and styles, and the pictures of pairs
LABEL_PATHS = re.compile(
    r"/label|/label/(zh/)?(ask/\w+)?|/ui/(css|js|icons)/[\w-]+\.\w+|/file/pref/[^/]+/[\w-]+|/ready"
)
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
<script>
const here = new URL(location)
if (!here.searchParams.has("entered")) { here.searchParams.set("entered", ""); location.replace(here) }
</script>"""


def is_loopback(host: str) -> bool:
    return host in LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


@dataclass
class Policy:
    """Who may come in.

    bound: address that the server listens on; hosts: other names it is known by; token: empty for none; label_token:
    for people who may label and nothing else, empty for none.
    """

    bound: str = "127.0.0.1"
    hosts: set[str] = field(default_factory=set)
    token: str = ""
    cookie: str = "atelier"
    label_token: str = ""

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
        if _is_same(self._cookie(headers, self._policy.cookie), self._policy.token):
            return None
        if _is_same(self._cookie(headers, self._label_cookie), self._policy.label_token):
            may = scope["type"] == "http" and LABEL_PATHS.fullmatch(scope["path"])
            return None if may else PlainTextResponse("This link opens the page for labelling alone: /label/", 403)
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
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.get("t", [""])[0]
        if _is_same(given, self._policy.token):
            answer, cookie = RedirectResponse("/", 303), self._policy.cookie
        elif _is_same(given, self._policy.label_token):
            named = "?" + urlencode({"set": query["set"][0]}) if "set" in query else ""
            answer, cookie = RedirectResponse(LABEL + named, 303), self._label_cookie
        else:
            self._wrong[client].append(time.monotonic())
            return PlainTextResponse("This key is wrong, or of an earlier start of Atelier.", 401)
        secure = scope["scheme"] == "https" or headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(cookie, given, max_age=COOKIE_AGE_S, httponly=True, samesite="strict", secure=secure)
        return answer

    @property
    def _label_cookie(self) -> str:
        """A name of its own, so that the owner who looks at the page for labelling stays the owner."""
        return f"{self._policy.cookie}_label"

    def _waits(self, client: str) -> bool:
        now = time.monotonic()
        for address in list(self._wrong):
            times = self._wrong[address]
            while times and now - times[0] > PERIOD_S:
                times.popleft()
            if not times:
                del self._wrong[address]
        return len(self._wrong.get(client, ())) >= WRONG_TOKENS

    def _cookie(self, headers: Headers, name: str) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(name)
        except CookieError:
            return ""
        return morsel.value if morsel else ""


def _is_same(given: str, token: str) -> bool:
    """Without telling by its time how much of it is right; no token is the same as none."""
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


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
