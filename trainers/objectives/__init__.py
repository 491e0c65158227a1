"""What is minimised, and how a prediction is judged."""

from __future__ import annotations

from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.objectives.base import Objective
from trainers.objectives.dpo import Dpo
from trainers.objectives.sft import Sft


def make_objective(config: TrainConfig) -> Objective:
    """Raises ConfigError for an adapter that the objective cannot train."""
    if config.objective.kind == "sft":
        return Sft(config.objective, config.noise)
    if config.adapter.dropout:
        message = "dropout is only in the model, not in its reference: their difference would be noise times beta."
        raise ConfigError("adapter.dropout", message, "Set adapter.dropout = 0.")
    return Dpo(config.objective, continued=bool(config.adapter.resume_from))
