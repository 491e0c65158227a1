"""How quick the gallery answers: `python -m benchmarks.gallery [--count 5000]`. Prints each number beside its target.

Made pictures with captions of 30 tags; times of the service, without the way to the browser.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.services.gallery import Gallery
from app.services.studio import Studio
from benchmarks.page import report

TAGS = [f"{kind} {thing}" for kind in ("red", "old", "small", "wet") for thing in ("hat", "dog", "tree", "wall", "car")]
TRIES = 15


def make_pictures(folder: Path, count: int) -> None:
    rng, noise = random.Random(0), np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        size = rng.choice(((48, 64), (64, 64), (96, 64)))
        Image.fromarray(noise.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)).resize(size).save(
            folder / f"{number:05}.jpg"
        )
        caption = ", ".join(f"{tag} {rng.randrange(20)}" for tag in rng.choices(TAGS, k=30))
        (folder / f"{number:05}.txt").write_text(caption, encoding="utf-8")


def timed(act: Callable[[], Any]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * 1000


def slowest(act: Callable[[int], Any]) -> float:
    return max(timed(lambda number=number: act(number)) for number in range(TRIES))  # type: ignore[misc]


def read_whole(gallery: Gallery, set_id: str) -> tuple[float, float]:
    """Milliseconds until a first page of pictures is there, and until everything is known."""
    begun = time.perf_counter()
    gallery.open(set_id)
    while not (gallery.page(set_id, {}, 0, 100)["items"] or gallery.open(set_id)["ready"]):
        time.sleep(0.01)
    first = time.perf_counter()
    while not gallery.open(set_id)["ready"]:
        time.sleep(0.05)
    return (first - begun) * 1000, (time.perf_counter() - begun) * 1000


def measure(data_dir: Path, folder: Path, count: int) -> list[bool]:
    studio = Studio(data_dir)
    studio.save_draft("sandbox", {"data": {"folder": str(folder)}, "model": {"base": "flux-dev"}})
    set_id = studio.gallery.id_of(str(folder))
    first, ready = read_whole(studio.gallery, set_id)
    results = [
        report("never read: first page", first, "ms", 1000),
        report("never read: all decoded", ready, "ms", 10 * count),
    ]
    studio.close()
    studio = Studio(data_dir)
    gallery = studio.gallery
    first, ready = read_whole(gallery, set_id)
    results += [
        report("read before: first page", first, "ms", 1000),
        report("read before: all known", ready, "ms", 2000),
    ]
    pids = [item[0] for item in gallery.page(set_id, {}, 0, 500)["items"]]

    def save(number: int) -> None:
        known = gallery.detail(set_id, pids[number])
        gallery.save(set_id, pids[number], f"{known['caption']}, saved", known["stamp"])
        gallery.page(set_id, {}, 0, 200)

    replace = {"kind": "replace", "find": "red", "with": "blue"}
    pages = max(1, count // 200)
    results += [
        report("page of 200, slowest", slowest(lambda n: gallery.page(set_id, {}, n % pages * 200, 200)), "ms", 100),
        report("search, slowest", slowest(lambda n: gallery.page(set_id, {"search": f"hat {n}"}, 0, 200)), "ms", 100),
        report(
            "sorted by tokens, first time", timed(lambda: gallery.page(set_id, {"sort": "tokens"}, 0, 200)), "ms", 2000
        ),
        report("detail, slowest", slowest(lambda n: gallery.detail(set_id, pids[n])), "ms", 100),
        report("save, and the page after it, slowest", slowest(save), "ms", 100),
        report("token count while typing, slowest", slowest(lambda n: gallery.count("a red hat " * 20 * n)), "ms", 100),
        report("tags", timed(lambda: gallery.tags(set_id, {}, 500)), "ms", 1000),
        report("histogram", timed(lambda: gallery.histogram(set_id)), "ms", 1000),
        report("bulk edit, preview", timed(lambda: gallery.preview_edit(set_id, replace, {"query": {}})), "ms", 1000),
        report(
            "bulk edit of everything", timed(lambda: gallery.apply_edit(set_id, replace, {"query": {}})), "ms", 20_000
        ),
        report("undo of it", timed(lambda: gallery.undo(set_id)), "ms", 20_000),
    ]
    thumbs = [timed(lambda pid=pid: gallery.thumbnail(set_id, pid)) for pid in pids[:100]]  # type: ignore[misc]
    results.append(report("thumbnail that exists, median", statistics.median(thumbs), "ms", 10))
    studio.close()
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="pictures")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as root:
        make_pictures(Path(root, "pictures"), count)
        results = measure(Path(root, "data"), Path(root, "pictures"), count)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
