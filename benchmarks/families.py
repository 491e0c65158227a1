"""Memory and speed of training at the published sizes, with random weights: what the forecasts rest on.

    python -m benchmarks.families [CASE ...] [--steps 6] [--list]

Needs a graphics card. Pictures and captions are random too: the time of a step does not depend on them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.random_weights import random_weights
from tests.training import draw_pictures
from trainers import plan, resolve
from trainers.config import TrainConfig
from trainers.data import folder
from trainers.data.dataset import Dataset
from trainers.events import Event, StepDone
from trainers.families import load_family
from trainers.loop import train
from trainers.machine import GIB, Machine, detect
from trainers.objectives import make_objective
from trainers.paths import ASSETS
from trainers.rundir import RunDir
from trainers.worker import make_runtime, quiet_libraries

WARM_UP = 2  # steps that are not counted


@dataclass(frozen=True)
class Case:
    """values: what differs from the defaults of the model, by section."""

    model: str
    side: int
    values: dict[str, dict[str, Any]] = field(default_factory=dict)


def _memory(checkpointing: str, quantize: str = "none") -> dict[str, dict[str, Any]]:
    return {"memory": {"gradient_checkpointing": checkpointing, "quantize": quantize}}


CASES = {
    "sd15": Case("sd15", 512, _memory("off")),
    "sd15-batch4": Case("sd15", 512, {**_memory("off"), "schedule": {"batch_size": 4}}),
    "sd15-checkpointing": Case("sd15", 512, _memory("on")),
    "sd15-text": Case("sd15", 512, {**_memory("off"), "adapter": {"text_encoders": True}}),
    "sdxl": Case("sdxl", 1024, _memory("off")),
    "sdxl-checkpointing": Case("sdxl", 1024, _memory("on")),
    "sdxl-fp8": Case("sdxl", 1024, _memory("on", "fp8")),
    "sdxl-text": Case("sdxl", 1024, {**_memory("on"), "adapter": {"text_encoders": True}}),
    "sd35-medium": Case("sd35-medium", 1024, _memory("off")),
    "sd35-medium-checkpointing": Case("sd35-medium", 1024, _memory("on")),
    "sd35-large": Case("sd35-large", 1024, _memory("on")),
    "sd35-large-fp8": Case("sd35-large", 1024, _memory("on", "fp8")),
    "flux-dev": Case("flux-dev", 1024, _memory("on")),
    "flux-dev-512": Case("flux-dev", 512, _memory("off")),
    "flux-dev-fp8": Case("flux-dev", 1024, _memory("on", "fp8")),
    "flux-dev-fp8-768": Case("flux-dev", 768, _memory("on", "fp8")),
}


@dataclass(frozen=True)
class Measured:
    encoding_gib: float
    training_gib: float
    step_s: float
    expected: plan.Plan


def config_of(case: Case, root: Path, machine: Machine) -> TrainConfig:
    sections: dict[str, dict[str, Any]] = {
        "run": {"name": "run", "output_dir": str(root), "threads": 4},
        "model": {"base": str(ASSETS / "configs" / case.model)},
        "data": {"folder": str(root / "pictures"), "resolution": case.side, "cache_dir": str(root / "cache")},
        "sample": {"every_steps": 0},
        "save": {"every_steps": 0},
    }
    for section, part in case.values.items():
        sections[section] = {**sections.get(section, {}), **part}
    return resolve.resolve(resolve.validate(sections), machine)


def measure(case: Case, steps: int) -> Measured:
    """Encode four pictures, train some steps, and read the allocator's peaks."""
    machine = detect()
    with tempfile.TemporaryDirectory() as place, random_weights():
        root = Path(place)
        draw_pictures(root / "pictures", 4)
        config = config_of(case, root, machine)
        config = resolve.with_changes(config, {"schedule": {"max_steps": steps}})
        run, runtime = RunDir(root / "run"), make_runtime(config)
        run.create(resolve.dump(config))
        family = load_family(config, runtime)
        torch.cuda.reset_peak_memory_stats()
        dataset = Dataset(folder.scan(config.data), config, family, runtime.device, run.path)
        dataset.encode((), lambda *_: None)
        encoding = torch.cuda.max_memory_allocated() / GIB
        torch.cuda.empty_cache()
        marks: list[float] = []

        def emit(event: Event) -> None:
            if not isinstance(event, StepDone):
                return
            torch.cuda.synchronize()
            marks.append(time.perf_counter())
            if len(marks) == 1:
                torch.cuda.reset_peak_memory_stats()  # what making random weights took is no part of it

        train(config, family, make_objective(config), dataset, run, runtime, emit, lambda: [])
        spans = sorted(b - a for a, b in itertools.pairwise(marks[WARM_UP - 1 :]))
        expected = plan.forecast(config, machine, pictures=4)
        peak = torch.cuda.max_memory_allocated() / GIB
        for part in ("denoiser", "trained_text"):
            family.unload(part)
    return Measured(encoding, peak, spans[len(spans) // 2], expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        print("\n".join(CASES))
        return
    if not torch.cuda.is_available():
        parser.error("this needs a graphics card that torch can use")
    quiet_libraries()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "diffusers", "peft"))
    print(f"{torch.cuda.get_device_name()}; {versions}; batch 1, rank 16, bf16 unless told", flush=True)
    print(
        f"{'case':28}{'px':>6}{'encoding':>10}{'training':>10}{'forecast':>10}{'step':>9}{'forecast':>10}", flush=True
    )
    for name in args.cases or CASES:
        case = CASES[name]
        found = measure(case, args.steps)
        print(
            f"{name:28}{case.side:6}{found.encoding_gib:8.1f} G{found.training_gib:8.1f} G"
            f"{found.expected.memory_gib:8.1f} G{found.step_s:7.3f} s{found.expected.seconds_per_step:8.3f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
