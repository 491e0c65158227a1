"""Components of a pipeline, opened from wherever they lie."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer

from trainers.weights.source import ModelSource, place_of


def open_model(source: ModelSource, name: str, cls: Any, dtype: torch.dtype) -> nn.Module:
    """A frozen module of `cls` in eval mode on the CPU."""
    place = place_of(source, name)
    loaded = cls.from_pretrained(
        place.path, subfolder=place.subfolder, revision=source.revision or None, torch_dtype=dtype
    )
    return loaded.eval().requires_grad_(False)


def open_skeleton(source: ModelSource, name: str, cls: Any) -> nn.Module:
    """The module without weights, on the meta device."""
    config = cls.config_class.from_pretrained(source.configs, subfolder=name) if hasattr(cls, "config_class") else None
    with torch.device("meta"):
        return cls(config) if config else cls.from_config(cls.load_config(source.configs, subfolder=name))


def open_tokenizer(source: ModelSource, name: str) -> Any:
    return AutoTokenizer.from_pretrained(source.configs, subfolder=name, revision=source.revision or None)


def open_scheduler(source: ModelSource, cls: Any, **changes: Any) -> Any:
    """The model's own scheduler settings in a scheduler of `cls`."""
    config = cls.load_config(source.configs, subfolder="scheduler", revision=source.revision or None)
    return cls.from_config(config, **changes)
