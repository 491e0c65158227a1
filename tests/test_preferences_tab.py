"""What the Preferences tab may ask: forms that say what they mean, drafts that are filled, and refusal of the rest."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.services.preferences.building import KINDS
from app.services.studio import Studio
from app.ui import preference_form
from app.ui.draft import DraftEditor
from app.ui.tabs import preferences, preferences_jobs
from app.ui.texts import LANGUAGES, texts
from tests.preference_sets import build, make_set, score, vote
from trainers.machine import Machine
from trainers.paths import ASSETS
from trainers.preferences.catalog import SCORERS
from trainers.preferences.config import CONFIGS
from trainers.preferences.exporting import FORMATS
from trainers.preferences.prefset import Prefset

Ask = dict[str, Callable[[Any], Any]]
MACHINE = Machine("cpu", "test processor", 8.0, 8.0, 2, bf16=False)
SCRIPTS = [*sorted((ASSETS / "js").glob("preferences*.js")), ASSETS / "js" / "paircharts.js"]
OURS = [file for file in SCRIPTS if not file.name.startswith("preferencesvote")]
CODE = "".join(file.read_text(encoding="utf-8") for file in OURS)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    # a real worker would go on after the test
    worker = [sys.executable, "-m", "tests.fake_worker", "ok"]
    studio = Studio(tmp_path / "data", machine=MACHINE, worker_command=worker)
    yield studio
    studio.close()


@pytest.fixture
def prefset(studio: Studio) -> Prefset:
    return make_set(studio.data_dir / "preferences" / "scenes")


def asking(studio: Studio, language: str = "zh") -> Ask:
    words = texts(language)
    functions = [
        *preferences.of_sets(studio, words),
        *preferences_jobs.of_jobs(studio, words),
        *preferences.of_scores(studio, words),
        *preferences.of_results(studio, DraftEditor(studio), words),
        *preferences.of_proof(studio, words),
    ]
    return {function.__name__: function for function in functions}


@pytest.fixture
def ask(studio: Studio) -> Ask:
    return asking(studio)


def field(ask: Ask, kind: str, path: str) -> dict[str, Any]:
    return next(one for one in ask["pref_form"]([kind, "scenes"])["fields"] if one["path"] == path)


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_form_asks_everything_but_what_the_tab_says_itself(ask: Ask, kind: str) -> None:
    shown = {one["path"] for one in ask["pref_form"]([kind, "scenes"])["fields"]}
    known = set(preference_form.declared(CONFIGS[kind]))  # type: ignore[index]
    elsewhere = {"set.folder", "run.output_dir", "scorers.names"}
    assert shown == known - elsewhere


def test_a_setting_is_kept_for_its_set(ask: Ask, prefset: Prefset) -> None:
    found = ask["pref_edit"](["generate", "scenes", {"prompts.texts": "a\n\n b ", "pictures.per_prompt": "2"}])
    assert found["facts"]["to_do"] == 4
    assert set(found["modified"]) == {"prompts.texts", "pictures.per_prompt"}
    assert field(ask, "generate", "prompts.texts")["value"] == "a\nb"
    assert field(ask, "compare", "pictures.per_prompt")["default"] == "1"  # declared otherwise there


def test_what_auto_becomes_is_shown(ask: Ask, prefset: Prefset) -> None:
    found = ask["pref_edit"](["generate", "scenes", {"prompts.texts": "a"}])
    assert found["resolved"]["pictures.width"] == "64"
    assert "pictures.per_prompt" not in found["resolved"]


def test_data_sets_and_models_are_offered(ask: Ask, studio: Studio) -> None:
    folder = studio.data_dir / "datasets" / "mine"
    folder.mkdir(parents=True)
    options = field(ask, "generate", "prompts.folder")["options"]
    assert options[0][0] == "" and str(folder) in [value for value, _ in options]
    assert "sandbox" in [value for value, _ in field(ask, "generate", "model.base")["options"]]


def test_scorers_are_chosen_by_name(ask: Ask, prefset: Prefset) -> None:
    found = ask["pref_edit"](["score", "scenes", {"scorers.names": ["sandbox"]}])
    assert found["scorers"] == ["sandbox"] and found["facts"]["to_do"] == 12
    unknown = ask["pref_edit"](["score", "scenes", {"scorers.names": ["nobody"]}])
    assert unknown["errors"].keys() == {"scorers.names"}


# ---------------------------------------------------------------- acts


def test_training_on_a_set_fills_the_draft_and_keeps_the_rest(ask: Ask, studio: Studio, prefset: Prefset) -> None:
    build(prefset)
    vote(prefset)
    before = studio.draft().values["sample"]["every_steps"]
    assert ask["pref_train"](["scenes", False, False]) == {"run": "", "refused": ""}
    draft = studio.draft().values
    assert draft["objective"]["kind"] == "dpo" and draft["objective"]["pairs"] == str(prefset.folder)
    assert draft["model"]["base"] == "sandbox" and draft["sample"]["every_steps"] == before
    assert not studio.preview(draft).errors


def test_training_can_start_at_once(ask: Ask, studio: Studio, prefset: Prefset) -> None:
    build(prefset)
    vote(prefset)
    found = ask["pref_train"](["scenes", False, True])
    assert found["refused"] == ""
    run = studio.run_dir(found["run"])
    assert run is not None and "pairs-" in run.config.read_text()  # the votes of that moment
    assert ask["pref_find"](found["run"])["set"] == "scenes"


def test_an_export_says_where_it_lies(ask: Ask, prefset: Prefset) -> None:
    build(prefset)
    vote(prefset)
    for format in FORMATS:
        found = ask["pref_export"](["scenes", format, False])
        assert Path(found["path"]).is_relative_to(prefset.export_dir) and Path(found["path"]).exists()


def test_pairs_are_previewed_and_built(ask: Ask, prefset: Prefset) -> None:
    score(prefset)
    preview = ask["pref_rule"](["scenes", {"pairs": "all", "margin": 0}])
    assert preview["pairs"] == 12
    assert ask["pref_build"](["scenes", preview["rule"]])["pairs"] == 12
    assert ask["pref_open"]("scenes")["auto"]["winner"] + ask["pref_open"]("scenes")["auto"]["tie"] == 12


def test_refusals_are_sentences(ask: Ask) -> None:
    for name, argument in (
        ("pref_open", "nowhere"),
        ("pref_pictures", ["nowhere", 0, 5]),
        ("pref_edit", ["generate", "nowhere", {}]),
        ("pref_results", ["nowhere", False]),
        ("pref_train", ["nowhere", False, False]),
        ("pref_new", "../out"),
        ("pref_import", ["", "x"]),
        ("pref_samples", "nothing"),
        ("pref_link", "a/b"),
    ):
        assert isinstance(ask[name](argument)["error"], str), name


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("pref_open", 7),
        ("pref_new", None),
        ("pref_new", "x" * 100),
        ("pref_import", ["only one"]),
        ("pref_pictures", ["scenes", -1, 5]),
        ("pref_pictures", ["scenes", True, 5]),
        ("pref_form", ["train", "scenes"]),
        ("pref_edit", ["generate", "scenes", {"run.output_dir": "/etc"}]),
        ("pref_edit", ["generate", "scenes", {"set.folder": "/etc"}]),
        ("pref_edit", ["generate", "scenes", {"pictures.steps": 4}]),
        ("pref_edit", ["score", "scenes", {"scorers.names": "sandbox"}]),
        ("pref_edit", ["generate", "scenes", [1]]),
        ("pref_rule", ["scenes", {"margin": "1"}]),
        ("pref_rule", ["scenes", {"margin": True}]),
        ("pref_rule", ["scenes", {"weights": {"rule": None}}]),
        ("pref_rule", ["scenes", 3]),
        ("pref_results", ["scenes", 1]),
        ("pref_export", ["scenes", "../x", False]),
        ("pref_train", ["scenes", False, "now"]),
        ("pref_stop", ["x"]),
    ],
)
def test_what_a_page_would_not_send_is_an_error(ask: Ask, prefset: Prefset, name: str, argument: Any) -> None:
    with pytest.raises(ValueError):
        ask[name](argument)


# ---------------------------------------------------------------- words


def test_every_word_of_the_scripts_exists() -> None:
    table = texts("en").table
    fixed = set(re.findall(r'[ (!]t\("([\w.]+)"', CODE)) | set(re.findall(r'at\.some\("([\w.]+)"', CODE))
    assert len(fixed) > 100
    assert sorted(key for key in fixed if key not in table) == []
    counted = set(re.findall(r'at\.some\("([\w.]+)"', CODE))
    assert sorted(key for key in counted if f"{key}_1" not in table) == []


def test_words_that_the_scripts_make_exist() -> None:
    table = texts("en").table
    made = [f"preferences.judges_{spec.judges}" for spec in SCORERS.values()]
    made += [f"preferences.format_{name}" for name in FORMATS]
    made += [f"preferences.which_{kind}" for kind in KINDS]
    made += [f"preferences.wants_{what}" for what in ("prompts", "scorers", "policy")]
    made += [f"phase.{name}" for name in ("generating", "scoring", "comparing")]
    assert sorted(set(made) - set(table)) == []


def test_settings_and_scorers_are_said_in_every_language() -> None:
    wanted = {
        f"{preference_form.PREFIX}{path}.{part}"
        for config in CONFIGS.values()
        for path, one in preference_form.declared(config).items()
        if one.section != "model" and not path.startswith(preference_form.NOT_IN_THE_FORM)
        for part in ("label", "help")
    } | {f"preferences.scorer.{name}" for name in SCORERS}
    for language in set(LANGUAGES) - {"en"}:
        table = texts(language).table
        assert sorted(wanted - set(table)) == []
        said = {key for key in table if key.startswith((preference_form.PREFIX, "preferences.scorer."))}
        assert sorted(said - wanted) == []
