"""A Florence-2 captioner of the tiny model: its folder, its config, what it is asked and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from captioners.base import Captioner, Request, Runtime
from captioners.config import CaptionConfig
from tests.tiny_captioners_florence import pictures, save_florence

CPU = Runtime(torch.device("cpu"), torch.float32)
TASKS = ["<MORE_DETAILED_CAPTION>", "<CAPTION>", "<DETAILED_CAPTION>"]


def native_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    save_florence(folder)
    return folder


def config(beams: int = 1, max_tokens: int = 12, name: str = "florence2-base") -> CaptionConfig:
    drawn = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "beams": beams, "max_tokens": max_tokens}
    return CaptionConfig.model_validate({"captioner": {"name": name}, "generate": drawn})


def requests(tasks: list[str] = TASKS) -> list[Request]:
    return [Request(picture, task) for picture, task in zip(pictures(len(tasks)), tasks, strict=True)]


def texts(captioner: Captioner) -> list[str]:
    return [result.text for result in captioner.caption(requests())]


def parts(captioner: Any) -> tuple[Any, Any]:
    return captioner._model, captioner._processor
