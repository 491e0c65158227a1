"""The forms of the Preferences tab: what jobs on a set are asked, as records, and the settings that are kept."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from app.ui import caption_form, forms
from app.ui.texts import Texts
from trainers.config.section import Section
from trainers.parameters import Parameter, by_path
from trainers.preferences.config import CONFIGS, JobKind

if TYPE_CHECKING:
    from app.services.studio import Studio

PREFIX = "preferences.field."  # of the translations; those of the section "model" are the ones of training
NOT_IN_THE_FORM = ("set.", "run.output_dir", "scorers.names")  # the tab itself says them
OFFERED = ("model.base", "adapter.file", "policy.file", "reference.file")  # there is more than what is offered
CHOSEN = ("prompts.folder",)
SECTIONS = ("policy", "reference", "prompts", "model", "adapter", "pictures", "scorers", "memory", "run")
FIRST = ("prompts.texts", "prompts.folder")  # of their section

Values = dict[str, Any]  # {"section": {"key": value}}
Offers = Mapping[str, Sequence[tuple[str, str]]]  # path -> (value, its words)


class JobDraft:
    """The settings of one kind of job, kept for each set."""

    def __init__(self, studio: Studio, kind: JobKind) -> None:
        self._studio, self._kind, self._config = studio, kind, CONFIGS[kind]
        self._lock = threading.Lock()

    def parameters(self) -> list[Parameter]:
        """What the form asks, in its order."""
        asked = [one for one in declared(self._config).values() if not one.path.startswith(NOT_IN_THE_FORM)]
        return sorted(asked, key=lambda one: (SECTIONS.index(one.section), one.path not in FIRST, _place(one.path)))

    def values(self, name: str) -> Values:
        """The settings of a set that are not at their default."""
        return only_changed(self._studio.preferences.drafts.load(name, self._kind), self._config)

    def edit(self, name: str, raws: Mapping[str, Any]) -> Values:
        """Take what some controls hold: dotted path -> content; "scorers.names" is a list of names.

        Raises ValueError for a path that the form does not have.
        """
        known = {one.path: one for one in self.parameters()}
        if unknown := raws.keys() - known.keys() - {"scorers.names"}:
            raise ValueError(f"no form has {min(unknown)[:60]!r}")
        with self._lock:
            values = self.values(name)
            if raws:
                wanted = {path: _parsed(known.get(path), raw) for path, raw in raws.items()}
                values = only_changed(forms.put(values, wanted), self._config)
                self._studio.preferences.drafts.save(name, self._kind, values)
        return values

    def fields(self, name: str, texts: Texts) -> list[dict[str, Any]]:
        """The form, as `field_of` makes it."""
        values, offers = self.values(name), self._studio.preferences.offers.of()
        return [field_of(one, texts, get(values, one), offers) for one in self.parameters()]


def field_of(parameter: Parameter, texts: Texts, value: Any, offers: Offers) -> dict[str, Any]:
    """What the page draws a control from; see `caption_form.field_of`."""
    path, offered = parameter.path, list(offers.get(parameter.path, ()))
    prefix = "" if parameter.section == "model" else PREFIX
    unit, label = texts.unit(parameter), texts.label(parameter, prefix)
    record = caption_form.field_of(parameter, texts, value, ())
    if path in CHOSEN:
        offered = [("", texts("preferences.none")), *offered]
    return {
        **record,
        "label": f"{label} ({unit})" if unit and unit.lower() not in label.lower() else label,
        "help": texts.help(parameter, prefix),
        "control": "combo" if path in OFFERED else "select" if path in CHOSEN else record["control"],
        "options": [list(one) for one in offered] or [[option, option] for option, _ in record["options"]],
    }


def get(values: Mapping[str, Any], parameter: Parameter) -> Any:
    """The value of a parameter; the default where nothing was said."""
    part = values.get(parameter.section)
    if isinstance(part, Mapping) and parameter.name in part:
        return part[parameter.name]
    return parameter.default


@cache
def declared(config: type[Section]) -> dict[str, Parameter]:
    """Dotted path -> parameter. A section may be declared with another default than its class has."""
    found = {}
    for path, one in by_path(config).items():
        value = getattr(config.model_fields[one.section].default, one.name)
        found[path] = dataclasses.replace(one, default=list(value) if isinstance(value, tuple) else value)
    return found


def only_changed(values: Mapping[str, Any], config: type[Section]) -> Values:
    """Without what is at its default, and without what is no setting any more."""
    known = declared(config)
    changed = {
        path: value
        for section, part in values.items()
        if isinstance(part, Mapping)
        for path, value in ((f"{section}.{key}", value) for key, value in part.items())
        if path in known and value != known[path].default
    }
    return forms.put({}, changed)


def modified(values: Values) -> list[str]:
    """Paths of settings that are not at their default."""
    return [f"{section}.{key}" for section, part in values.items() for key in part]


def _place(path: str) -> int:
    return FIRST.index(path) if path in FIRST else 0


def _parsed(parameter: Parameter | None, raw: Any) -> Any:
    """None: the scorers, which are chosen by cards."""
    return [str(name) for name in raw] if parameter is None else forms.parse(parameter, raw)
