"""What a step of preference training costs, beside a step of plain training on the same pictures.

    python -m benchmarks.dpo_step [--large] [--pairs 8] [--steps 12]

B pairs against 2 B pictures, through the real loop on the sandbox's base, or on a FLUX of about 100 M parameters with
random weights. A step of preference training has one more pass without a gradient, for the reference.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from benchmarks.loop_overhead import make_base
from tests.preference_pairs import pair_bench
from trainers.paths import ASSETS

FIRST = 2  # steps that warm up


def median_seconds(root: Path, base: Path, kind: str, pairs: int, steps: int) -> float:
    """Median time of a step of "dpo" or "sft" on so many pairs, or twice as many pictures."""
    rows = pairs if kind == "dpo" else 2 * pairs
    rng = torch.Generator().manual_seed(0)
    sides = {"latents": torch.randn(rows, 16, 8, 8, generator=rng), "weight": torch.ones(rows)}
    sides["loser"] = torch.randn(rows, 16, 8, 8, generator=rng) if kind == "dpo" else None
    bench = pair_bench(
        root,
        base,
        kind,
        sides,
        objective={"kind": "dpo", "pairs": "in memory"} if kind == "dpo" else {"kind": "sft", "pairs": ""},
        schedule={"batch_size": rows, "max_steps": FIRST + steps},
    )
    bench.train()
    return statistics.median(step.seconds for step in bench.steps()[FIRST:])


def measure(root: Path, base: Path, pairs: int, steps: int) -> tuple[float, float]:
    """Seconds of a step of plain training and of preference training."""
    plain, preference = (median_seconds(root, base, kind, pairs, steps) for kind in ("sft", "dpo"))
    return plain, preference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        base = make_base(root / "base") if args.large else ASSETS / "sandbox"
        plain, preference = measure(root, base, args.pairs, args.steps)
    print(f"plain training, {2 * args.pairs} pictures   {plain:.3f} s a step")
    print(f"preference training, {args.pairs} pairs   {preference:.3f} s a step")
    print(f"ratio {preference / plain:.2f} (must be 2.2 or less)")


if __name__ == "__main__":
    main()
