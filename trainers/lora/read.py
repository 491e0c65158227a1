"""A LoRA file of any program, as layers of a model."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from trainers.lora.layers import Layers


def read_lora(path: Path, skeleton: dict[str, nn.Module]) -> Layers:
    raise NotImplementedError
