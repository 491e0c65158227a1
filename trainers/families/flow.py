"""What the flow families share: how far their samplers shift noise levels."""

from __future__ import annotations

import math
from typing import Any

from diffusers.pipelines.flux.pipeline_flux import calculate_shift


def flow_shift(scheduler: Any, tokens: int, kind: str) -> float:
    """The shift S for a picture of so many tokens.

    "resolution": exp(mu) with mu linear in the tokens; "static": the scheduler's number; "auto": as it is set up.
    """
    config = scheduler.config
    if kind == "static" or (kind == "auto" and not config.use_dynamic_shifting):
        return float(config.shift)
    mu = calculate_shift(
        tokens, config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
    )
    return math.exp(mu)
