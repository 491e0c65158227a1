"""Optimizers and learning-rate schedules, by the names of the configuration."""

from __future__ import annotations

import torch
from diffusers.optimization import get_scheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from trainers.config import Optimizer as OptimizerConfig
from trainers.config import Schedule


def make_optimizer(config: OptimizerConfig, groups: dict[str, list[nn.Parameter]]) -> Optimizer:
    """AdamW over fp32 weights. Fused: a LoRA's hundreds of small tensors would cost a kernel launch each.

    groups: "denoiser" and "text", each with a learning rate of its own; one may be empty.
    """
    rates = {"denoiser": config.learning_rate, "text": config.text_encoder_learning_rate}
    return torch.optim.AdamW(
        [{"params": group, "lr": float(rates[name])} for name, group in groups.items() if group],
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


def make_lr_scheduler(config: Schedule, optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """The schedule of diffusers by this name, over `total_steps` optimizer steps."""
    return get_scheduler(
        config.lr_scheduler,
        optimizer,
        num_warmup_steps=config.warmup_steps,
        num_training_steps=total_steps,
    )
