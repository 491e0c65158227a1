"""Computers to plan and check runs for, and configs resolved for them."""

from __future__ import annotations

from typing import Any

from trainers import resolve
from trainers.config import TrainConfig
from trainers.machine import Machine

LAPTOP = Machine(device="cpu", name="a laptop", memory_gib=16.0, ram_gib=16.0, cores=4, bf16=False)
CARD_24 = Machine(device="cuda", name="a 24 GB card", memory_gib=24.0, ram_gib=64.0, cores=16, bf16=True)


def resolved(values: dict[str, Any], machine: Machine = LAPTOP) -> TrainConfig:
    """The config of these values, with every "auto" filled."""
    return resolve.resolve(resolve.validate(values), machine)
