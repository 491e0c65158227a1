"""The tab of preference sets: pictures, scores, votes, what follows from them, and the proof. The studio keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.ui import asked, forms
from app.ui.answers import answer, done
from app.ui.draft import DraftEditor
from app.ui.tabs.preferences_jobs import of_jobs
from app.ui.tabs.preferences_votes import of_votes
from app.ui.texts import Texts
from app.ui.widgets.live import live
from trainers.parameters import by_path
from trainers.preferences.exporting import FORMATS

if TYPE_CHECKING:
    from app.services.studio import Studio

MAX_PATH = 2000
MAX_NAME = 80
PAGE = 40
PREFIXES = (
    "preferences.",
    "voting.",
    "captioning.",
    "dataset.n_pictures",
    "models.",
    "plan.",
    "state.",
    "phase.",
    "run.",
    "header.",
)
Functions = list[Callable[..., Any]]


def build(studio: Studio, editor: DraftEditor, texts: Texts) -> None:
    functions = [
        *of_sets(studio, texts),
        *of_jobs(studio, texts),
        *of_scores(studio, texts),
        *of_results(studio, editor, texts),
        *of_proof(studio, texts),
        *of_votes(studio, texts),
    ]
    live("preferences", texts, *PREFIXES, functions=functions)


def of_sets(studio: Studio, texts: Texts) -> Functions:
    """What the page may ask of sets and their pictures. Every argument comes from the network."""
    preferences = studio.preferences

    def pref_sets(_: Any = None) -> dict[str, Any]:
        """{sets: as the list shows them, importing: see `Imports.state`}."""
        importing = preferences.imports.state()
        return {"sets": preferences.shelf.all(), "importing": told(importing, texts)}

    def pref_new(name: Any) -> dict[str, Any]:
        wanted = asked.text(name, MAX_NAME)

        def make() -> dict[str, Any]:
            preferences.shelf.create(wanted)
            return {"name": wanted}

        return told(answer(make), texts)

    def pref_import(request: Any) -> dict[str, Any]:
        source, name = asked.parts(request, 2)
        place, wanted = asked.text(source, MAX_PATH), asked.text(name, MAX_NAME)
        return told(done(lambda: preferences.imports.start(place, wanted)), texts)

    def pref_open(name: Any) -> dict[str, Any]:
        wanted = set_name(name)
        found = answer(lambda: preferences.status(wanted))
        if "error" in found:
            return told(found, texts)
        jobs = {kind: job and {**job, "reason": texts.reason(job["reason"])} for kind, job in found["jobs"].items()}
        return {**found, "jobs": jobs}

    def pref_pictures(request: Any) -> dict[str, Any]:
        name, first, count = asked.parts(request, 3)
        wanted, start, most = set_name(name), asked.count(first), min(asked.count(count), PAGE)
        return told(answer(lambda: preferences.shelf.page(wanted, start, most)), texts)

    def pref_find(run_id: Any) -> dict[str, Any]:
        """{set, kind, path} of a job, or of a run that was trained on a set."""
        return preferences.jobs.find(asked.run(run_id))

    return [pref_sets, pref_new, pref_import, pref_open, pref_pictures, pref_find]


def of_scores(studio: Studio, texts: Texts) -> Functions:
    """What the page may ask of scorers, and of the pairs that follow from their scores."""
    building = studio.preferences.building

    def pref_scorers(_: Any = None) -> list[dict[str, Any]]:
        return [
            {**card, "note": texts.table.get(f"preferences.scorer.{card['name']}", card["note"])}
            for card in studio.preferences.scorers()
        ]

    def pref_rule(request: Any) -> dict[str, Any]:
        name, changes = asked.parts(request, 2)
        wanted, rule = set_name(name), rule_of(changes)
        return told(answer(lambda: building.preview(wanted, rule)), texts)

    def pref_build(request: Any) -> dict[str, Any]:
        name, changes = asked.parts(request, 2)
        wanted, rule = set_name(name), rule_of(changes)
        return told(answer(lambda: building.build(wanted, rule)), texts)

    return [pref_scorers, pref_rule, pref_build]


def of_results(studio: Studio, editor: DraftEditor, texts: Texts) -> Functions:
    """What the page may ask of votes, exports, and of a run that trains on them."""
    preferences = studio.preferences

    def pref_results(request: Any) -> dict[str, Any]:
        name, use_scores = asked.parts(request, 2)
        wanted, scores = set_name(name), yes_or_no(use_scores)
        return told(answer(lambda: preferences.results(wanted, use_scores=scores)), texts)

    def pref_export(request: Any) -> dict[str, Any]:
        name, format, use_scores = asked.parts(request, 3)
        wanted, scores = set_name(name), yes_or_no(use_scores)
        if format not in FORMATS:
            raise ValueError("there is no such format")
        return told(answer(lambda: preferences.export(wanted, format, use_scores=scores)), texts)

    def pref_train(request: Any) -> dict[str, Any]:
        """Fill the draft; {run} when it was started too, {refused} when that cannot be."""
        name, use_scores, start = asked.parts(request, 3)
        wanted, scores, at_once = set_name(name), yes_or_no(use_scores), yes_or_no(start)
        return told(answer(lambda: _train(wanted, scores, at_once)), texts)

    def _train(name: str, scores: bool, start: bool) -> dict[str, Any]:
        changes = preferences.training(name, use_scores=scores)
        base = changes.pop("model.base", "")
        if base and base != forms.get(editor.current().after, "model.base"):
            editor.choose_model(base)
        raws = {path: forms.show(by_path()[path], value) for path, value in changes.items()}
        edited = editor.edit(raws)
        if not start:
            return {"run": "", "refused": ""}
        started = studio.start_run(edited.after)
        return {"run": started.run_id or "", "refused": texts.reason(" ".join(one.message for one in started.errors))}

    def pref_link(name: Any) -> dict[str, Any]:
        wanted = set_name(name)
        return told(answer(lambda: {"link": preferences.label_link(wanted)}), texts)

    return [pref_results, pref_export, pref_train, pref_link]


def of_proof(studio: Studio, texts: Texts) -> Functions:
    """What the page may ask of comparisons."""

    def pref_proof(name: Any) -> dict[str, Any]:
        wanted = set_name(name)
        return told(answer(lambda: studio.preferences.proof(wanted)), texts)

    def pref_samples(run_id: Any) -> list[dict[str, Any]] | dict[str, Any]:
        wanted = asked.run(run_id)
        return answer(lambda: studio.preferences.samples(wanted))

    return [pref_proof, pref_samples]


def set_name(value: Any) -> str:
    return asked.text(value, MAX_NAME)


def yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("yes or no is needed")
    return value


def rule_of(value: Any) -> dict[str, Any]:
    """A rule as the page holds it; whether its numbers make sense is for the rule to say."""
    known = {"pairs": str, "margin": float, "agree": float, "keep_ties": bool, "per_prompt": int, "seed": int}
    if not isinstance(value, dict):
        raise ValueError("a rule is a record")
    rule: dict[str, Any] = {}
    for key, kind in known.items():
        if key in value:
            rule[key] = _of_kind(value[key], kind)
    weights = value.get("weights", {})
    if not isinstance(weights, dict) or len(weights) > 100 or not all(isinstance(name, str) for name in weights):
        raise ValueError("weights are numbers by scorer")
    if weights:
        rule["weights"] = {name: _of_kind(weight, float) for name, weight in weights.items()}
    return rule


def _of_kind(value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"a rule has {kind.__name__} there")
    return value


def told(record: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """With a refusal in the page's language."""
    return {**record, "error": texts.reason(record["error"])} if record.get("error") else record
