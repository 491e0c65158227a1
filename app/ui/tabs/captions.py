"""The tab that captions a data set: choice, try-out, job, and what was written. The studio keeps all of it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.ui import asked, forms
from app.ui.answers import answer, done
from app.ui.caption_form import CaptionDraft, get, modified
from app.ui.draft import DraftEditor
from app.ui.tabs import dataset
from app.ui.texts import Texts
from app.ui.widgets.live import live
from captioners.config import CaptionConfig
from trainers.parameters import by_path

if TYPE_CHECKING:
    from app.services.studio import Studio

MAX_TEXT = 20_000  # letters of a setting
MAX_ADDRESS = 2000
MAX_SETTINGS = 200
TRIED = 3
NO_SET: dict[str, Any] = {
    "errors": {},
    "toml": "",
    "command": "",
    "prompt": "",
    "pictures": {"total": 0, "captioned": 0, "empty": 0, "to_do": 0},
    "blocked": "",
}
PREFIXES = ("captioning.", "dataset.", "filter.", "state.", "phase.", "models.", "plan.", "toml.", "run.", "header.")
SHARED = (
    "sets",
    "copy_set",
    "train_on",
    "open",
    "reload",
    "pictures",
    "detail",
    "count",
    "save",
)  # with the tab of data sets
FAMILIES = {"joycaption_folders": "joycaption", "blip2": "blip"}  # kinds that a person sees as one


def build(studio: Studio, editor: DraftEditor, texts: Texts) -> None:
    draft = CaptionDraft(studio)
    functions = [
        *of_sets(studio, editor, texts),
        *of_settings(studio, draft, texts),
        *of_trial(studio, draft, texts),
        *of_jobs(studio, draft, texts),
    ]
    live("captions", texts, *PREFIXES, functions=functions)


def of_sets(studio: Studio, editor: DraftEditor, texts: Texts) -> list[Callable[..., Any]]:
    """What the page may ask of pictures and single captions: the same as in the tab of data sets."""
    everything = [
        *dataset.of_sets(studio, editor),
        *dataset.of_pictures(studio, texts),
        *dataset.of_edits(studio),
    ]
    return [function for function in everything if function.__name__ in SHARED]


def of_settings(studio: Studio, draft: CaptionDraft, texts: Texts) -> list[Callable[..., Any]]:
    """What the page may ask of captioners and their settings. Every argument comes from the network."""

    def captioners(_: Any = None) -> list[dict[str, Any]]:
        return [_card(card, texts) for card in studio.captioning.cards()]

    def caption_form(_: Any = None) -> dict[str, Any]:
        """{name: the chosen captioner, fields: its form}."""
        return {"name": draft.name(), "fields": draft.fields(texts)}

    def caption_edit(request: Any) -> dict[str, Any]:
        """Take what some controls hold; what a job with all settings would be. {error} when the set is gone."""
        raws, set_id = asked.parts(request, 2)
        changes, wanted = _raws(raws), _id_or_none(set_id)
        values = draft.edit(changes)
        return _told(answer(lambda: _checked(studio, values, wanted, texts)), texts)

    def server_models(url: Any) -> dict[str, Any]:
        """{models: names} of a server, or {error}."""
        address = asked.text(url, MAX_ADDRESS)
        return _told(answer(lambda: {"models": studio.captioning.server_models(address)}), texts)

    return [captioners, caption_form, caption_edit, server_models]


def of_trial(studio: Studio, draft: CaptionDraft, texts: Texts) -> list[Callable[..., Any]]:
    """What the page may ask of a try-out, which writes nothing."""

    def try_out(request: Any) -> dict[str, Any]:
        raws, set_id, pids = asked.parts(request, 3)
        changes, wanted, pictures = _raws(raws), asked.id(set_id), asked.ids(pids, TRIED)
        values = draft.edit(changes)
        return _told(done(lambda: studio.captioning.try_out(values, wanted, pictures)), texts)

    def trial(_: Any = None) -> dict[str, Any]:
        found = studio.captioning.trial()
        results = [{**one, "reason": texts.reason(one["reason"])} for one in found.get("results", [])]
        return {**found, "message": texts.reason(found.get("message", "")), "results": results}

    def stop_trial(_: Any = None) -> dict[str, Any]:
        return done(studio.captioning.stop_trial)

    return [try_out, trial, stop_trial]


def of_jobs(studio: Studio, draft: CaptionDraft, texts: Texts) -> list[Callable[..., Any]]:
    """What the page may ask of jobs and of what they wrote."""

    def start_captions(request: Any) -> dict[str, Any]:
        """{run, train, errors: {path: message}}; train: the run that waits behind it, "" for none."""
        raws, set_id, then_train = asked.parts(request, 3)
        changes, wanted = _raws(raws), asked.id(set_id)
        if not isinstance(then_train, bool):
            raise ValueError("whether to train is yes or no")
        values = draft.edit(changes)
        found = answer(lambda: studio.captioning.start(values, wanted, then_train))
        return _told(found if "error" in found else {**found, "errors": _errors(found["errors"], texts)}, texts)

    def latest(set_id: Any) -> dict[str, Any]:
        wanted = asked.id(set_id)
        return answer(lambda: studio.captioning.latest(wanted))

    def poll(request: Any) -> dict[str, Any]:
        run_id, cursor = asked.parts(request, 2)
        wanted, start = asked.run(run_id), asked.count(cursor)
        return _in_words(answer(lambda: studio.captioning.poll(wanted, start)), texts)

    def undo_job(run_id: Any) -> dict[str, Any]:
        wanted = asked.run(run_id)
        return _turned(answer(lambda: studio.captioning.undo(wanted)), texts)

    def redo_job(run_id: Any) -> dict[str, Any]:
        wanted = asked.run(run_id)
        return _turned(answer(lambda: studio.captioning.redo(wanted)), texts)

    def stop_job(run_id: Any) -> dict[str, Any]:
        wanted = asked.run(run_id)
        return _told(answer(lambda: {"toast": studio.command(wanted, "stop")}), texts)

    def resume_job(run_id: Any) -> dict[str, Any]:
        wanted = asked.run(run_id)
        started = studio.resume_run(wanted)
        return {"run": started.run_id or "", "error": texts.reason(" ".join(error.message for error in started.errors))}

    def written(request: Any) -> dict[str, Any]:
        """Who wrote a caption: {} for none of Atelier's captioners."""
        set_id, pid = asked.parts(request, 2)
        wanted, picture = asked.id(set_id), asked.id(pid)
        return answer(lambda: studio.captioning.written(wanted, picture))

    return [start_captions, latest, poll, undo_job, redo_job, stop_job, resume_job, written]


def _card(card: dict[str, Any], texts: Texts) -> dict[str, Any]:
    name, kind = card["name"], card["kind"]
    return {
        **card,
        "family": FAMILIES.get(kind, kind),
        "note": texts.table.get(f"captioner_note.{name}", card["note"]),
        "licence": texts.table.get(f"captioner_licence.{name}", card["licence"]),
    }


def _checked(studio: Studio, values: dict[str, Any], set_id: str, texts: Texts) -> dict[str, Any]:
    """What `check` finds; errors by path, and what "auto" became."""
    found = studio.captioning.check(values, set_id) if set_id else {**NO_SET, "errors": []}
    return {
        **found,
        "errors": _errors(found["errors"], texts),
        "blocked": texts.reason(found["blocked"]),
        "modified": modified(values),
        "resolved": _resolved(values, found["toml"]),
    }


def _resolved(values: dict[str, Any], toml: str) -> dict[str, str]:
    filled = tomllib.loads(toml)
    autos = [one for one in by_path(CaptionConfig).values() if get(values, one.path) == "auto"]
    shown = {one.path: forms.show(one, get(filled, one.path)) for one in autos}
    return {path: text for path, text in shown.items() if text != "auto"}


def _errors(errors: list[dict[str, str]], texts: Texts) -> dict[str, str]:
    """Path -> message; the first of several stays."""
    found: dict[str, str] = {}
    for error in errors:
        found.setdefault(error["field"], texts.reason(error["message"]))
    return found


def _told(record: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """With a refusal in the page's language."""
    return {**record, "error": texts.reason(record["error"])} if record.get("error") else record


def _turned(record: dict[str, Any], texts: Texts) -> dict[str, Any]:
    skipped = [[name, texts.reason(reason)] for name, reason in record.get("skipped", [])]
    return _told(record, texts) | ({"skipped": skipped} if "skipped" in record else {})


def _in_words(record: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """A poll with its causes in the page's language; most pictures of a job have the same few."""
    if "items" not in record:
        return _told(record, texts)
    known = {reason: texts.reason(reason) for reason in {item[5] for item in record["items"]} if reason}
    return {
        **record,
        "reason": texts.reason(record["reason"]),
        "items": [[*item[:5], known.get(item[5], "")] for item in record["items"]],
        "failed_list": [[name, texts.reason(reason)] for name, reason in record["failed_list"]],
    }


def _raws(value: Any) -> dict[str, Any]:
    """What controls hold: dotted path -> text or yes and no."""
    if not isinstance(value, dict) or len(value) > MAX_SETTINGS:
        raise ValueError("settings are a record")
    for path, raw in value.items():
        if not isinstance(path, str):
            raise ValueError("a setting is named by a text")
        if not isinstance(raw, bool | str) or (isinstance(raw, str) and len(raw) > MAX_TEXT):
            raise ValueError("a setting is a text, or yes or no")
    return value


def _id_or_none(value: Any) -> str:
    return "" if value == "" else asked.id(value)
