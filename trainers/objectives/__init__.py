"""What is minimised, and how a prediction is judged."""

from __future__ import annotations

from trainers.config import Sft as SftConfig
from trainers.objectives.base import Objective
from trainers.objectives.sft import Sft


def make_objective(config: SftConfig) -> Objective:
    return {"sft": Sft}[config.kind](config)
