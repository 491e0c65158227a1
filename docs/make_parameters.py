"""Write docs/parameters.md and docs/captioning_settings.md from the declarations: `python docs/make_parameters.py`."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent
DOCS = PROGRAM / "docs"
sys.path.insert(0, str(PROGRAM))  # run as a file, Python looks for modules in docs/ alone

from captioners.config import CaptionConfig  # noqa: E402
from trainers.config import Section, TrainConfig  # noqa: E402
from trainers.parameters import Parameter, parameters, sections  # noqa: E402

HEAD = """# Parameters

Every setting of a training run, in the order of the Expert form. Write them in a TOML file as `[section]` and
`name = value`, or on the command line as `section.name=value`. Fields of the Train tab are marked with *.
Where "auto" is allowed, the value follows from the model and the machine when the run starts; the run's
`config.toml` holds what it became.

This page is made from the declarations in the code: `python docs/make_parameters.py`.
"""
CAPTION_HEAD = """# Settings of captioning

Every setting of a captioning job. On the command line they follow captioner and folder as `section.name=value`, or as
`name=value` where only one section has the name. Settings that the Captions tab shows first are marked with *. Which
captioner reads which: `python launch.py captioners`; one that a captioner does not read is refused.

This page is made from the declarations in the code: `python docs/make_parameters.py`.
"""
PAGES: dict[str, tuple[str, type[Section]]] = {
    "parameters.md": (HEAD, TrainConfig),
    "captioning_settings.md": (CAPTION_HEAD, CaptionConfig),
}
KINDS = {
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "text": "text",
    "lines": "list of texts",
    "numbers": "list of numbers",
}


def page(name: str) -> str:
    """The whole page of that file, in Markdown."""
    head, config = PAGES[name]
    return "\n".join([head, *(section(part, config) for part in sections(config))])


def section(name: str, config: type[Section]) -> str:
    """Title, one line of text and the table of a section."""
    rows = [row(parameter) for parameter in parameters(config) if parameter.section == name]
    head = ["| name | default | values | what it does |", "|---|---|---|---|"]
    return "\n".join([f"## {name}", "", sections(config)[name].__doc__ or "", "", *head, *rows, ""])


def row(parameter: Parameter) -> str:
    """One line of the table."""
    mark = " *" if parameter.level == "beginner" else ""
    known = f" Found by: {', '.join(parameter.aka.split())}." if parameter.aka else ""
    cells = [f"`{parameter.name}`{mark}", default(parameter), values(parameter), f"{parameter.help}{known}"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def default(parameter: Parameter) -> str:
    """The default as it is written in TOML."""
    value = parameter.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def values(parameter: Parameter) -> str:
    """What may be written: choices, or a kind with unit and bounds."""
    if parameter.choices:
        return ", ".join(f'`"{choice}"`' for choice in parameter.choices)
    bounds = ", ".join(part for part in (parameter.bounds, parameter.unit) if part)
    auto = ', or `"auto"`' if parameter.auto else ""
    return KINDS[parameter.kind] + (f" ({bounds})" if bounds else "") + auto


if __name__ == "__main__":
    for file in PAGES:
        (DOCS / file).write_text(page(file), encoding="utf-8", newline="\n")
