"""What a server's refusals mean: for this try, for this picture, or for the whole job. Light."""

from __future__ import annotations

import email.utils
import time
from contextlib import suppress

import httpx

from captioners.server_endpoint import Endpoint
from captioners.server_messages import FILTERED
from trainers.errors import AtelierError

LONGEST_QUOTE = 300  # signs of what the server says
KEY_STATUSES = (401, 403)
ADDRESS_STATUSES = (404, 405)
BUSY_STATUSES = (408, 409, 425, 429)  # and all from 500 on
FILTER_WORDS = ("content_filter", "content filter", "content_policy", "content policy", "moderation")
SETTINGS = ("max_tokens", "temperature", "top_p", "top_k", "seed")


class TryAgainError(Exception):
    """A try that failed and may succeed later. after_s: the server asked for so many seconds."""

    def __init__(self, why: str, after_s: float = 0.0, *, reached: bool = True) -> None:
        super().__init__(why)
        self.after_s, self.reached = after_s, reached


class NoAnswerError(Exception):
    """The server will not answer this question, however often it is asked. refused: because of what it shows."""

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


def check(server: Endpoint, response: httpx.Response) -> None:
    """Raises TryAgainError, NoAnswerError, or AtelierError for what would happen to every question."""
    status = response.status_code
    if status < 300:
        return
    if status < 400:
        raise AtelierError(
            f"{server.url} sends its visitors on to {_target(response)}. The key and the pictures do not go there.",
            "If you trust that address, set server.url to it.",
        )
    words = said(server, response)
    what = f"answered {status}: {words}" if words else f"answered {status}"
    if status < 500 and any(word in words.casefold() for word in FILTER_WORDS):
        raise NoAnswerError(f"{FILTERED}: {words}", refused=True)
    if hint := _hint(server, response):
        raise AtelierError(f"{server.url} {what}.", hint)
    if status in BUSY_STATUSES or status >= 500:
        raise TryAgainError(what, _asked_wait_s(response))
    raise NoAnswerError(f"the server {what}")


def _hint(server: Endpoint, response: httpx.Response) -> str:
    """The remedy for what would happen to every question; "" for what would not."""
    status = response.status_code
    if status in KEY_STATUSES:
        lack = "It does not take the key, or the key may not use this model." if server.key else "It wants a key."
        return f"{lack} Set the environment variable that server.key_env names, and start Atelier again."
    if status in ADDRESS_STATUSES:
        return "Check server.model, and server.url, which ends in /v1 at most servers."
    # 429 is also the answer to too many questions at a time
    if status == 402 or (status == 429 and "insufficient_quota" in response.text):
        return "The account has no credit left."
    return ""


def said(server: Endpoint, response: httpx.Response) -> str:
    """What the server says of an error, shortened, on one line, without the key, which some servers repeat."""
    try:
        found = response.json()
    except ValueError:
        found = response.text
    if isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("detail") or ""
    if isinstance(found, dict):
        found = " ".join(str(found[key]) for key in ("message", "code") if found.get(key))
    words = " ".join(str(found).split())
    words = words.replace(server.key, "***") if server.key else words
    return words[:LONGEST_QUOTE].rstrip(".")


def unfit_setting(response: httpx.Response) -> str:
    """Name of the setting that the model does not take; "" for another answer."""
    if response.status_code != 400:
        return ""
    try:
        error = response.json()["error"]
        name, code = error["param"], error["code"]
    except (ValueError, LookupError, TypeError):
        return ""
    return str(name) if name in SETTINGS and code in ("unsupported_parameter", "unsupported_value") else ""


def unreachable(server: Endpoint, why: str) -> AtelierError:
    return AtelierError(f"The server at {server.url} {why}.", "Start it, or check server.url: its port, and /v1.")


def cause(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _asked_wait_s(response: httpx.Response) -> float:
    """Retry-After: seconds, or a date."""
    text = response.headers.get("Retry-After", "")
    with suppress(ValueError):
        return max(0.0, float(text))
    with suppress(ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def _target(response: httpx.Response) -> str:
    """Where a redirect leads, without what may be secret in it."""
    try:
        target = response.url.join(response.headers.get("Location", ""))
    except httpx.InvalidURL:
        return "another address"
    return f"{target.scheme}://{target.netloc.decode()}{target.path}"
