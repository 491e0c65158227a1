"""What this computer offers, found without importing torch."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import psutil

GIB = 1 << 30
AMD_CARDS = Path("/sys/class/drm")
Device = Literal["cuda", "mps", "cpu"]


@dataclass(frozen=True)
class Machine:
    """device: what torch will compute on ("cuda" for AMD cards too); memory_gib: of that device; bf16: it is fast."""

    device: Device
    name: str
    memory_gib: float
    ram_gib: float
    cores: int
    bf16: bool


@contextlib.contextmanager
def nvml() -> Iterator[ModuleType | None]:
    """The NVML module, ready for calls; None where no NVIDIA driver answers."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def torch_build() -> str:
    """Version of the installed torch with its build, as in "2.13.0+cpu"; empty when it is not installed."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def detect() -> Machine:
    """The machine as a run on it will see it. A card counts only with a torch that can use it."""
    ram_gib = psutil.virtual_memory().total / GIB
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        # of the memory that it shares with the processor, macOS gives the GPU about 70 %
        return Machine("mps", "Apple GPU", ram_gib * 0.7, ram_gib, cores, bf16=True)
    build = torch_build()
    card = None
    if "+rocm" in build:
        card = _amd_card()
    elif "+cpu" not in build:
        card = _nvidia_card(ram_gib)
    if card:
        name, memory_gib, bf16 = card
        return Machine("cuda", name, memory_gib, ram_gib, cores, bf16)
    return Machine("cpu", platform.processor() or platform.machine(), ram_gib, ram_gib, cores, bf16=False)


def _nvidia_card(ram_gib: float) -> tuple[str, float, bool] | None:
    """(name, memory in GiB, fast bf16) of the first card that CUDA_VISIBLE_DEVICES leaves; None without one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    with nvml() as api:
        if api is None or not api.nvmlDeviceGetCount():
            return None
        try:
            handle = api.nvmlDeviceGetHandleByIndex(int(visible))
        except (ValueError, api.NVMLError):  # "", "-1", a UUID, or the number of a card that is not there
            if not visible.startswith(("GPU-", "MIG-")):
                return None
            handle = api.nvmlDeviceGetHandleByUUID(visible)
        major, _ = api.nvmlDeviceGetCudaComputeCapability(handle)
        return api.nvmlDeviceGetName(handle), _nvidia_memory_gib(api, handle, ram_gib), major >= 8


def _nvidia_memory_gib(api: Any, handle: Any, ram_gib: float) -> float:
    try:
        return float(api.nvmlDeviceGetMemoryInfo(handle).total / GIB)
    except api.NVMLError_NotSupported:  # a card that shares the memory of the processor, as in a DGX Spark
        return ram_gib


def _amd_card() -> tuple[str, float, bool] | None:
    """(name, memory in GiB, fast bf16) of the largest AMD card, as the Linux driver reports it; None without one."""
    sizes = [int(file.read_text()) for file in AMD_CARDS.glob("card*/device/mem_info_vram_total")]
    return ("AMD GPU", max(sizes) / GIB, True) if sizes else None
