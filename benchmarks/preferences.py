"""Does preference training move what was preferred, and nothing else? All of it through the command line, on a CPU.

python -m benchmarks.preferences [--seeds 3] [--keep FOLDER]

For each seed: 200 prompts of drawn scenes, two pictures each from the built-in base; an annotator by rule prefers the
picture whose object stands higher, which the prompts leave open; a run on these votes; 200 prompts of other scenes
drawn with the base and with the adapter from the same noise, read by the scene reader. Then once more with every vote
turned round, and with votes by the toss of a coin.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainers.data.decode import open_picture
from trainers.paths import PROGRAM
from trainers.preferences.agreement import wilson_interval
from trainers.preferences.prefset import Prefset
from trainers.preferences.votes import Vote, left_of
from trainers.sandbox import scenes

PROMPTS = 200
THREADS = "run.threads=1"  # two processes of two threads each on two cores would take ten times as long
LABELS = ("preferred", "reversed", "shuffled")


@dataclass(frozen=True)
class Seen:
    """Of the pictures of one model: share with the object in the upper half, and with everything right that the prompt
    says, both in [0, 1]."""

    upper: float
    adherence: float
    count: int


def drawn_scenes(seed: int, *, fresh: bool = False) -> dict[str, scenes.Scene]:
    """PROMPTS scenes by their captions, all different. No combination of shape, colour, place and background is in both
    those that are voted on and those that are fresh."""
    rng, found = np.random.default_rng([seed, fresh]), {}
    kinds = list(itertools.product(scenes.BASE_SHAPES, scenes.COLOURS, scenes.PLACES, scenes.BACKGROUNDS))
    np.random.default_rng(seed).shuffle(kinds)
    mine = {tuple(map(str, kind)) for kind in kinds[fresh::2]}
    while len(found) < PROMPTS:
        scene, form = scenes.sample_scene(rng), int(rng.integers(len(scenes.CAPTION_FORMS)))
        if (scene.shape, scene.colour, scene.place, scene.background) in mine:
            found.setdefault(scenes.caption(scene, form), scene)
    return found


def launch(data: Path, *arguments: str) -> None:
    """A command of Atelier, as a person types it."""
    command = [sys.executable, str(PROGRAM / "launch.py"), *arguments, "--data-dir", str(data)]
    done = subprocess.run(command, cwd=data, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def height(prefset: Prefset, image_id: str) -> float:
    """Pixels from the top to the object's centre; a picture without an object is the lowest."""
    y = scenes.read(open_picture(prefset.path(image_id))).y
    return scenes.SIZE if y is None else y


def vote(prefset: Prefset, labels: str, seed: int) -> int:
    """Answer every pair of the set by the rule of `labels`; how many there are."""
    coin = random.Random(seed)
    for pair in prefset.pairs.values():
        higher = "a" if height(prefset, pair.a) < height(prefset, pair.b) else "b"
        lower = "b" if higher == "a" else "a"
        choice = {"preferred": higher, "reversed": lower, "shuffled": coin.choice("ab")}[labels]
        answer = Vote(f"{labels}-{pair.pair_id}", pair.pair_id, labels, choice, left_of(pair.pair_id, labels))  # type: ignore[arg-type]
        prefset.votes.add(answer)
    return len(prefset.pairs)


def seen(prefset: Prefset, role: str, wanted: dict[str, scenes.Scene]) -> Seen:
    upper, right = [], []
    for picture in prefset.pictures.values():
        if picture.gen.get("role") != role:
            continue
        scene = wanted[prefset.prompts[picture.prompt_id].prompt]
        reading = scenes.read(open_picture(prefset.path(picture.image_id)))
        upper.append(reading.y is not None and reading.y < scenes.SIZE / 2)
        right.append(reading.agrees(scene) and (reading.place, reading.background) == (scene.place, scene.background))
    return Seen(sum(upper) / len(upper), sum(right) / len(right), len(upper))


def one_seed(data: Path, seed: int, kinds: tuple[str, ...] = LABELS) -> dict[str, tuple[Seen, Seen, float]]:
    """labels -> (reference, policy, seconds of training). data: an empty folder."""
    asked, fresh = drawn_scenes(seed), drawn_scenes(seed, fresh=True)
    for name, prompts in (("asked", asked), ("fresh", fresh)):
        (data / f"{name}.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
    first = data / "preferences" / "drawn"
    drawing = ("model.base=sandbox", f"pictures.seed={seed}", THREADS)
    launch(data, "pairs", "generate", "set.folder=drawn", "prompts.file=asked.txt", "pictures.per_prompt=2", *drawing)
    launch(data, "pairs", "build", "drawn", "pairs=random")
    outcome = {}
    for labels in kinds:
        labelled = first.with_name(labels)
        shutil.copytree(first, labelled)
        count = vote(Prefset(labelled), labels, seed)
        print(f"seed {seed}, {labels}: {count} votes", flush=True)
        begun = time.monotonic()
        run = data / "runs" / labels
        launch(
            data,
            "train",
            "sandbox-preference",
            f"objective.pairs={labelled}",
            f"run.seed={seed}",
            THREADS,
            "--run-dir",
            str(run),
        )
        seconds = time.monotonic() - begun
        launch(data, "pairs", "compare", str(run), f"set.folder=proof-{labels}", "prompts.file=fresh.txt", *drawing[1:])
        proof = Prefset(data / "preferences" / f"proof-{labels}")
        outcome[labels] = (seen(proof, "reference", fresh), seen(proof, "policy", fresh), seconds)
    return outcome


def tell(labels: str, results: list[tuple[Seen, Seen, float]]) -> None:
    """One line a seed, and one for all together."""
    for number, (before, after, seconds) in enumerate(results, 1):
        low, high = wilson_interval(round(before.upper * before.count), before.count)
        print(
            f"{labels:10} seed {number}: upper half {before.upper:.1%} (95 % interval {low:.1%} to {high:.1%}) -> "
            f"{after.upper:.1%}; as the prompt says {before.adherence:.1%} -> {after.adherence:.1%}; "
            f"{seconds:.0f} s of training"
        )
    rise = sum(after.upper - before.upper for before, after, _ in results) / len(results)
    loss = sum(before.adherence - after.adherence for before, after, _ in results) / len(results)
    print(f"{labels:10} mean: {rise:+.1%} in the upper half, adherence {-loss:+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave everything there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (args.keep or Path(temporary)).absolute()
        outcomes = []
        for seed in range(1, args.seeds + 1):
            data = root / f"seed-{seed}"
            data.mkdir(parents=True)
            outcomes.append(one_seed(data, seed))
    for labels in LABELS:
        tell(labels, [outcome[labels] for outcome in outcomes])


if __name__ == "__main__":
    main()
