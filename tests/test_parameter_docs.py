"""The pages of parameters say what the code does."""

from __future__ import annotations

import runpy

import pytest

from trainers.parameters import parameters, sections
from trainers.paths import PROGRAM

maker = runpy.run_path(str(PROGRAM / "docs/make_parameters.py"))


@pytest.mark.parametrize("name", maker["PAGES"])
def test_page_is_current(name: str) -> None:
    written = (maker["DOCS"] / name).read_text(encoding="utf-8")
    assert written == maker["page"](name), "run: python docs/make_parameters.py"


@pytest.mark.parametrize("name", maker["PAGES"])
def test_page_holds_every_parameter_under_its_section(name: str) -> None:
    config = maker["PAGES"][name][1]
    blocks = maker["page"](name).split("\n## ")[1:]
    assert [block.split("\n")[0] for block in blocks] == list(sections(config))
    for block, section in zip(blocks, sections(config), strict=True):
        rows = [line.split("`")[1] for line in block.splitlines() if line.startswith("| `")]
        assert rows == [parameter.name for parameter in parameters(config) if parameter.section == section]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("adapter.rank", '| `rank` | `"auto"` | whole number (1 to 1024), or `"auto"` | Size of the adapter'),
        ("data.folder", '| `folder` * | `""` | text | A folder of pictures'),
        ("captions.shuffle", "| `shuffle` | `false` | true or false | "),
        ("save.dtype", '| `dtype` | `"bf16"` | `"bf16"`, `"fp16"`, `"fp32"` | '),
        ("sample.prompts", "| `prompts` * | `[]` | list of texts | "),
        ("schedule.max_steps", "| `max_steps` * | `1000` | whole number (1 or more, steps) | "),
    ],
)
def test_row_says_default_values_and_help(path: str, expected: str) -> None:
    (parameter,) = [parameter for parameter in parameters() if parameter.path == path]
    assert maker["row"](parameter).startswith(expected)
