"""The form of the Captions tab: its fields as records, and the settings that the studio keeps of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from app.ui import forms
from app.ui.texts import Texts
from captioners.catalog import CAPTIONERS
from captioners.config import CaptionConfig
from trainers.parameters import Parameter, by_path

if TYPE_CHECKING:
    from app.services.studio import Studio

PREFIX = "caption."  # of the translations: both configurations have a section "run"
NAME = "captioner.name"
BLANKS_COUNT = ("policy.separator", "policy.prefix", "policy.suffix")
LONG = ("prompt.text", "prompt.system")
OPEN = ("prompt.length", "prompt.options", "server.model")  # what is offered for them is not all that there is
SAID_BY_CHOICES = ("policy.existing",)  # the help names the values, which the page shows in words

Values = dict[str, Any]  # {"section": {"key": value}}


class CaptionDraft:
    """The settings that the tab edits. They keep what other captioners read, for the way back to them."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()

    def name(self) -> str:
        """The chosen captioner; the default one in place of one that there is no more."""
        name = get(self._studio.captioning.draft(), NAME)
        return str(name if name in CAPTIONERS else _declared(NAME).default)

    def edit(self, raws: Mapping[str, Any]) -> Values:
        """Take what some controls hold: dotted path -> content. The settings for the chosen captioner.

        Raises ValueError for a path that the form does not have.
        """
        with self._lock:
            draft = self._studio.captioning.draft()
            if raws:
                self._check(raws)
                wanted = {path: parse(_declared(path), raw) for path, raw in raws.items()}
                draft = only_changed(forms.put(draft, wanted))
                self._studio.captioning.save_draft(draft)
        return self.fitting(draft)

    def _check(self, raws: Mapping[str, Any]) -> None:
        """Raises ValueError: what no form has is not for the page to set, such as which key a server is sent."""
        if NAME in raws and raws[NAME] not in CAPTIONERS:
            raise ValueError("there is no such captioner")
        if unknown := raws.keys() - self._in_forms - {NAME}:
            raise ValueError(f"no form has {min(unknown)[:60]!r}")

    @cached_property
    def _in_forms(self) -> frozenset[str]:
        return frozenset(p.path for name in CAPTIONERS for p in self._studio.captioning.parameters(name))

    def fitting(self, draft: Values) -> Values:
        """Those settings of the draft that its captioner reads: others would be refused."""
        name = self.name()
        read = {p.path: get(draft, p.path) for p in self._studio.captioning.parameters(name)}
        return forms.put(only_changed(forms.put({}, read)), {NAME: name})

    def fields(self, texts: Texts) -> list[dict[str, Any]]:
        """The form of the chosen captioner, as `field_of` makes it."""
        name, draft = self.name(), self._studio.captioning.draft()
        offered = self._studio.captioning.choices(name)
        parameters = self._studio.captioning.parameters(name)
        return [field_of(p, texts, get(draft, p.path), offered.get(p.path, ())) for p in parameters]


def field_of(parameter: Parameter, texts: Texts, value: Any, offered: Sequence[str]) -> dict[str, Any]:
    """What the page draws a control from. options: [value, its words]; control: check, select, area, combo or text."""
    unit = texts.unit(parameter)
    label = texts.label(parameter, PREFIX)
    choices = [*parameter.choices, *offered]
    options = list(dict.fromkeys([*(["auto"] if parameter.auto and choices else []), *choices]))
    return {
        "path": parameter.path,
        "section": parameter.section,
        "level": parameter.level,
        "label": f"{label} ({unit})" if unit and unit.lower() not in label.lower() else label,
        "help": "" if parameter.path in SAID_BY_CHOICES else texts.help(parameter, PREFIX),
        "control": _control(parameter, options),
        "options": [[option, choice_words(texts, parameter.path, option)] for option in options],
        "value": forms.show(parameter, value),
        "default": forms.show(parameter, parameter.default),
    }


def choice_words(texts: Texts, path: str, value: str) -> str:
    """A choice in words; itself where the table has none, as for those that other programs know by that name."""
    return texts.table.get(f"{PREFIX}choice.{path.split('.')[1]}.{value}", value)


def _control(parameter: Parameter, options: Sequence[str]) -> str:
    if parameter.kind == "bool":
        return "check"
    if parameter.kind == "lines" or parameter.path in LONG:
        return "area"
    if parameter.path in OPEN:
        return "combo"
    return "select" if options else "text"


def parse(parameter: Parameter, raw: Any) -> Any:
    """As `forms.parse`; blanks at the ends of what goes between texts belong to it."""
    if parameter.path in BLANKS_COUNT and isinstance(raw, str) and raw.strip():
        return raw
    return forms.parse(parameter, raw)


def get(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or the parameter's default."""
    section, key = path.split(".")
    part = values.get(section)
    return part[key] if isinstance(part, Mapping) and key in part else _plain(_declared(path).default)


def only_changed(values: Values) -> Values:
    """Without what is at its default, and without what is no setting any more."""
    changed = [
        (path, value)
        for section, part in values.items()
        for path, value in ((f"{section}.{key}", value) for key, value in part.items())
        if path in by_path(CaptionConfig) and value != _plain(_declared(path).default)
    ]
    return forms.put({}, dict(changed))


def modified(values: Values) -> list[str]:
    """Paths that are not at their default; the captioner itself is no such change."""
    changed = [f"{section}.{key}" for section, part in only_changed(values).items() for key in part]
    return [path for path in changed if path != NAME]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _declared(path: str) -> Parameter:
    parameter = by_path(CaptionConfig).get(path)
    if parameter is None:
        raise ValueError(f"there is no setting {path[:60]!r}")
    return parameter
