"""The built-in world: the base draws what its captions say, and the default run teaches it something new."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from trainers import cli, resolve
from trainers.data.folder import scan_folder
from trainers.paths import ASSETS
from trainers.rundir import RunDir, all_records
from trainers.sandbox import quality, scenes

pytestmark = pytest.mark.slow


def test_base_draws_colour_and_shape_of_nine_captions_in_ten() -> None:
    from trainers.sandbox.build import held_out_combinations

    measured = quality.measure_base(ASSETS / "sandbox", held_out_combinations())
    assert measured["captions"] == 200
    assert measured["colour_and_shape"] >= 90, measured


def test_shipped_weights_are_small() -> None:
    size = sum(file.stat().st_size for file in (ASSETS / "sandbox").rglob("*") if file.is_file())
    assert size <= 12_000_000


def test_sample_pictures_show_the_concept_and_name_it() -> None:
    found = scan_folder(ASSETS / "samples", ".txt", None)
    assert len(found.pictures) == 12 and not found.bad
    for picture in found.pictures:
        (caption,) = picture.lines or ()
        assert scenes.CONCEPT_WORD in caption
        reading = scenes.read(Image.open(picture.path))
        assert reading.shape == scenes.CONCEPT_WORD
        assert reading.colour is not None and reading.colour in caption


def test_default_run_teaches_the_concept_and_leaves_the_rest(tmp_path: Path) -> None:
    """At least 80 % after, and no more than 5 points lost on other prompts: counted on 60 + 60 pictures."""
    run = RunDir(tmp_path / "first-light")
    assert cli.main(["train", "sandbox", "--run-dir", str(run.path)]) == 0
    before, after = (r["values"] for r in all_records(run.events) if r["kind"] == "measured")
    assert before["concept"] <= 0.1
    assert after["concept"] >= 0.8
    assert after["others"] >= before["others"] - 0.05
    config = resolve.validate(resolve.parse_toml(run.config.read_text()))
    assert run.adapter(config.run.name).is_file()
