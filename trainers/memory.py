"""How much memory the run has taken, on whatever device it runs."""

from __future__ import annotations

import psutil
import torch

from trainers.machine import GIB


def peak_gib(device: torch.device) -> float:
    """Peak so far: of the allocator on CUDA, of the process (as far as the system tells) elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / GIB
    return psutil.Process().memory_info().rss / GIB
