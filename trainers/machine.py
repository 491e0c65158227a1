"""What this computer offers, found without importing torch."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import psutil

GIB = 1 << 30
Device = Literal["cuda", "mps", "cpu"]


@dataclass(frozen=True)
class Machine:
    """device: what torch will compute on; memory_gib: of that device; bf16: it computes in bfloat16 fast."""

    device: Device
    name: str
    memory_gib: float
    ram_gib: float
    cores: int
    bf16: bool


@contextlib.contextmanager
def nvml() -> Iterator[object | None]:
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
    """The machine as a run on it will see it. An NVIDIA card counts only with a torch that can use it."""
    ram_gib = psutil.virtual_memory().total / GIB
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return Machine("mps", "Apple GPU", ram_gib * 0.7, ram_gib, cores, bf16=True)
    if "+cpu" not in torch_build():
        with nvml() as api:
            if api is not None and api.nvmlDeviceGetCount():  # type: ignore[attr-defined]
                handle = api.nvmlDeviceGetHandleByIndex(0)  # type: ignore[attr-defined]
                name = api.nvmlDeviceGetName(handle)  # type: ignore[attr-defined]
                total = api.nvmlDeviceGetMemoryInfo(handle).total / GIB  # type: ignore[attr-defined]
                major, _ = api.nvmlDeviceGetCudaComputeCapability(handle)  # type: ignore[attr-defined]
                return Machine("cuda", str(name), total, ram_gib, cores, bf16=major >= 8)
    return Machine("cpu", platform.processor() or platform.machine(), ram_gib, ram_gib, cores, bf16=False)
