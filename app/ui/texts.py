"""Words of the interface in each language, from `assets/translations`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from trainers.parameters import Parameter, sections
from trainers.paths import ASSETS
from trainers.preflight import Finding

LANGUAGES = {"en": "English", "zh": "中文"}
TRANSLATIONS = ASSETS / "translations"


@dataclass(frozen=True)
class Texts:
    """The words of one language. English labels of parameters come from their declaration, others from the table."""

    language: str
    table: dict[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Raises KeyError for a key that the table lacks."""
        return self.table[key].format(**values) if values else self.table[key]

    def label(self, parameter: Parameter) -> str:
        return self.table.get(f"{parameter.path}.label", parameter.label)

    def help(self, parameter: Parameter) -> str:
        return self.table.get(f"{parameter.path}.help", parameter.help)

    def section(self, name: str) -> str:
        """The one line that says what a section is about: its docstring, or its translation."""
        return self.table.get(f"section.{name}", (sections()[name].__doc__ or name).strip())

    def finding(self, finding: Finding) -> tuple[str, str]:
        """Message and hint of a finding: as it says them itself, or the translation of its code."""
        message = self.table.get(f"finding.{finding.code}")
        if message is None:
            return finding.message, finding.hint
        hint = self.table.get(f"finding.{finding.code}.hint", "") if finding.hint else ""
        return message.format(**finding.values), hint.format(**finding.values)

    def preset(self, title: str) -> str:
        """The title of a preset; one's own presets keep theirs."""
        return self.table.get(f"preset.{title}", title)

    def unit(self, parameter: Parameter) -> str:
        return self.table.get(f"unit.{parameter.unit}", parameter.unit)

    def part(self, *prefixes: str) -> dict[str, str]:
        """The entries that a widget needs in the page, as in part("runs.", "plot.")."""
        return {key: text for key, text in self.table.items() if key.startswith(prefixes)}


@cache
def texts(language: str) -> Texts:
    """Raises KeyError for an unknown language."""
    if language not in LANGUAGES:
        raise KeyError(language)
    return Texts(language, json.loads((TRANSLATIONS / f"{language}.json").read_text(encoding="utf-8")))
