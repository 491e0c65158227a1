"""Write the pages of settings in docs/ from the declarations: `python docs/make_parameters.py`."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent
DOCS = PROGRAM / "docs"
sys.path.insert(0, str(PROGRAM))  # run as a file, Python looks for modules in docs/ alone

from captioners.config import CaptionConfig  # noqa: E402
from trainers.config import Section, TrainConfig  # noqa: E402
from trainers.parameters import Parameter, parameters, sections  # noqa: E402
from trainers.preferences.config import CompareConfig, GenerateConfig, ScoreConfig  # noqa: E402

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
GENERATING_HEAD = """# Settings of generating

Every setting of a job that draws pictures into a preference set: `python launch.py pairs generate SET key=value ...`. A
setting is written as `section.name=value`, or as `name=value` where only one section has the name. Settings that the
Preferences tab shows first are marked with *.

The negative prompt is empty as a rule. Models with real guidance then turn away from the empty text, which is what
training shows them in place of a caption that was dropped: the null condition is the same for drawing and training.

This page is made from the declarations in the code: `python docs/make_parameters.py`.
"""
SCORING_HEAD = """# Settings of scoring

Every setting of a job that scores the pictures of a preference set: `python launch.py pairs score SET SCORER ...
key=value ...`. A setting is written as `section.name=value`, or as `name=value` where only one section has the name.
The scorers: `python launch.py pairs scorers`.

This page is made from the declarations in the code: `python docs/make_parameters.py`.
"""
COMPARING_HEAD = """# Settings of comparing

Every setting of a job that compares a trained adapter with its reference: `python launch.py pairs compare LORA_OR_RUN
key=value ...`. A setting is written as `section.name=value`, or as `name=value` where only one section has the name.

Both models draw the same prompts from the same noise. What follows from the run that trained the adapter need not be
said: the prompts are those that it held out, and the reference is the LoRA that it builds on, or the base alone. The
pictures and their pairs stay in a set of their own, where people can label them without knowing which is which;
`python launch.py pairs report RUN_OR_SET` counts their votes too. Win rates count a tie as half. Their 95 % intervals
are Wilson's, for as many pairs as would say as much were each of a prompt of its own.

This page is made from the declarations in the code: `python docs/make_parameters.py`.
"""
PAGES: dict[str, tuple[str, type[Section]]] = {
    "parameters.md": (HEAD, TrainConfig),
    "captioning_settings.md": (CAPTION_HEAD, CaptionConfig),
    "generating_settings.md": (GENERATING_HEAD, GenerateConfig),
    "scoring_settings.md": (SCORING_HEAD, ScoreConfig),
    "comparing_settings.md": (COMPARING_HEAD, CompareConfig),
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
