"""Captions of a model that runs elsewhere: at a server that speaks OpenAI's protocol."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from captioners.base import Captioner, Request, Result, Runtime
from captioners.config import CaptionConfig
from captioners.server_client import Client, Pauses, list_models, only_model, run
from captioners.server_endpoint import Endpoint, checked_url, key_of
from captioners.server_messages import question, would_send

LONGEST_PROMPT = 80  # signs of it in the line of a dry run


def load(source: Path, config: CaptionConfig, runtime: Runtime, pauses: Pauses | None = None) -> Captioner:
    """source: not used. Asks the server for its only model where none is named; a dry run asks nothing."""
    if config.server.cost_free:
        checked_url(config.server.url)
        return DryRun(config)
    part = config.server
    server = Endpoint.of(part.url, key_of(part.key_env))
    model = part.model or only_model(run(list_models(server), runtime.stop_asked), server)
    client = Client(server, part.retries, part.timeout_s, pauses)
    return ServerCaptioner(client, model, config, runtime.stop_asked)


class ServerCaptioner:
    """Asks the server for each picture, several at a time."""

    def __init__(self, client: Client, model: str, config: CaptionConfig, stop_asked: Callable[[], bool]) -> None:
        self._client, self._model, self._config, self._stop_asked = client, model, config, stop_asked

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        questions = [partial(question, self._config, request, self._model) for request in requests]
        return run(self._client.ask_all(questions, self._config.server.concurrency), self._stop_asked)


class DryRun:
    """Says what would be sent, and sends nothing: questions to paid servers cost money."""

    def __init__(self, config: CaptionConfig) -> None:
        self._config = config

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        return [Result(self._line(request)) for request in requests]

    def _line(self, request: Request) -> str:
        sent = would_send(self._config, request)
        prompt = textwrap.shorten(sent["prompt"], LONGEST_PROMPT, placeholder=" ...")
        picture = f"a {sent['width']}x{sent['height']} JPEG of {max(1, round(sent['bytes'] / 1000))} kB"
        return f'would ask {sent["model"]} at {sent["url"]}: "{prompt}" with {picture}'
