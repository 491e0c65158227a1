"""What the forms' widgets show of a draft, as one JSON record: plan, findings, errors, marks, TOML, command."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.ui import forms, sets
from app.ui.draft import DraftEditor, Edited
from app.ui.texts import Texts
from trainers import fitting
from trainers.config import TrainConfig
from trainers.parameters import by_path, parameters
from trainers.preflight import Fix

if TYPE_CHECKING:
    from app.services.studio import FieldError, Preview, Studio

_SERIAL = itertools.count()


def describe(studio: Studio, editor: DraftEditor, edited: Edited, texts: Texts, **more: Any) -> dict[str, Any]:
    """The record for the page. more: what the last action adds, as in started="id" or toast="..."."""
    preview = studio.preview(edited.after)
    preset = editor.preset(edited.preset)
    changed = forms.modified(edited.after, preset)
    errors = {path: texts.reason(told) for path, told in errors_by_path(preview.errors).items()}
    return {
        "serial": next(_SERIAL),  # the page notices a record only when it differs from the last one
        "preset": edited.preset,
        "base": forms.get(edited.after, "model.base"),
        "line": _line(preview, studio, texts),
        "errors": errors | _problems(preview, texts),
        "findings": _findings(preview, texts),
        "plan": _plan(preview, studio, texts),
        # a large folder is being read
        "waiting": preview.config is not None and not (preview.errors or preview.findings),
        "modified": changed,
        "counts": Counter(path.split(".")[0] for path in changed),
        "defaults": {path: _shown(preset, path) for path in changed},
        "changed": {path: _shown(edited.after, path) for path in changed},
        "resolved": _resolved(edited.after, preview.config),
        "hidden": _hidden(edited.after, errors, texts),
        "toml": preview.toml,
        "command": forms.command_line(edited.preset, edited.after, changed),
        "folder": forms.get(edited.after, "data.folder"),
        "sets": sets.described(edited.after, preview),
        **more,
    }


def errors_by_path(errors: list[FieldError]) -> dict[str, str]:
    """Path -> message; the first of several stays."""
    found: dict[str, str] = {}
    for error in errors:
        found.setdefault(error.path, error.message)
    return found


def _hidden(values: forms.Values, errors: Iterable[str], texts: Texts) -> dict[str, str]:
    """Parameters that mean nothing to family or objective, with the reason; not those that are set, or have a fault."""
    family = forms.family(values)
    unfit = fitting.unread_paths(lambda path: forms.get(values, path))
    unfit |= fitting.hidden_paths(family) if family else {}
    at_default = set(unfit).difference(errors, forms.modified(values, {}))
    return {path: texts.reason(reason) for path, reason in unfit.items() if path in at_default}


def _problems(preview: Preview, texts: Texts) -> dict[str, str]:
    told = ((finding, texts.finding(finding)) for finding in reversed(preview.findings))  # the first of several stays
    return {f.field: " ".join(filter(None, words)) for f, words in told if f.level == "problem" and f.field}


def _findings(preview: Preview, texts: Texts) -> list[dict[str, Any]]:
    told = ((finding, texts.finding(finding)) for finding in preview.findings)
    return [
        {"level": f.level, "message": message, "hint": hint, "field": f.field, "fix": _fix(f.fix, texts)}
        for f, (message, hint) in told
    ]


def _fix(fix: Fix | None, texts: Texts) -> dict[str, Any] | None:
    """The button of a finding. act: values by dotted path, for the act "fix"; filter: of the pictures to look at."""
    if fix is None:
        return None
    words = texts(f"fix.{fix.label}")
    if fix.kind == "show":
        return {"label": words, "filter": fix.filter}
    return {"label": texts("fix", what=words), "act": json.dumps(fix.values)}


def _plan(preview: Preview, studio: Studio, texts: Texts) -> dict[str, Any] | None:
    if preview.plan is None or preview.config is None:
        return None
    plan = preview.plan
    return {
        "pictures": plan.pictures,
        "steps": plan.steps,
        "epochs": round(plan.epochs, 1),
        "seconds": round(plan.seconds),
        "memory_gib": round(plan.memory_gib, 2),
        "total_gib": round(studio.machine.memory_gib, 1),
        "device": texts("plan.computer") if studio.machine.device == "cpu" else studio.machine.name,
        "disk_gib": round(plan.disk_gib + plan.cache_gib, 3),
        "measured": plan.measured,
        "file": f"{preview.config.run.name}.safetensors",
        "prompts": len(preview.config.sample.prompts),
        "checkpoints": bool(preview.config.save.every_steps),
    }


def _line(preview: Preview, studio: Studio, texts: Texts) -> str:
    """The sentence that always states steps, time and memory, in the language of the page."""
    plan = preview.plan
    first = next((finding for finding in preview.findings if finding.level == "problem"), None)
    if texts.language != "en" and plan is None and first:
        return texts.finding(first)[0]
    if plan is None or texts.language == "en":
        return preview.line
    time = _time(round(plan.seconds), texts)
    memory, total = f"{plan.memory_gib:.1f}", f"{studio.machine.memory_gib:.1f}"
    return texts("line.plan", steps=plan.steps, time=time, memory=memory, total=total)


def _time(seconds: int, texts: Texts) -> str:
    minutes, seconds = divmod(seconds, 60)
    if minutes >= 60:
        return texts("line.hours", hours=minutes // 60, minutes=minutes % 60)
    return texts("line.time", minutes=minutes, seconds=seconds) if minutes else texts("line.seconds", seconds=seconds)


def _resolved(values: forms.Values, config: TrainConfig | None) -> dict[str, str]:
    """What "auto" became: path -> value; paths in folders are cut to their last part."""
    if config is None:
        return {}
    filled = config.model_dump(mode="json")
    shown = {}
    for parameter in parameters():
        value = forms.get(filled, parameter.path)
        if forms.get(values, parameter.path) == "auto" and value != "auto":
            text = str(forms.show(parameter, value))
            shown[parameter.path] = Path(text).name if Path(text).is_absolute() else text
    return shown


def _shown(values: forms.Values, path: str) -> str:
    return str(forms.show(by_path()[path], forms.get(values, path)))
