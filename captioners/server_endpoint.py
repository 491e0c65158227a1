"""Where a server is, and the key to it. Light.

The key goes to the address of the configuration and nowhere else: redirects are refused, and neither messages nor
logs hold it.
"""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from trainers.errors import ConfigError

CONNECT_S = 5.0
EXAMPLE = "Give the address as in http://127.0.0.1:11434/v1."


@dataclass(frozen=True)
class Endpoint:
    """url: without a slash at its end; key: "" for none; never shown."""

    url: str
    key: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str, key: str = "") -> Endpoint:
        """Raises ConfigError for an address or a key that cannot be used."""
        key = key.strip()
        # the library below quotes a header that it refuses, key and all
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigError("server.key_env", "the key has signs that no key has.", "Copy it once more.")
        return cls(checked_url(url), key)

    @property
    def is_this_machine(self) -> bool:
        host = httpx.URL(self.url).host
        with suppress(ValueError):
            return bool(ipaddress.ip_address(host).is_loopback)
        return host == "localhost"

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.key}"} if self.key else {},
            follow_redirects=False,
            # a proxy of the environment does not know what runs on this machine
            trust_env=not self.is_this_machine,
            # an answer as a whole is waited for, which is the caller's: of this library, each part of it
            timeout=httpx.Timeout(None, connect=CONNECT_S),
        )


def key_of(variable: str) -> str:
    """The key in an environment variable; "" when there is none."""
    return os.environ.get(variable, "") if variable else ""


def checked_url(url: str) -> str:
    """The address that requests begin with. Raises ConfigError with an example."""
    bare = url.strip().rstrip("/").removesuffix("/chat/completions")
    if not bare:
        raise ConfigError("server.url", "it is empty.", EXAMPLE)
    try:
        parts = httpx.URL(bare)
    except httpx.InvalidURL as error:
        raise ConfigError("server.url", "it is no address.", EXAMPLE) from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ConfigError("server.url", "it does not begin with http:// or https:// and a name.", EXAMPLE)
    if parts.userinfo or parts.query or parts.fragment:
        raise ConfigError(
            "server.url",
            "it may hold a password: it has a part with @, ? or #.",
            "Put the key into the environment variable that server.key_env names.",
        )
    return bare
