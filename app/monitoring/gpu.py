"""What the machine does right now: graphics card by NVML, processor and memory by psutil."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import psutil

from trainers.machine import GIB, nvml

log = logging.getLogger(__name__)

PERIOD_S = 1.0
KEPT = 3600


@dataclass(frozen=True)
class Gpu:
    """The first NVIDIA card. A value that the driver does not tell is None."""

    name: str
    memory_used_gib: float
    memory_total_gib: float
    utilisation_percent: float | None
    temperature_c: float | None
    power_w: float | None


@dataclass(frozen=True)
class Reading:
    """One look at the machine. gpu: None without an NVIDIA driver."""

    time: float
    gpu: Gpu | None
    cpu_percent: float
    ram_used_gib: float
    ram_total_gib: float


class Sampler:
    """One thread that looks once a second and keeps the last hour."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._readings: deque[Reading] = deque(maxlen=KEPT)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="machine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._period_s + 5)

    def latest(self) -> Reading | None:
        """The last reading; None in the first instant."""
        return self._readings[-1] if self._readings else None

    def history(self, since: float = 0.0) -> list[Reading]:
        """Readings from a time on (seconds since 1970), oldest first."""
        return [reading for reading in tuple(self._readings) if reading.time >= since]

    def _loop(self) -> None:
        with nvml() as api:
            card = _first_card(api)
            while not self._ended.is_set():
                self._readings.append(_read(api, card))
                self._ended.wait(self._period_s)


def _first_card(api: Any) -> Any:
    if api is None:
        return None
    try:
        return api.nvmlDeviceGetHandleByIndex(0)
    except api.NVMLError as error:
        log.info("no NVIDIA card: %s", error)
        return None


def _read(api: Any, card: Any) -> Reading:
    ram = psutil.virtual_memory()
    used = (ram.total - ram.available) / GIB
    return Reading(time.time(), read_gpu(api, card), psutil.cpu_percent(), used, ram.total / GIB)


def read_gpu(api: Any, card: Any) -> Gpu | None:
    """The card by NVML; None without a card, or for one that does not even tell its memory."""
    if card is None:
        return None

    def told(read: Any) -> Any:
        try:
            return read()
        except api.NVMLError:  # not every card tells everything
            return None

    memory = told(lambda: api.nvmlDeviceGetMemoryInfo(card))
    if memory is None:
        return None
    power_mw = told(lambda: api.nvmlDeviceGetPowerUsage(card))
    use = told(lambda: api.nvmlDeviceGetUtilizationRates(card))
    return Gpu(
        name=str(told(lambda: api.nvmlDeviceGetName(card)) or "NVIDIA"),
        memory_used_gib=memory.used / GIB,
        memory_total_gib=memory.total / GIB,
        utilisation_percent=None if use is None else float(use.gpu),
        temperature_c=told(lambda: api.nvmlDeviceGetTemperature(card, api.NVML_TEMPERATURE_GPU)),
        power_w=None if power_mw is None else power_mw / 1000,
    )
