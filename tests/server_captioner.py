"""A captioner that asks the stub of a server: its config, its pictures, and a world without a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from captioners.base import Captioner, Request, Runtime
from captioners.config import CaptionConfig
from captioners.server import load
from captioners.server_client import Pauses
from tests.stub_server import COLOURS, StubServer

QUICK = Pauses(first_s=0.001, longest_s=0.01)
NOWHERE = Path("/nowhere/at/all")
KEY = "sk-a-very-secret-key"
VARIABLE = "ATELIER_TEST_KEY"


def without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def running_stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def config_of(url: str, **changes: dict[str, Any]) -> CaptionConfig:
    values: dict[str, Any] = {
        "captioner": {"name": "server"},
        "generate": {"temperature": 0.5, "top_p": 0.9, "top_k": 0, "beams": 1, "max_tokens": 77},
        "server": {"url": url, "model": "stub", "retries": 2, "timeout_s": 5.0, "key_env": VARIABLE},
    }
    for section, more in changes.items():
        values[section] = values.get(section, {}) | more
    return CaptionConfig.model_validate(values)


def captioner_of(config: CaptionConfig, stop_asked: Any = lambda: False) -> Captioner:
    return load(NOWHERE, config, Runtime(torch.device("cpu"), torch.float32, stop_asked=stop_asked), QUICK)


def picture(colour: str = "red", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, COLOURS[colour])


def ask(config: CaptionConfig, *colours: str) -> list[Any]:
    return captioner_of(config).caption([Request(picture(colour), "Describe it.", 7) for colour in colours or ("red",)])
