"""How fast large folders are read: `python -m benchmarks.scan --count 100000`. Prints each number beside its target.

Small JPEGs with captions in folders of 1,000: a few hundred different ones, linked under as many names as asked for.
Each scan is a process of its own, whose peak memory is told.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.data.folder import scan_folder
from trainers.data.index import entries

DIFFERENT = 300
IN_A_FOLDER = 1000
LONG_AGO = 1_600_000_000  # a file that was written just now would be read again
ENDINGS = ".txt"
WARM_PER_S = 3000
PEAK_MIB = 1024


def make_pictures(folder: Path, count: int) -> None:
    """img/0000/000000.jpg and so on, each with a caption."""
    originals = folder / "originals"
    originals.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(DIFFERENT):
        small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
        side = 96 + 8 * (number % 9)
        small.resize((side * 4 // 3, side), Image.Resampling.BICUBIC).save(originals / f"{number}.jpg")
        words = " ".join(f"word{word}" for word in rng.integers(0, 999, 30))
        (originals / f"{number}.txt").write_text(f"picture {number}, {words}\n", encoding="utf-8")
        for ending in ("jpg", "txt"):
            os.utime(originals / f"{number}.{ending}", (LONG_AGO, LONG_AGO))
    for number in range(count):
        target = folder / "img" / f"{number // IN_A_FOLDER:04d}"
        if number % IN_A_FOLDER == 0:
            target.mkdir(parents=True)
        for ending in ("jpg", "txt"):
            os.link(originals / f"{number % DIFFERENT}.{ending}", target / f"{number:07d}.{ending}")


def hold(folder: Path, store: Path) -> int:
    """A scan whose pictures are all in memory, as for training. Headers only."""
    return len(scan_folder(folder, ENDINGS, store, content=False).pictures)


def stream(folder: Path, store: Path) -> int:
    """The index alone, one entry after the other."""
    return sum(1 for _ in entries(folder, store / "streamed.jsonl", ENDINGS))


def decode(folder: Path, store: Path) -> int:
    return sum(1 for _ in entries(folder, store / "decoded.jsonl", ENDINGS, content=True))


def measured(work: Callable[[Path, Path], int], folder: Path, store: Path) -> tuple[int, float, float]:
    """Pictures, seconds, and the peak memory of this process in MiB."""
    begun = time.perf_counter()
    pictures = work(folder, store)
    return pictures, time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(
    name: str, work: Callable[[Path, Path], int], folder: Path, store: Path, wanted: int, target: int | None = None
) -> bool:
    """target: pictures per second, in less than PEAK_MIB."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        pictures, seconds, peak = alone.submit(measured, work, folder, store).result()
    rate = pictures / seconds
    good = pictures == wanted and (target is None or (rate >= target and peak < PEAK_MIB))
    aim = f"  target {target} per s, below {PEAK_MIB} MiB  {'ok' if good else 'MISSED'}" if target else ""
    print(f"{name:<34}{pictures:>9} in {seconds:>6.1f} s{rate:>9.0f} per s   peak {peak:>5.0f} MiB{aim}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory(prefix="scan-") as work:
        folder, store = Path(work, "pictures"), Path(work, "index")
        make_pictures(folder, count)
        part = folder / "img" / "0000"
        good = [
            report("first scan, headers", hold, folder / "img", store, count),
            report("second scan, nothing changed", hold, folder / "img", store, count, WARM_PER_S),
            report("index alone, first time", stream, folder / "img", store, count),
            report("index alone, second time", stream, folder / "img", store, count),
            report("decoding, a part", decode, part, store, min(count, IN_A_FOLDER)),
            report("decoding, a part, second time", decode, part, store, min(count, IN_A_FOLDER)),
        ]
        print(f"store: {sum(file.stat().st_size for file in store.glob('*.jsonl')) / count:.0f} bytes for each picture")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
