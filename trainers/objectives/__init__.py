"""What is minimised, and how a prediction is judged."""

from __future__ import annotations

from trainers.config import TrainConfig
from trainers.objectives.base import Objective
from trainers.objectives.sft import Sft


def make_objective(config: TrainConfig) -> Objective:
    return {"sft": Sft}[config.objective.kind](config.objective, config.noise)
