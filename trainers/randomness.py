"""Stateless randomness: every draw follows from what it is for, so nothing has to be saved to go on."""

from __future__ import annotations

import hashlib

import torch


def seed_of(*keys: int | str) -> int:
    """A 63-bit seed that is the same on every machine for the same keys."""
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*keys: int | str) -> torch.Generator:
    """A CPU generator for these keys. Noise is drawn on the CPU, so it is the same on every device."""
    return torch.Generator().manual_seed(seed_of(*keys))
