"""What the UNet families share: their schedule of noise, and the sampler that previews are drawn with."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler

from trainers.config import Model
from trainers.errors import ConfigError
from trainers.processes import Diffusion
from trainers.weights.open import open_scheduler
from trainers.weights.source import ModelSource

# embedders and ends are small, and what they get wrong reaches everything
KEEP = ("time_embedding", "add_embedding", "conv_in", "conv_out")


def open_process(source: ModelSource, config: Model, zero_snr: str) -> tuple[Diffusion, EulerDiscreteScheduler]:
    """(the process, the sampler) of the model's schedule. zero_snr: "auto" as its scheduler says, "on", "off".

    A schedule with zero terminal SNR is drawn with trailing timesteps, or the first step would never be used
    (Lin et al. 2024). Raises ConfigError for such a schedule of a model that predicts eps.
    """
    own = open_scheduler(source, EulerDiscreteScheduler).config
    prediction = own.prediction_type if config.prediction == "auto" else config.prediction
    rescaled = own.rescale_betas_zero_snr if zero_snr == "auto" else zero_snr == "on"
    if rescaled and prediction == "epsilon":
        raise ConfigError(
            "noise.zero_snr",
            "the base predicts the noise, which at the last level of such a schedule is the very input.",
            "Set noise.zero_snr = off, or model.prediction = v_prediction if the base was trained so.",
        )
    changes: dict[str, Any] = {"prediction_type": prediction, "rescale_betas_zero_snr": rescaled}
    if rescaled:
        changes["timestep_spacing"] = "trailing"
    sampler = open_scheduler(source, EulerDiscreteScheduler, **changes)
    schedule = DDPMScheduler.from_config(sampler.config)
    return Diffusion(schedule.alphas_cumprod.to(torch.float32), prediction), sampler
