"""Words of the interface in each language, from `assets/translations`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property

from trainers.parameters import Parameter, sections
from trainers.paths import ASSETS
from trainers.preflight import Finding, Reasons

LANGUAGES = {"en": "English", "zh": "中文"}
TRANSLATIONS = ASSETS / "translations"
REASON = "reason."


@dataclass(frozen=True)
class Texts:
    """The words of one language. English labels of parameters come from their declaration, others from the table."""

    language: str
    table: dict[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Raises KeyError for a key that the table lacks."""
        return self.table[key].format(**values) if values else self.table[key]

    def label(self, parameter: Parameter, prefix: str = "") -> str:
        """prefix: of the keys of another configuration than that of training, as in "caption."."""
        return self.table.get(f"{prefix}{parameter.path}.label", parameter.label)

    def help(self, parameter: Parameter, prefix: str = "") -> str:
        return self.table.get(f"{prefix}{parameter.path}.help", parameter.help)

    def section(self, name: str) -> str:
        """The one line that says what a section is about: its docstring, or its translation."""
        return self.table.get(f"section.{name}", (sections()[name].__doc__ or name).strip())

    def finding(self, finding: Finding) -> tuple[str, str]:
        """Message and hint of a finding: as it says them itself, or the translation of its code."""
        message = self.table.get(f"finding.{finding.code}")
        if message is None:
            return finding.message, finding.hint
        hint = self.table.get(f"finding.{finding.code}.hint", "") if finding.hint else ""
        values = {key: self._said(value) for key, value in finding.values.items()}
        if "remedy" in values:  # it quotes an error, whose words are known as a whole
            quoted = self.reason(f"{finding.values['reason']} {finding.values['remedy']}")
            values |= {"reason": quoted, "remedy": ""}
        return message.format(**values), hint.format(**values)

    def _said(self, value: object) -> object:
        return value.said(self.reason) if isinstance(value, Reasons) else value

    def reason(self, reason: str) -> str:
        """Why a file cannot be used; what the table has no words for stays as it is."""
        for pattern, words in self._reasons:
            if found := pattern.fullmatch(reason):
                return words.format(**{name: self.reason(part) for name, part in found.groupdict().items()})
        return reason

    @cached_property
    def _reasons(self) -> list[tuple[re.Pattern[str], str]]:
        """The entries under "reason.", whose keys are the English words; those that fit fewest first."""
        known = [(key.removeprefix(REASON), words) for key, words in self.table.items() if key.startswith(REASON)]
        known.sort(key=lambda entry: (entry[0].count("{"), -len(entry[0])))
        return [(_pattern(english), words) for english, words in known]

    def preset(self, title: str) -> str:
        """The title of a preset; one's own presets keep theirs."""
        return self.table.get(f"preset.{title}", title)

    def unit(self, parameter: Parameter) -> str:
        return self.table.get(f"unit.{parameter.unit}", parameter.unit)

    def part(self, *prefixes: str) -> dict[str, str]:
        """The entries that a widget needs in the page, as in part("runs.", "plot.")."""
        return {key: text for key, text in self.table.items() if key.startswith(prefixes)}


def _pattern(english: str) -> re.Pattern[str]:
    """Of "it has {size} megapixels": any text may stand in the braces."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+)", re.escape(english)))


@cache
def texts(language: str) -> Texts:
    """Raises KeyError for an unknown language."""
    if language not in LANGUAGES:
        raise KeyError(language)
    return Texts(language, json.loads((TRANSLATIONS / f"{language}.json").read_text(encoding="utf-8")))
