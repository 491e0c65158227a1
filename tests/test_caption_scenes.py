"""The command line over 200 freshly drawn scenes, with the built-in captioner: does it say what is there?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from captioners.sandbox import fresh_scenes
from trainers.paths import PROGRAM
from trainers.sandbox import scenes

COUNT = 200
SEED = 99


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[scenes.Scene]]:
    """A folder of scenes, each of a combination that the captioner was shown, none of a picture that it was."""
    folder = tmp_path_factory.mktemp("captions") / "scenes"
    folder.mkdir()
    drawn = fresh_scenes(COUNT, np.random.default_rng(SEED))
    for number, scene in enumerate(drawn):
        scenes.draw(scene).save(folder / f"{number:03}.png")
    return folder, drawn


@pytest.fixture(scope="module")
def said(drawn: tuple[Path, list[scenes.Scene]]) -> list[str]:
    folder, _ = drawn
    command = [sys.executable, "-m", "captioners.cli", "caption", "sandbox", str(folder)]
    environment = {**os.environ, "ATELIER_DATA_DIR": str(folder.parent / "data")}
    done = subprocess.run(command, cwd=PROGRAM, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"written {COUNT}, skipped 0, failed 0"
    return [(folder / f"{number:03}.txt").read_text("utf-8") for number in range(COUNT)]


def share(said: list[str], shown: list[scenes.Scene]) -> float:
    """Percent of captions that are exactly that of their scene."""
    right = (text == scenes.caption(scene) for text, scene in zip(said, shown, strict=True))
    return 100 * sum(right) / len(shown)


def test_captions_of_fresh_pictures_are_exact(said: list[str], drawn: tuple[Path, list[scenes.Scene]]) -> None:
    exact = share(said, drawn[1])
    print(f"\nexact captions of {COUNT} fresh scenes: {exact:.1f} %")
    assert exact >= 95


def test_captions_belong_to_their_pictures(said: list[str], drawn: tuple[Path, list[scenes.Scene]]) -> None:
    """Against other pictures as many are right as the mix of scenes gives: about one in 240."""
    others = [share(said, drawn[1][shift:] + drawn[1][:shift]) for shift in range(1, 21)]
    mean = sum(others) / len(others)
    print(f"\nexact against another picture: {mean:.2f} % in the mean of {len(others)} shifts")
    assert mean <= 2
