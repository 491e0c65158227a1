"""Every text of the page, of a parameter and of a finding exists in every language."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from app.services.gallery.flags import FILTERS
from app.ui.caption_form import PREFIX
from app.ui.texts import LANGUAGES, TRANSLATIONS, texts
from captioners.config import CaptionConfig
from trainers import preflight
from trainers.parameters import by_path, parameters, sections
from trainers.presets import presets


def test_every_text_exists_in_every_language() -> None:
    tables = {name: set(texts(name).table) for name in LANGUAGES}
    assert tables["en"] - tables["zh"] == set()


def test_chinese_has_every_parameter_section_and_unit() -> None:
    table = texts("zh").table
    wanted = [f"{p.path}.{part}" for p in parameters() for part in ("label", "help")]
    wanted += [f"section.{name}" for name in sections()] + [f"unit.{p.unit}" for p in parameters() if p.unit]
    assert [key for key in wanted if key not in table] == []


def test_chinese_has_every_parameter_of_captioning() -> None:
    table, known = texts("zh").table, parameters(CaptionConfig)
    wanted = {f"{PREFIX}{p.path}.{part}" for p in known for part in ("label", "help")}
    assert sorted(wanted - set(table)) == []
    assert [
        key for key in table if key.startswith(PREFIX) and key.endswith((".label", ".help")) and key not in wanted
    ] == []
    assert [p.path for p in known if p.unit and f"unit.{p.unit}" not in table] == []


def test_every_section_has_a_title() -> None:
    assert [name for name in sections() if f"group.{name}" not in texts("en").table] == []


def test_english_names_of_parameters_are_declared_once() -> None:
    table = json.loads((TRANSLATIONS / "en.json").read_text(encoding="utf-8"))
    captioning = {f"{PREFIX}{path}" for path in by_path(CaptionConfig)}
    assert [key for key in table if key.rsplit(".", 1)[0] in {*by_path(), *captioning}] == []


def test_translations_keep_their_placeholders() -> None:
    english, chinese = texts("en").table, texts("zh").table
    names = re.compile(r"\{\w+\}")
    assert [k for k in english if set(names.findall(english[k])) != set(names.findall(chinese[k]))] == []


def test_built_in_presets_have_a_chinese_title() -> None:
    titles = [info.title for info in presets(Path("no own ones"))]
    assert titles and [title for title in titles if texts("zh").preset(title) == title] == []
    assert texts("zh").preset("My own") == "My own"


def test_every_finding_can_be_said_in_chinese() -> None:
    words, table = preflight.WORDS, texts("zh").table
    hints = [f"finding.{code}.hint" for code, (_, hint) in words.items() if hint]
    wanted = [*hints, *(f"finding.{code}" for code in words)]
    assert sorted(key for key in table if key.startswith("finding.")) == sorted(wanted)
    names = re.compile(r"\{(\w+)")
    for code, (message, hint) in words.items():
        said = table[f"finding.{code}"] + table.get(f"finding.{code}.hint", "")
        assert set(names.findall(said)) <= set(names.findall(message + hint)) | {"folder", "reason"}, code


def calls_of_preflight() -> list[ast.Call]:
    files = Path(preflight.__file__).parent.glob("*.py")
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]


def test_every_fix_has_a_label_in_both_languages() -> None:
    calls = [call for call in calls_of_preflight() if isinstance(call.func, ast.Name) and call.func.id == "change"]
    labels = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    labels |= {"show", "quantize", "checkpointing", "less_memory"}  # those of a table of remedies
    for language in ("en", "zh"):
        assert {key for key in texts(language).table if key.startswith("fix.")} == {f"fix.{label}" for label in labels}


def test_findings_name_fields_and_filters_that_exist() -> None:
    def literals(function: str, place: int) -> set[str]:
        calls = [call for call in calls_of_preflight() if isinstance(call.func, ast.Name) and call.func.id == function]
        arguments = [call.args[place] for call in calls if len(call.args) > place]
        return {argument.value for argument in arguments if isinstance(argument, ast.Constant)}

    assert literals("tell", 2) <= by_path().keys()
    assert literals("show", 0) <= set(FILTERS)
    assert len(literals("tell", 1) & preflight.WORDS.keys()) > 40
