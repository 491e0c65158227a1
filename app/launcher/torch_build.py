"""Which build of PyTorch suits this machine, and why."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# The builds that exist of torch 2.13: CUDA 12.6 and 13.0 (13.2 is experimental), ROCm 7.2, and what PyPI has:
# CUDA 13.0 for Linux, no CUDA for Windows.
PYTORCH_INDEX = "https://download.pytorch.org/whl/"
CUDA_13_OLDEST_DRIVER = 580
CUDA_13_OLDEST_CAPABILITY = 7.5  # Turing
CUDA_12_NEWEST_CAPABILITY = 9.0  # Hopper


@dataclass(frozen=True)
class Card:
    """An NVIDIA card. driver: major version; capability: compute capability, as in 8.9."""

    name: str
    driver: int
    memory_gib: float
    capability: float


@dataclass(frozen=True)
class TorchBuild:
    """index_url: where pip takes torch from, empty for pip's own; disk_gib: room for the whole environment."""

    name: str
    index_url: str
    disk_gib: float
    why: str


def choose_build(system: str, machine: str, cards: list[Card] | None, amd: bool) -> TorchBuild:
    """The torch for a machine. system, machine: as of `platform`; cards: None without nvidia-smi."""
    old = _too_old_for_cuda_13(cards or []) if machine.lower() in ("x86_64", "amd64") else ""
    if old:
        return TorchBuild("CUDA 12.6", PYTORCH_INDEX + "cu126", 6, old)
    if system == "Windows" and cards is not None:
        return TorchBuild("CUDA 13.0", PYTORCH_INDEX + "cu130", 6, "Windows with an NVIDIA card")
    if system == "Linux" and amd and not cards:
        return TorchBuild("ROCm 7.2", PYTORCH_INDEX + "rocm7.2", 16, "Linux with an AMD card")
    if system == "Linux":
        return TorchBuild("default", "", 6, "PyPI's build for Linux, with or without an NVIDIA card")
    return TorchBuild("default", "", 2, f"PyPI's build for {system}")


def _too_old_for_cuda_13(cards: list[Card]) -> str:
    """Why the newest card needs CUDA 12; empty when it does not, or when CUDA 12 does not know it either."""
    card = max(cards, key=lambda card: card.capability, default=None)
    if card is None:
        return ""
    if card.capability < CUDA_13_OLDEST_CAPABILITY:
        return f"{card.name} is too old for CUDA 13"
    if card.driver < CUDA_13_OLDEST_DRIVER and card.capability <= CUDA_12_NEWEST_CAPABILITY:
        return f"driver {card.driver} is too old for CUDA 13, which needs {CUDA_13_OLDEST_DRIVER}"
    return ""


def build_for_this_machine() -> TorchBuild:
    return choose_build(platform.system(), platform.machine(), nvidia_cards(), card_maker() == "amd")


def nvidia_cards() -> list[Card] | None:
    """Cards that nvidia-smi names; None when it is not installed, empty when it finds no card."""
    if not shutil.which("nvidia-smi"):
        return None
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return parse_cards(answer.stdout) if answer.returncode == 0 else []


def parse_cards(table: str) -> list[Card]:
    """Rows of `nvidia-smi --query-gpu`, as in "NVIDIA L4, 580.65.06, 23034, 8.9"; other lines are left out."""
    rows = re.findall(r"^(.+), (\d+)[.\d]*, (\d+), (\d+\.\d+)\s*$", table, re.MULTILINE)
    return [Card(name, int(driver), int(mib) / 1024, float(capability)) for name, driver, mib, capability in rows]


def card_maker() -> str:
    """Whose card this machine seems to have, by traces that take no time to look at: nvidia, amd or none."""
    if shutil.which("nvidia-smi"):
        return "nvidia"
    return "amd" if Path("/dev/kfd").exists() or shutil.which("rocminfo") else "none"
