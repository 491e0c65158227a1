"""What the Preferences tab may ask of jobs: their forms, what they would do, and how far they are."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.ui import asked, forms
from app.ui.answers import answer
from app.ui.preference_form import JobDraft, declared, get, modified
from app.ui.texts import Texts
from trainers.preferences.config import CONFIGS, JobKind

if TYPE_CHECKING:
    from app.services.studio import Studio

MAX_TEXT = 100_000  # letters of a setting: prompts may be many
MAX_SETTINGS = 200
MAX_NAMES = 50
MAX_NAME = 80


def of_jobs(studio: Studio, texts: Texts) -> list[Callable[..., Any]]:
    """Every argument comes from the network."""
    drafts: dict[str, JobDraft] = {kind: JobDraft(studio, kind) for kind in CONFIGS}

    def pref_form(request: Any) -> dict[str, Any]:
        """{fields} of a kind of job, as they are for a set."""
        kind, name = asked.parts(request, 2)
        draft, wanted = drafts[_kind(kind)], asked.text(name, MAX_NAME)
        return {"fields": draft.fields(wanted, texts)}

    def pref_edit(request: Any) -> dict[str, Any]:
        """Take what some controls hold; what a job with all settings would do. {error} when the set is gone."""
        kind, name, raws = asked.parts(request, 3)
        wanted, which = asked.text(name, MAX_NAME), _kind(kind)
        values = drafts[which].edit(wanted, _raws(raws))
        found = answer(lambda: studio.preferences.jobs.check(which, values, wanted))
        if "error" in found:
            return {"error": texts.reason(found["error"])}
        return {
            **found,
            "errors": _errors(found["errors"], texts),
            "modified": modified(values),
            "resolved": _resolved(which, values, found["toml"]),
            "scorers": values.get("scorers", {}).get("names", []),
        }

    def pref_start(request: Any) -> dict[str, Any]:
        """{run, errors: {path: message}}."""
        kind, name, raws = asked.parts(request, 3)
        wanted, which = asked.text(name, MAX_NAME), _kind(kind)
        values = drafts[which].edit(wanted, _raws(raws))
        found = answer(lambda: studio.preferences.jobs.start(which, values, wanted))
        if "error" in found:
            return {"error": texts.reason(found["error"])}
        return {**found, "errors": _errors(found["errors"], texts)}

    def pref_stop(run_id: Any) -> dict[str, Any]:
        wanted = asked.run(run_id)
        found = answer(lambda: {"toast": studio.command(wanted, "stop")})
        return {key: texts.reason(said) for key, said in found.items()}

    def pref_resume(run_id: Any) -> dict[str, Any]:
        started = studio.resume_run(asked.run(run_id))
        return {"run": started.run_id or "", "error": texts.reason(" ".join(one.message for one in started.errors))}

    return [pref_form, pref_edit, pref_start, pref_stop, pref_resume]


def _resolved(kind: JobKind, values: dict[str, Any], toml: str) -> dict[str, str]:
    """What "auto" became, and the base that came with an adapter."""
    filled, known = tomllib.loads(toml), declared(CONFIGS[kind])
    shown = {}
    for path, one in known.items():
        asked_for = get(values, one)
        if toml and (asked_for == "auto" or path == "model.base"):
            text = forms.show(one, filled[one.section][one.name])
            if text not in ("auto", asked_for):
                shown[path] = text
    return shown


def _errors(errors: list[dict[str, str]], texts: Texts) -> dict[str, str]:
    """Path -> message; the first of several stays."""
    found: dict[str, str] = {}
    for error in errors:
        found.setdefault(error["field"], texts.reason(error["message"]))
    return found


def _kind(value: Any) -> JobKind:
    if value not in CONFIGS:
        raise ValueError("there is no such kind of job")
    kind: JobKind = value
    return kind


def _raws(value: Any) -> dict[str, Any]:
    """What controls hold: dotted path -> text, yes and no, or the names of scorers."""
    if not isinstance(value, dict) or len(value) > MAX_SETTINGS:
        raise ValueError("settings are a record")
    for path, raw in value.items():
        if path == "scorers.names":
            _check_names(raw)
        elif not isinstance(path, str) or not isinstance(raw, bool | str) or len(str(raw)) > MAX_TEXT:
            raise ValueError("a setting is a text, or yes or no")
    return value


def _check_names(value: Any) -> None:
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise ValueError("scorers are a list of names")
    for name in value:
        asked.text(name, MAX_NAME)
