"""What a run will compute on, told from the driver and the build of torch alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainers import machine
from trainers.machine import GIB, detect


class NVMLError(Exception):
    pass


class NVMLErrorNotSupported(NVMLError):
    pass


class Driver(SimpleNamespace):
    """NVML of a machine with two cards."""

    NVMLError = NVMLError
    NVMLError_NotSupported = NVMLErrorNotSupported
    cards = (("RTX 4090", 24, (8, 9)), ("GTX 1080 Ti", 11, (6, 1)))

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if not 0 <= index < len(self.cards):
            raise NVMLError
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        return {"GPU-b": 1}[uuid]

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self.cards[handle][0]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=self.cards[handle][1] * GIB)

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return self.cards[handle][2]


class DriverOfSharedMemory(Driver):
    """NVML of a computer whose card has no memory of its own."""

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        raise NVMLErrorNotSupported


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "AMD_CARDS", tmp_path)


def install(monkeypatch: pytest.MonkeyPatch, build: str, driver: Driver | None) -> None:
    @contextlib.contextmanager
    def nvml() -> Iterator[Driver | None]:
        yield driver

    monkeypatch.setattr(machine, "nvml", nvml)
    monkeypatch.setattr(machine, "torch_build", lambda: build)


def test_card_of_a_torch_that_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "2.13.0+cu130", Driver())
    found = detect()
    assert (found.device, found.name, found.memory_gib, found.bf16) == ("cuda", "RTX 4090", 24.0, True)


@pytest.mark.parametrize(("build", "driver"), [("2.13.0+cpu", Driver()), ("2.13.0", None)])
def test_without_card_or_build_it_is_the_processor(
    monkeypatch: pytest.MonkeyPatch, build: str, driver: Driver | None
) -> None:
    install(monkeypatch, build, driver)
    found = detect()
    assert found.device == "cpu" and not found.bf16
    assert found.memory_gib == found.ram_gib > 0 and found.cores > 0


@pytest.mark.parametrize(
    ("visible", "name"),
    [("0", "RTX 4090"), ("1", "GTX 1080 Ti"), ("1,0", "GTX 1080 Ti"), ("GPU-b", "GTX 1080 Ti")],
)
def test_card_that_the_environment_leaves(monkeypatch: pytest.MonkeyPatch, visible: str, name: str) -> None:
    install(monkeypatch, "2.13.0+cu130", Driver())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect().name == name
    assert detect().bf16 == (name == "RTX 4090")


@pytest.mark.parametrize("visible", ["", "-1", "7"])
def test_environment_that_leaves_no_card(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    install(monkeypatch, "2.13.0+cu130", Driver())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect().device == "cpu"


def test_card_that_shares_the_memory_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "2.13.0+cu130", DriverOfSharedMemory())
    found = detect()
    assert found.device == "cuda" and found.memory_gib == found.ram_gib


def test_amd_card_is_found_by_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, "2.13.0+rocm7.1", None)
    assert detect().device == "cpu"
    for card, size in (("card0", 1), ("card1", 24)):
        (tmp_path / card / "device").mkdir(parents=True)
        (tmp_path / card / "device/mem_info_vram_total").write_text(f"{size * GIB}\n")
    found = detect()
    assert (found.device, found.memory_gib, found.bf16) == ("cuda", 24.0, True)


def test_apple_silicon_has_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    found = detect()
    assert found.device == "mps" and 0 < found.memory_gib < found.ram_gib
