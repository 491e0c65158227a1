"""What a training step spends outside forward, backward and optimizer, at a model of about 100 M parameters.

    python -m benchmarks.loop_overhead [--steps 12]

A FLUX with random weights, 3 double and 6 single blocks of width 768, is trained through the real loop: data
from the cache, events to a file, control file read. The three big parts are timed by wrapping them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel

from tests.tiny import make_flux
from tests.training import draw_pictures, make_bench
from trainers import resolve
from trainers.events import Event, StepDone
from trainers.loop import train
from trainers.objectives import make_objective
from trainers.objectives.sft import Sft
from trainers.rundir import EventLog
from trainers.worker import FileControl


class Timed:
    """Adds up the seconds spent in wrapped functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, owner: Any, name: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - begun

        setattr(owner, name, timed)


def make_base(folder: Path) -> Path:
    make_flux(folder)
    pipe = FluxPipeline.from_pretrained(folder)
    pipe.transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=3,
        num_single_layers=6,
        attention_head_dim=128,
        num_attention_heads=6,
        joint_attention_dim=64,
        pooled_projection_dim=64,
        guidance_embeds=True,
        axes_dims_rope=(16, 56, 56),
    )
    pipe.save_pretrained(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pictures = draw_pictures(root / "pictures", 4)
        bench = make_bench(
            root,
            make_base(root / "base"),
            pictures,
            data={"resolution": 128},
            adapter={"rank": 16},
            schedule={"max_steps": args.steps, "batch_size": 1},
        )
        bench.run.create(resolve.dump(bench.config))
        family, dataset = bench.prepare()
        family.load("denoiser")
        parameters = sum(p.numel() for p in family.denoiser.parameters())
        log, parts = EventLog(bench.run), Timed()
        parts.wrap(Sft, "loss")
        parts.wrap(torch.Tensor, "backward")
        parts.wrap(torch.optim.AdamW, "step")
        marks: list[tuple[float, float]] = []

        def emit(event: Event) -> None:
            log.emit(event)
            if isinstance(event, StepDone):
                marks.append((time.perf_counter(), parts.seconds))

        train(
            bench.config,
            family,
            make_objective(bench.config),
            dataset,
            bench.run,
            bench.runtime,
            emit,
            FileControl(bench.run, time.time()),
        )
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(marks[1:])]
    wall = statistics.median(total for total, _ in steps)
    rest = statistics.median(total - big for total, big in steps)
    print(f"parameters          {parameters / 1e6:.0f} M")
    print(f"step                {wall * 1000:.0f} ms (median of {len(steps)})")
    print(f"all but the 3 parts {rest * 1000:.1f} ms")
    print(f"loop overhead       {100 * rest / wall:.2f} % (must be below 3 %)")


if __name__ == "__main__":
    main()
