"""`launch.py families`: every model with where it comes from, what it needs and who loads its files."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.machines import CARD_24, LAPTOP
from trainers import catalog, cli, overview
from trainers.machine import Machine
from trainers.paths import PROGRAM
from trainers.resolve import CHECKPOINTING_FROM


@pytest.mark.parametrize("machine", [LAPTOP, CARD_24], ids=lambda machine: machine.device)
def test_every_model_has_a_row_that_fits_a_terminal(machine: Machine) -> None:
    lines = list(overview.families(machine))
    assert max(map(len, lines)) <= 120
    for name, model in catalog.MODELS.items():
        (row,) = [line for line in lines if re.match(rf"  {re.escape(name)} ", line)]
        assert model.source in row and model.licence in row and f" {model.native_resolution} " in row
        assert ("*" in row) == model.gated


def test_columns_stand_below_each_other() -> None:
    lines = list(overview.families(CARD_24))
    heads = [line for line in lines if line.startswith("  model ")]
    assert len(heads) == len(catalog.FAMILIES) and len(set(heads)) == 1
    place = heads[0].index("licence")
    rows = [line for line in lines if line.split(" ")[2:3] and line.split()[:1] and line.split()[0] in catalog.MODELS]
    assert len(rows) == len(catalog.MODELS)
    assert all(row[place - 1] == " " and row[place] != " " for row in rows)


def test_eight_bits_need_no_more_than_sixteen() -> None:
    """Of models that compute twice: without that, weights that were unpacked for a layer are kept for its gradient."""
    for name, model in catalog.MODELS.items():
        if model.denoiser_params >= CHECKPOINTING_FROM:
            assert overview._memory_gib(name, "fp8", CARD_24) <= overview._memory_gib(name, "none", CARD_24)


def test_every_layout_names_the_programs_that_load_it() -> None:
    page = "\n".join(overview.families(LAPTOP))
    for family in catalog.FAMILIES.values():
        assert f"{family.layouts[0]} (default): loads in {family.loads_in[family.layouts[0]]}" in page
        assert all(f"{layout}" in page and family.loads_in[layout] in page for layout in family.layouts)
        assert f"{family.default_targets} (default)" in page


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["families"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: {family.title}, ready" in printed for name, family in catalog.FAMILIES.items())


def test_presets_are_printed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["presets"]) == 0
    printed = capsys.readouterr().out
    assert "sd15-style" in printed and "Style on Stable Diffusion 1.5, 8 GB" in printed
    assert max(map(len, printed.splitlines())) <= 130


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in `launch.py families | head`."""
    command = [sys.executable, "-m", "trainers.cli", "families"]
    with subprocess.Popen(command, cwd=PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")
