"""Published sizes without published weights: opens any model of a configuration with random numbers in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from trainers.sandbox import build
from trainers.weights.open import open_skeleton
from trainers.weights.source import ModelSource


@contextlib.contextmanager
def random_weights() -> Iterator[None]:
    """Within it the families open random modules, on the graphics card if there is one, and small tokenizers."""
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch("trainers.families.parts.open_model", _random_model))
        patches.enter_context(mock.patch("trainers.families.parts.open_tokenizer", _tokenizer))
        yield


def _random_model(source: ModelSource, name: str, cls: Any, dtype: torch.dtype) -> nn.Module:
    config = open_skeleton(source, name, cls).config
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = cls(config) if hasattr(cls, "config_class") else cls.from_config(config)
    finally:
        torch.set_default_dtype(before)
    for parameter in model.parameters():  # the usual starts are too large to pass through so many layers in bf16
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
    return model.eval().requires_grad_(False)


def _tokenizer(source: ModelSource, name: str) -> Any:
    clip, _, t5, _ = build.make_text_encoders()
    clip.model_max_length = 77
    index = json.loads((Path(source.configs) / "model_index.json").read_text(encoding="utf-8"))
    return t5 if index[name][1].startswith("T5") else clip
