"""What the page may ask of captioning: settings that reach the studio as they were meant, and refusal of the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app.services.studio import Studio
from app.ui import caption_form
from app.ui.caption_form import CaptionDraft
from app.ui.draft import DraftEditor
from app.ui.tabs import captions
from app.ui.texts import LANGUAGES, texts
from captioners import catalog, faults, resolve, scribe
from captioners.catalog import CAPTIONERS
from captioners.config import CaptionConfig, Existing
from trainers import settings
from trainers.machine import Machine
from trainers.parameters import Parameter, parameters
from trainers.paths import ASSETS

Ask = dict[str, Callable[[Any], Any]]
MACHINE = Machine("cpu", "test processor", 8.0, 8.0, 2, bf16=False)
SET, PICTURE = "0123456789ab", "ba9876543210"
SCRIPTS = sorted((ASSETS / "js").glob("captions*.js"))
CODE = "".join(file.read_text(encoding="utf-8") for file in SCRIPTS)


class FakeCaptioning:
    """Keeps what it is told; settings and their faults are the real ones."""

    def __init__(self) -> None:
        self.saved: dict[str, Any] = {}
        self.told: list[tuple[Any, ...]] = []
        self.polled: dict[str, Any] = {}

    def cards(self) -> list[dict[str, Any]]:
        return [{"name": name, "kind": s.kind, "note": s.note, "licence": s.licence} for name, s in CAPTIONERS.items()]

    def parameters(self, name: str) -> list[Parameter]:
        unread = catalog.ONLY_SOME_READ - catalog.READS[CAPTIONERS[name].kind]
        elsewhere = ("captioner.name", "pictures.", "run.output_dir", "server.key_env")
        known = parameters(CaptionConfig)
        return [one for one in known if one.path not in unread and not one.path.startswith(elsewhere)]

    def choices(self, name: str) -> dict[str, list[str]]:
        return {"prompt.task": list(CAPTIONERS[name].tasks), "prompt.length": ["short", "long"]}

    def draft(self) -> dict[str, Any]:
        return self.saved

    def save_draft(self, values: dict[str, Any]) -> None:
        self.saved = values

    def check(self, values: dict[str, Any], set_id: str) -> dict[str, Any]:
        config = resolve.validate({**values, "pictures": {"folder": "/pictures"}})
        faults = [{"field": one.field, "message": one.message} for one in resolve.unfit(config)]
        toml = "" if faults else settings.dump(resolve.resolve(config, MACHINE))
        return {"errors": faults, "toml": toml, "command": "", "prompt": "", "pictures": {}, "blocked": ""}

    def try_out(self, *told: Any) -> None:
        self.told.append(told)

    def start(self, *told: Any) -> dict[str, Any]:
        self.told.append(told)
        line = "'woman' is not of the form old => new."
        return {"run": "", "train": "", "errors": [{"field": "policy.replacements", "message": line}]}

    def poll(self, run_id: str, cursor: int) -> dict[str, Any]:
        return self.polled

    def trial(self) -> dict[str, Any]:
        return {"state": "", "results": []}


@pytest.fixture
def captioning() -> FakeCaptioning:
    return FakeCaptioning()


@pytest.fixture
def ask(captioning: FakeCaptioning) -> Ask:
    """The server functions by name; what they say is Chinese."""
    studio: Any = SimpleNamespace(captioning=captioning)
    draft, words = CaptionDraft(studio), texts("zh")
    functions = [
        *captions.of_settings(studio, draft, words),
        *captions.of_trial(studio, draft, words),
        *captions.of_jobs(studio, draft, words),
    ]
    return {function.__name__: function for function in functions}


def field(ask: Ask, path: str) -> dict[str, Any]:
    return next(one for one in ask["caption_form"](0)["fields"] if one["path"] == path)


def test_the_form_has_what_the_captioner_reads(ask: Ask) -> None:
    assert ask["caption_form"](0)["name"] == "sandbox"
    assert not [one for one in ask["caption_form"](0)["fields"] if one["section"] == "tags"]
    ask["caption_edit"]([{"captioner.name": "wd-vit"}, SET])
    found = ask["caption_form"](0)
    assert found["name"] == "wd-vit"
    assert next(one["path"] for one in found["fields"] if one["section"] == "tags") == "tags.general"
    assert not [one for one in found["fields"] if one["section"] == "prompt"]


def test_a_setting_is_kept_and_shown_again(ask: Ask, captioning: FakeCaptioning) -> None:
    ask["caption_edit"](
        [{"policy.existing": "fill", "policy.blacklist": "hat\n\n cap ", "captioner.batch_size": "3"}, SET]
    )
    assert captioning.saved == {
        "policy": {"existing": "fill", "blacklist": ["hat", "cap"]},
        "captioner": {"batch_size": 3},
    }
    assert field(ask, "policy.blacklist")["value"] == "hat\ncap"
    answer = ask["caption_edit"]([{"policy.blacklist": "", "captioner.batch_size": "auto"}, SET])
    assert captioning.saved == {"policy": {"existing": "fill"}}
    assert answer["modified"] == ["policy.existing"]


def test_blanks_between_texts_are_part_of_a_setting(ask: Ask, captioning: FakeCaptioning) -> None:
    ask["caption_edit"]([{"policy.separator": " | ", "policy.suffix": ", oil on canvas "}, SET])
    assert captioning.saved["policy"] == {"separator": " | ", "suffix": ", oil on canvas "}
    ask["caption_edit"]([{"policy.separator": ", ", "policy.suffix": " "}, SET])
    assert captioning.saved == {}


def test_what_another_captioner_reads_is_kept_and_not_sent(ask: Ask, captioning: FakeCaptioning) -> None:
    ask["caption_edit"]([{"captioner.name": "wd-vit", "tags.general": "0.5"}, SET])
    answer = ask["caption_edit"]([{"captioner.name": "florence2-base"}, SET])
    assert answer["errors"] == {} and captioning.saved["tags"] == {"general": 0.5}
    ask["try_out"]([{"prompt.task": "tags"}, SET, [PICTURE]])
    values, set_id, pids = captioning.told[-1]
    assert (set_id, pids) == (SET, [PICTURE])
    assert values == {"captioner": {"name": "florence2-base"}, "prompt": {"task": "tags"}}
    ask["caption_edit"]([{"captioner.name": "wd-vit"}, SET])
    assert field(ask, "tags.general")["value"] == "0.5"


def test_the_page_sees_what_auto_became(ask: Ask) -> None:
    answer = ask["caption_edit"]([{"generate.max_tokens": "99"}, SET])
    assert answer["resolved"]["captioner.precision"] == "fp32"
    assert answer["resolved"]["captioner.batch_size"] == "16"
    assert "generate.max_tokens" not in answer["resolved"]


def test_without_a_set_settings_are_kept_all_the_same(ask: Ask, captioning: FakeCaptioning) -> None:
    answer = ask["caption_edit"]([{"policy.trigger": "zorb"}, ""])
    assert captioning.saved == {"policy": {"trigger": "zorb"}}
    assert answer["pictures"]["to_do"] == 0 and answer["resolved"] == {}


def test_a_stored_draft_of_another_version_opens(ask: Ask, captioning: FakeCaptioning) -> None:
    captioning.saved = {"captioner": {"name": "gone"}, "policy": {"no_such": 1, "trigger": "zorb"}}
    assert ask["caption_form"](0)["name"] == "sandbox"
    answer = ask["caption_edit"]([{"policy.prefix": "x"}, SET])
    assert answer["errors"] == {}
    assert captioning.saved["policy"] == {"trigger": "zorb", "prefix": "x"}


def test_a_choice_is_offered_with_auto_in_front(ask: Ask) -> None:
    ask["caption_edit"]([{"captioner.name": "florence2-promptgen"}, SET])
    task = field(ask, "prompt.task")
    assert task["control"] == "select"
    assert [value for value, _ in task["options"]] == ["auto", *catalog.PROMPTGEN_TASKS]
    assert field(ask, "captioner.precision")["options"][0] == ["auto", "自动"]
    assert field(ask, "policy.existing")["options"][1] == ["fill", "只补缺失和空的"]
    assert field(ask, "policy.preambles")["control"] == "area"


def test_a_fault_is_told_beside_its_field_in_the_language_of_the_page(ask: Ask) -> None:
    answer = ask["start_captions"]([{"policy.replacements": "woman"}, SET, False])
    assert answer["run"] == ""
    assert answer["errors"] == {"policy.replacements": "'woman' 不是“旧 => 新”的形式。"}


def test_why_pictures_failed_is_told_in_the_language_of_the_page(ask: Ask, captioning: FakeCaptioning) -> None:
    captioning.polled = {
        "run": "x",
        "reason": "",
        "items": [
            ["p", "a.png", "failed", None, None, faults.WORDS["refused"]],
            ["q", "b.png", "written", None, "b", ""],
        ],
        "failed_list": [["a.png", faults.WORDS["refused"]]],
    }
    answer = ask["poll"](["x", 0])
    assert [item[5] for item in answer["items"]] == ["模型拒绝描述这张图片", ""]
    assert answer["failed_list"] == [["a.png", "模型拒绝描述这张图片"]]


WRONG: list[tuple[str, Any]] = [
    ("caption_edit", [{"no.such": "x"}, SET]),
    ("caption_edit", [{"pictures.folder": "/etc"}, SET]),
    ("caption_edit", [{"server.key_env": "HF_TOKEN"}, SET]),
    ("start_captions", [{"run.output_dir": "/etc"}, SET, False]),
    ("caption_edit", [{"captioner.name": "no such"}, SET]),
    ("caption_edit", [{"policy.prefix": 5}, SET]),
    ("caption_edit", [{"policy.prefix": "x" * 30_000}, SET]),
    ("caption_edit", [["policy.prefix"], SET]),
    ("caption_edit", [{}, "../../etc"]),
    ("caption_edit", [{}, None]),
    ("caption_edit", {}),
    ("server_models", ["http://127.0.0.1/v1"]),
    ("server_models", "x" * 5000),
    ("try_out", [{}, "", []]),
    ("try_out", [{}, SET, [PICTURE] * 4]),
    ("try_out", [{}, SET, ["../x"]]),
    ("try_out", [{}, SET, PICTURE]),
    ("start_captions", [{}, SET, 1]),
    ("start_captions", [{}, "", True]),
    ("latest", ""),
    ("latest", {"id": SET}),
    ("poll", ["run", -1]),
    ("poll", ["run", True]),
    ("poll", ["", 0]),
    ("poll", [["run"], 0]),
    ("undo_job", ""),
    ("redo_job", None),
    ("stop_job", 5),
    ("resume_job", "x" * 500),
    ("written", [SET, "x"]),
    ("written", [SET]),
]


@pytest.mark.parametrize(("name", "request_"), WRONG)
def test_requests_of_another_shape_are_refused(ask: Ask, captioning: FakeCaptioning, name: str, request_: Any) -> None:
    with pytest.raises(ValueError):
        ask[name](request_)
    assert captioning.saved == {} and captioning.told == []


@pytest.fixture
def everything(tmp_path: Any) -> Any:
    """Names of all functions of the tab, over a real studio."""
    studio = Studio(tmp_path / "data", machine=MACHINE)
    draft, words = CaptionDraft(studio), texts("en")
    functions = [
        *captions.of_sets(studio, DraftEditor(studio), words),
        *captions.of_settings(studio, draft, words),
        *captions.of_trial(studio, draft, words),
        *captions.of_jobs(studio, draft, words),
    ]
    yield {function.__name__ for function in functions}
    studio.close()


def test_the_page_asks_only_for_functions_that_there_are(everything: set[str]) -> None:
    asked = set(re.findall(r"(?:this\.ask|\bask|\bserver)\.(\w+)\(", CODE)) | {"undo_job", "redo_job"}
    asked |= {"detail", "save", "count"}  # of the panel and the editor, which are those of data sets
    assert asked == everything


def test_names_of_server_functions_are_free_in_gradio(everything: set[str]) -> None:
    with gr.Blocks():
        plain = gr.HTML()
    assert [name for name in everything if hasattr(plain, name)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_the_page_has_words(language: str) -> None:
    words = texts(language).part("common.", "captioning.", *captions.PREFIXES)
    calls = re.findall(r'\bt\((?:[^()"]*\? )?"([\w.]+)"(?: : "([\w.]+)")?', CODE)
    wanted = {key for pair in calls for key in pair if key}
    wanted |= {f"{key}{one}" for key in re.findall(r'at\.some\("([\w.]+)"', CODE) for one in ("", "_1")}
    wanted |= {
        f"captioning.step_{step}{note}" for step in ("pictures", "captioner", "policy") for note in ("", ".note")
    }
    wanted |= {f"captioning.{state}" for state in ("written", "skipped", "failed", "before", "after")}
    wanted |= {f"captioning.n_{state}" for state in ("written", "skipped", "failed")}
    wanted |= {f"captioning.{act}_{way}" for act in ("did",) for way in ("undo", "redo")}
    wanted |= {f"captioning.writes_{spec.writes}" for spec in CAPTIONERS.values()}
    wanted |= {f"models.fit_{fit}" for fit in ("yes", "tight", "no")} | {
        "toml.command",
        "toml.toml",
        "phase.captioning",
    }
    families = {captions.FAMILIES.get(spec.kind, spec.kind) for spec in CAPTIONERS.values()}
    wanted |= {f"captioning.family.{family}{note}" for family in families for note in ("", ".note")}
    assert sorted(wanted - set(words)) == [] and len(wanted) > 120
    unused = {key for key in words if key.startswith("captioning.")} - wanted
    assert unused == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_becomes_of_captions_is_said_in_words(language: str) -> None:
    said = [caption_form.choice_words(texts(language), "policy.existing", one) for one in Existing.__args__]
    assert not set(said) & set(Existing.__args__) and len(set(said)) == len(said)


def test_every_cause_of_a_failure_can_be_said_in_chinese() -> None:
    causes = [*faults.WORDS.values(), scribe.NOTHING_LEFT, "it has the same caption file as a.png"]
    assert [cause for cause in causes if texts("zh").reason(cause) == cause] == []


def test_every_captioner_is_described_in_chinese() -> None:
    table = texts("zh").table
    assert [name for name in CAPTIONERS if f"captioner_note.{name}" not in table] == []
