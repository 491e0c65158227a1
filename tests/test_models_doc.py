"""docs/models.md says what the tables of families say."""

from __future__ import annotations

import re

import pytest

from trainers import catalog, fitting
from trainers.parameters import by_path
from trainers.paths import PROGRAM

PAGE = (PROGRAM / "docs/models.md").read_text(encoding="utf-8")
COLUMNS = ("flux", "sd15", "sdxl", "sd3")


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    lines = PAGE.split(f"## {heading}\n")[1].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    table = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def test_options_by_family_are_those_of_the_code() -> None:
    told = 0
    for option, *cells in rows("What suits which family"):
        for name in re.findall(r"`([a-z_.= ]+)`", option):
            path, _, choice = name.partition(" = ")
            section = option.split("`")[1].split(".")[0]
            path = path if "." in path or path in by_path() else f"{section}.{path}"
            if path not in by_path():  # the second choice of a list, or a word of another option
                continue
            for family, cell in zip(COLUMNS, cells, strict=True):
                spec = catalog.FAMILIES[family]
                unfit = fitting.unfit_choices(spec).get(path, {}) if choice else fitting.hidden_paths(spec)
                assert ((choice or path) in unfit) == (cell == "-"), (family, name)
                told += 1
    assert told >= 12 * len(COLUMNS)


def test_every_hidden_option_is_told() -> None:
    table = str(rows("What suits which family"))
    names = {path.split(".")[1] for path in fitting.FIELDS} - {"mode_scale", "min_snr_gamma"}
    names -= {"pyramid_discount", "pyramid_levels", "text_encoder_learning_rate"}  # told as what they belong to
    assert [name for name in names if name not in table] == []


@pytest.mark.parametrize("family", catalog.FAMILIES)
def test_programs_by_layout_are_those_of_the_catalog(family: str) -> None:
    names = {"flux": "FLUX.1", "sd15": "SD 1.5, SDXL", "sdxl": "SD 1.5, SDXL", "sd3": "SD 3, 3.5"}
    programs = ("ComfyUI", "diffusers", "Forge", "A1111", "kohya")
    told: dict[str, set[str]] = {}
    title = ""
    for first, layout, *cells in rows("Which file for which program"):
        title = first or title
        if title == names[family]:
            loads = {program for program, cell in zip(programs, cells, strict=True) if cell.startswith("yes")}
            told[layout.split("`")[1]] = loads
            assert ("(auto)" in layout) == (layout.split("`")[1] == catalog.FAMILIES[family].layouts[0])
    spec = catalog.FAMILIES[family]
    assert told == {layout: set(spec.loads_in[layout].split(", ")) for layout in spec.layouts}
