"""Time that a training step waits for its data, from a warm cache, at the shapes of FLUX.1 dev.

    python -m benchmarks.data_time [--pictures 64] [--batch 1] [--step-ms 100]

Latents are [16,128,128] (1024 px), captions 512 x 4096 in bf16, of random numbers: only their way from the cache to
the batch is timed, between pauses as long as a fast training step. Once from memory, and once from files that the
system has in its own cache, as with data sets larger than the memory that is set aside.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.training import draw_pictures, make_bench
from trainers.data import folder
from trainers.data.cache import RAM_LIMIT
from trainers.data.dataset import Dataset
from trainers.families.base import Conditioning

TARGET_MS = 1.0


class Encoders:
    """Answers with random numbers in the shapes of FLUX.1 dev; the parts of a family that a dataset needs."""

    def fingerprint(self, part: str) -> str:
        return f"random {part}"

    def load(self, part: str) -> None:
        return None

    def unload(self, part: str) -> None:
        return None

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(pixels), 16, 128, 128)

    def encode_prompt(self, prompts: list[str]) -> Conditioning:
        words, pooled = torch.randn(len(prompts), 512, 4096), torch.randn(len(prompts), 768)
        return Conditioning({"words": words.bfloat16(), "pooled": pooled.bfloat16()})


def measure(root: Path, pictures: int, batch: int, step_s: float, ram_limit: int) -> list[float]:
    """Milliseconds that each step of two epochs waits, after one epoch that warms up."""
    settings: dict[str, dict[str, Any]] = {"data": {"resolution": 1024}, "schedule": {"batch_size": batch}}
    target = root / "pictures"
    if not target.exists():
        draw_pictures(target, pictures)
    bench = make_bench(root, Path("sandbox"), target, **settings)
    encoders: Any = Encoders()
    scan, device = folder.scan(bench.config.data), torch.device("cpu")
    dataset = Dataset(scan, bench.config, encoders, device, bench.run.path, ram_limit)
    dataset.encode((), lambda *_: None)
    waits = []
    for number in range(3 * dataset.batches_per_epoch):
        begun = time.perf_counter()
        dataset.batch(number)
        waits.append(1000 * (time.perf_counter() - begun))
        time.sleep(step_s)
    return waits[dataset.batches_per_epoch :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--step-ms", type=float, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        for name, limit in (("memory", RAM_LIMIT), ("files", 0)):
            waits = measure(Path(root), args.pictures, args.batch, args.step_ms / 1000, limit)
            median, worst = statistics.median(waits), sorted(waits)[int(0.95 * len(waits))]
            print(f"from {name}: {median:.2f} ms a step (median), {worst:.2f} ms (95 %); target {TARGET_MS} ms")


if __name__ == "__main__":
    main()
