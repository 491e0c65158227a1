"""The forms without a server: controls to values and back, the two forms over one draft, search, marks, commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.services.studio import PresetInfo, Studio
from app.ui import forms
from app.ui.draft import DraftEditor, Edited
from app.ui.state import describe
from app.ui.tabs.runs import server_functions
from app.ui.texts import texts
from app.ui.widgets import drop
from tests.machines import LAPTOP
from tests.test_fitting import OTHER
from trainers import catalog, fitting, resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.parameters import by_path, parameters
from trainers.paths import ASSETS


@pytest.fixture
def studio(tmp_path: Path) -> Any:
    """A studio that is not started: configuration works, nothing runs."""
    studio = Studio(tmp_path, machine=LAPTOP)
    yield studio
    studio.close()


@pytest.fixture
def editor(studio: Studio) -> DraftEditor:
    return DraftEditor(studio)


# ------------------------------------------------------------------ controls


@pytest.mark.parametrize("parameter", parameters(), ids=lambda p: p.path)
def test_what_a_control_shows_of_a_default_means_the_default(parameter: Any) -> None:
    default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    assert forms.parse(parameter, forms.show(parameter, default)) == default


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-4", 1e-4), ("0.0001", 1e-4), (" 2E-3 ", 2e-3), (".5", 0.5), ("auto", "auto"), ("", "auto"), ("1 000", 1000)],
)
def test_learning_rates_are_read_as_people_write_them(text: str, number: Any) -> None:
    assert forms.parse(by_path()["optimizer.learning_rate"], text) == number


@pytest.mark.parametrize("text", ["1e-4x", "nan", "inf", "one", "1,5"])
def test_what_is_no_number_stays_as_typed_and_is_refused(text: str) -> None:
    assert forms.parse(by_path()["optimizer.learning_rate"], text) == text
    with pytest.raises(Exception, match=r"optimizer\.learning_rate"):
        resolve.validate(forms.collect({"optimizer.learning_rate": text}))


def test_whole_numbers_stay_whole() -> None:
    steps = forms.parse(by_path()["schedule.max_steps"], "1e3")
    assert steps == 1000 and isinstance(steps, int)
    assert forms.parse(by_path()["schedule.max_steps"], "2.5") == 2.5  # the check refuses it by name


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (2e-3, "0.002"), (2.5e-5, "2.5e-5"), (1e-8, "1e-8"), (1.0, "1"), (0.999, "0.999")],
)
def test_numbers_are_shown_as_people_write_them(value: float, text: str) -> None:
    assert forms.number_text(value) == text
    assert float(text) == value


def test_prompts_are_one_a_line() -> None:
    prompts = by_path()["sample.prompts"]
    assert forms.parse(prompts, "a cat\n\n  a dog \n") == ["a cat", "a dog"]
    assert forms.show(prompts, ["a cat", "a dog"]) == "a cat\na dog"


def test_collect_nests_and_leaves_other_values_alone() -> None:
    values = forms.collect({"adapter.rank": "8"}, {"adapter": {"alpha": 4.0}, "run": {"seed": 7}})
    assert values == {"adapter": {"alpha": 4.0, "rank": 8}, "run": {"seed": 7}}


def test_every_control_round_trips_through_a_config() -> None:
    raws = {p.path: forms.show(p, forms.get({}, p.path)) for p in parameters()}
    assert resolve.validate(forms.collect(raws)) == TrainConfig()


# ------------------------------------------------------------------ marks, search, command


def test_modified_names_what_differs_from_the_preset() -> None:
    preset = {"sample": {"prompts": ("a",)}, "schedule": {"max_steps": 300}}
    assert forms.modified(forms.complete(preset), preset) == []
    changed = forms.put(preset, {"sample.prompts": ["a", "b"], "captions.shuffle": True, "schedule.max_steps": 300})
    assert forms.modified(changed, preset) == ["captions.shuffle", "sample.prompts"]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("learning rate", "optimizer.learning_rate"),
        ("lr", "optimizer.learning_rate"),
        ("network_dim", "adapter.rank"),
        ("adapter.rank", "adapter.rank"),
        ("Rank", "adapter.rank"),
        ("clean pictures", "noise.shift"),
    ],
)
def test_search_knows_label_path_help_and_other_names(query: str, path: str) -> None:
    assert path in forms.search(query, texts("en"))


def test_search_in_chinese_finds_chinese_and_english_words() -> None:
    assert "optimizer.learning_rate" in forms.search("学习率", texts("zh"))
    assert "optimizer.learning_rate" in forms.search("learning", texts("zh"))


def test_search_for_nonsense_finds_nothing() -> None:
    assert forms.search("wibble", texts("en")) == []


def test_the_command_gives_the_same_values() -> None:
    preset = {"schedule": {"max_steps": 300}}
    wanted = {
        "sample.prompts": ['a "red" cat', "it's, a dog\\"],
        "optimizer.learning_rate": 1e-5,
        "captions.shuffle": True,
        "captions.trigger": "my wuzzle",
        "run.name": "a b",
    }
    values = forms.put(preset, wanted)
    words = shlex.split(forms.command_line("sandbox", values, forms.modified(values, preset)))
    assert words[:4] == ["python", "launch.py", "train", "sandbox"]
    assert resolve.validate(resolve.override(preset, words[4:])) == resolve.validate(values)


# ------------------------------------------------------------------ the beginner's choices


@pytest.mark.parametrize("goal", forms.GOALS)
def test_a_goal_is_recognised_by_what_it_sets(goal: str) -> None:
    assert forms.goal_of(forms.put({}, forms.GOALS[goal])) == goal


def test_a_mixture_is_no_goal() -> None:
    assert forms.goal_of({"captions": {"dropout": 0.3}}) is None


def test_qualities_are_multiples_of_the_preset() -> None:
    preset = {"schedule": {"max_steps": 300}}
    assert [forms.quality_steps(preset, quality) for quality in ("quick", "balanced", "thorough")] == [150, 300, 600]
    assert forms.quality_of({"schedule": {"max_steps": 600}}, preset) == "thorough"
    assert forms.quality_of({"schedule": {"max_steps": 601}}, preset) is None


def test_the_beginners_form_has_at_most_eight_fields() -> None:
    import gradio as gr

    from app.ui.tabs import train

    with gr.Blocks():
        asks = train.Pictures(add=lambda _: {}, strip=lambda _: {})
        tab = train.build(texts("en"), {}, {}, train.Models([], parts=lambda _: {}), asks)
    model_cards = 1
    assert len(tab.controls()) + model_cards <= 8


# ------------------------------------------------------------------ one draft for both forms


def test_both_forms_change_the_same_draft(editor: DraftEditor, studio: Studio) -> None:
    editor.choose_quality("thorough")
    editor.choose_goal("style")
    editor.edit({"adapter.rank": "8"})
    values = studio.draft().values
    assert forms.get(values, "schedule.max_steps") == 2 * forms.get(editor.preset("sandbox"), "schedule.max_steps")
    assert forms.get(values, "captions.dropout") == 0.1
    assert forms.get(values, "adapter.rank") == 8
    assert forms.quality_of(values, editor.preset("sandbox")) == "thorough"
    assert forms.goal_of(values) == "style"


def test_the_draft_survives_a_restart(editor: DraftEditor, tmp_path: Path) -> None:
    editor.edit({"captions.trigger": "小猫", "optimizer.learning_rate": "3e-4"})
    again = Studio(tmp_path, machine=LAPTOP)
    values = DraftEditor(again).current().after
    again.close()
    assert (forms.get(values, "captions.trigger"), forms.get(values, "optimizer.learning_rate")) == ("小猫", 3e-4)


def test_an_edit_leaves_changes_of_another_page_alone(studio: Studio) -> None:
    here, there = DraftEditor(studio), DraftEditor(studio)
    here.edit({"adapter.rank": "8"})
    there.edit({"run.seed": "7"})
    values = here.current().after
    assert (forms.get(values, "adapter.rank"), forms.get(values, "run.seed")) == (8, 7)


def test_reset_of_a_field_a_group_and_everything(editor: DraftEditor) -> None:
    editor.edit({"adapter.rank": "8", "adapter.alpha": "2", "run.seed": "7"})
    preset = editor.preset("sandbox")
    assert forms.get(editor.reset("adapter.rank").after, "adapter.rank") == forms.get(preset, "adapter.rank") != 8
    after = editor.reset("adapter").after
    assert (forms.get(after, "adapter.alpha"), forms.get(after, "run.seed")) == ("auto", 7)
    assert forms.modified(editor.reset("").after, editor.preset("sandbox")) == []


def test_another_model_brings_its_preset_and_keeps_what_is_mine(editor: DraftEditor, studio: Studio) -> None:
    own = next(preset for preset in studio.presets() if preset.name == "sdxl-object")
    assert forms.goal_of(editor.current().after) == own.goal
    editor.edit({"captions.trigger": "mytoy", "data.folder": "/pictures"})
    edited = editor.choose_model(forms.get(own.values, "model.base"))
    assert edited.preset == own.name
    assert forms.get(edited.after, "schedule.max_steps") == forms.get(own.values, "schedule.max_steps")
    assert (forms.get(edited.after, "captions.trigger"), forms.get(edited.after, "data.folder")) == (
        "mytoy",
        "/pictures",
    )


@pytest.mark.parametrize("goal", ["style", "character", "object"])
def test_a_model_that_is_chosen_for_a_goal_brings_the_preset_of_both(editor: DraftEditor, goal: str) -> None:
    editor.choose_goal(goal)
    edited = editor.choose_model("sdxl")
    assert (edited.preset, forms.goal_of(edited.after)) == (f"sdxl-{goal}", goal)
    assert forms.modified(edited.after, editor.preset(edited.preset)) == [
        "data.folder",
        "captions.trigger",
        "sample.prompts",
    ]


def test_a_goal_brings_its_preset_and_keeps_what_was_changed(editor: DraftEditor) -> None:
    editor.choose_model("sdxl")
    editor.edit({"adapter.alpha": "4", "run.seed": "7", "captions.trigger": "mytoy"})
    editor.choose_quality("quick")
    edited = editor.choose_goal("style")
    style = editor.preset("sdxl-style")
    assert edited.preset == "sdxl-style"
    assert [forms.get(edited.after, path) for path in ("adapter.alpha", "run.seed", "captions.trigger")] == [
        4,
        7,
        "mytoy",
    ]
    assert forms.quality_of(edited.after, style) == "quick"
    assert forms.get(edited.after, "adapter.rank") == forms.get(style, "adapter.rank")
    assert forms.goal_of(edited.after) == "style"


def test_a_base_of_ones_own_keeps_its_place_when_the_goal_changes(editor: DraftEditor, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    editor.choose_preset("sdxl-object")
    editor.edit({"model.base": str(tmp_path)})
    edited = editor.choose_goal("style")
    assert (edited.preset, forms.get(edited.after, "model.base")) == ("sdxl-style", str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    edited = editor.choose_goal("object")
    assert (edited.preset, forms.goal_of(edited.after)) == ("sdxl-style", "object"), "a preset is for its own family"


def test_a_base_of_ones_own_brings_a_preset_of_the_model_that_it_is_like(editor: DraftEditor, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    edited = editor.choose_model(str(tmp_path))
    assert (edited.preset, forms.get(edited.after, "model.base")) == ("sdxl-object", str(tmp_path))
    editor.choose_preset("sdxl-8gb")
    editor.edit({"run.seed": "7"})
    edited = editor.choose_model(str(tmp_path))
    assert (edited.preset, forms.get(edited.after, "run.seed")) == ("sdxl-8gb", 7), "one for its family stays as it is"


def test_an_unknown_base_leaves_the_numbers_of_another_model(editor: DraftEditor) -> None:
    edited = editor.choose_model("someone/something")
    assert (edited.preset, forms.get(edited.after, "model.base")) == ("", "someone/something")


@pytest.mark.parametrize("preset", ["sdxl-8gb", "flux-dev-24gb"])
def test_a_preset_for_a_card_stays_when_the_goal_changes(editor: DraftEditor, preset: str) -> None:
    editor.choose_preset(preset)
    edited = editor.choose_goal("style")
    assert (edited.preset, forms.goal_of(edited.after)) == (preset, "style")


def test_a_goal_leans_the_noise_of_families_that_draw_it_evenly(editor: DraftEditor) -> None:
    editor.choose_preset("sdxl-8gb")
    leaning = editor.choose_goal("concept").after
    assert forms.get(leaning, "noise.timestep_sampling") == "logit_normal"
    assert forms.get(leaning, "noise.logit_std") == 1.8
    even = editor.choose_goal("object").after
    assert forms.get(even, "noise.timestep_sampling") == "auto"
    assert forms.get(even, "noise.logit_std") == 1.0


def test_toml_replaces_all_values(editor: DraftEditor) -> None:
    editor.edit({"run.seed": "7"})
    after = editor.load_toml('title = "mine"\n[adapter]\nrank = 4\n').after
    assert (forms.get(after, "adapter.rank"), forms.get(after, "run.seed")) == (4, 42)


@pytest.mark.parametrize("toml", ["[adapter\n", "[adapter]\nrnak = 4\n", "[nonsense]\nx = 1\n", "nonsense = 1\n"])
def test_toml_that_cannot_be_used_changes_nothing(editor: DraftEditor, toml: str) -> None:
    before = editor.current().after
    with pytest.raises(ConfigError):
        editor.load_toml(toml)
    assert editor.current().after == before


# ------------------------------------------------------------------ what the page is told


def test_an_error_reaches_its_field_with_the_remedy(studio: Studio, editor: DraftEditor) -> None:
    record = describe(studio, editor, editor.edit({"data.resolution": "1000"}), texts("en"))
    assert "992" in record["errors"]["data.resolution"]
    assert record["plan"] is None and record["line"]


def test_what_means_nothing_to_the_family_is_hidden_until_it_is_set(studio: Studio, editor: DraftEditor) -> None:
    def hidden(edited: Any, language: str = "en") -> dict[str, str]:
        found = describe(studio, editor, edited, texts(language))["hidden"]
        return dict(found)

    flux = hidden(editor.choose_model("flux-dev"))
    assert {"noise.offset", "noise.zero_snr", "model.clip_skip", "sample.negative"} <= flux.keys()
    assert flux["noise.offset"].startswith("FLUX.1 learns a straight flow")
    assert "FLUX.1 学的是直线流" in hidden(editor.current(), "zh")["noise.offset"]
    assert "noise.shift" not in flux and "noise.shift" in hidden(editor.choose_model("sdxl"))
    editor.choose_model("flux-dev")
    record = describe(studio, editor, editor.edit({"noise.offset": "0.1"}), texts("en"))
    assert "noise.offset" not in record["hidden"] and "eps or v" in record["errors"]["noise.offset"]
    assert "noise.offset" in hidden(editor.reset("noise.offset"))


def test_nothing_of_a_family_is_hidden_while_it_is_unknown(studio: Studio, editor: DraftEditor) -> None:
    record = describe(studio, editor, editor.edit({"model.base": "nowhere/nothing"}), texts("en"))
    assert "model.base" in record["errors"]
    assert {path.split(".")[0] for path in record["hidden"]} == {"objective"}


def test_the_form_hides_what_the_objective_does_not_read(studio: Studio, editor: DraftEditor) -> None:
    def hidden(edited: Edited, language: str = "en") -> dict[str, str]:
        return describe(studio, editor, edited, texts(language))["hidden"]

    plain = hidden(editor.current())
    assert "objective.beta" in plain and "captions.shuffle" not in plain
    pairs = hidden(editor.edit({"objective.kind": "dpo"}))
    assert "objective.beta" not in pairs and "objective.sdpo_mu" in pairs and "captions.shuffle" in pairs
    assert "偏好" in hidden(editor.edit({"objective.kind": "sft"}), "zh")["objective.beta"]
    assert "objective.sdpo_mu" not in hidden(editor.edit({"objective.kind": "dpo", "objective.sdpo": True}))
    assert {"objective.sdpo_mu", "objective.label_smoothing"} <= hidden(
        editor.edit({"objective.sdpo": False, "objective.preference_loss": "kto"})
    ).keys()


def test_why_an_option_does_not_fit_is_said_in_chinese() -> None:
    said = texts("zh")
    options = {path: [other] for path, other in OTHER.items()} | {p.path: p.choices for p in parameters() if p.choices}
    for name, family in catalog.FAMILIES.items():
        reasons = list(fitting.hidden_paths(family).values())
        for path, values in options.items():
            for value in values:
                base = {"model.base": family.default_model, "model.prediction": "epsilon" if "zero" in path else "auto"}
                config = resolve.validate(forms.put({}, {**base, path: value}))
                reasons += [f"{fault.message} {fault.hint}" for fault in fitting.unfit(config, family)]
        dora = resolve.validate({"adapter": {"kind": "dora"}, "memory": {"quantize": "fp8"}})
        reasons += [f"{fault.message} {fault.hint}" for fault in fitting.unfit(dora, family)]
        left = [reason for reason in reasons if re.search(r" (is|the|for|of|at) ", said.reason(reason))]
        assert reasons and left == [], name


def test_the_record_is_json_and_counts_what_is_modified(studio: Studio, editor: DraftEditor) -> None:
    edited = editor.edit({"adapter.rank": "8", "adapter.alpha": "8", "run.seed": "7"})
    record = json.loads(json.dumps(describe(studio, editor, edited, texts("zh"))))
    assert record["modified"] == ["run.seed", "adapter.rank", "adapter.alpha"]
    assert record["counts"] == {"run": 1, "adapter": 2}
    assert record["defaults"]["run.seed"] == "42"


def test_auto_is_shown_with_what_it_became(studio: Studio, editor: DraftEditor) -> None:
    record = describe(studio, editor, editor.current(), texts("en"))
    assert record["resolved"]["adapter.alpha"] == "64"
    assert "run.seed" not in record["resolved"]


@pytest.mark.parametrize("argument", [None, 7, {}, [], ["x"], ["x", -1], ["x", "1"], "x" * 1000])
def test_server_functions_refuse_what_the_page_never_sends(argument: Any) -> None:
    functions = {function.__name__: function for function in server_functions(SimpleNamespace(poll=None))}  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        functions["poll"](argument)


def test_delete_needs_the_name_of_the_run() -> None:
    deleted: list[str] = []
    studio = SimpleNamespace(
        run=lambda run_id: SimpleNamespace(summary=SimpleNamespace(name="mine")),
        delete_run=lambda run_id: deleted.append(run_id) or "gone",
    )
    delete = next(f for f in server_functions(studio) if f.__name__ == "delete")  # type: ignore[arg-type]
    assert "error" in delete(["id", "other"]) and not deleted
    assert delete(["id", "mine"]) == {"toast": "gone"} and deleted == ["id"]


# ------------------------------------------------------------------ dropped pictures


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Gradio keeps what browsers send."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp" / "abc").mkdir(parents=True)
    return tmp_path / "tmp" / "abc"


def test_dropped_pictures_become_the_drafts_folder(studio: Studio, editor: DraftEditor, uploads: Path) -> None:
    add = drop.server_function(studio, editor)
    picture, notes = uploads / "a.png", uploads / "notes.pdf"
    for file in (picture, notes):
        file.write_bytes(b"content")
    answer = add([[str(picture), ""], [str(notes), ""]])
    assert (answer["folder"], answer["pictures"], answer["named"]) == ("pictures-1", 1, ["notes.pdf"])
    assert forms.get(editor.current().after, "data.folder") == str(studio.data_dir / "datasets" / "pictures-1")
    picture.write_bytes(b"another")
    assert add([[str(picture), ""]])["folder"] == "pictures-1"
    notes.write_bytes(b"")
    assert add([[str(notes), ""]])["error"].startswith("There is no picture but notes.pdf.")


def test_files_that_are_no_uploads_stay_where_they_are(tmp_path: Path, uploads: Path) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"mine")
    (uploads / "link.png").symlink_to(mine)
    wrong = [[str(mine), ""]], [[str(uploads / "../../mine.png"), ""]], [[str(uploads / "link.png"), ""]]
    for request in (*wrong, [[str(uploads), ""]], [str(mine)], [], {}, "x", None):
        with pytest.raises(ValueError, match="upload"):
            drop.dropped(request)
    assert mine.exists()


# ------------------------------------------------------------------ findings


def test_the_numbers_of_a_finding_are_in_its_translation(studio: Studio, editor: DraftEditor, tmp_path: Path) -> None:
    def said(changes: dict[str, str]) -> dict[str, Any]:
        return describe(studio, editor, editor.edit(changes), texts("zh"))

    told = [finding["message"] for finding in said({"captions.trigger": "zorblax"})["findings"]]
    assert [message for message in told if message.startswith("12 个标注里没有“zorblax”")]
    missing = tmp_path / "nowhere"
    assert said({"data.folder": str(missing)})["errors"]["data.folder"].startswith(f"文件夹 {missing} 不存在")


def test_a_finding_with_a_remedy_has_a_button(studio: Studio, editor: DraftEditor, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/good.png").write_bytes((ASSETS / "samples/wuzzle-01.png").read_bytes())
    (tmp_path / "pictures/bad.png").write_bytes(b"")
    edited = editor.edit({"data.folder": str(tmp_path / "pictures")})
    fixes = {f["fix"]["label"]: f["fix"] for f in describe(studio, editor, edited, texts("en"))["findings"] if f["fix"]}
    assert fixes == {
        "Fix: go on without them": {"label": "Fix: go on without them", "act": '{"data.skip_bad": true}'},
        "Show in Data": {"label": "Show in Data", "filter": "no_caption"},
    }
    edited = editor.fix(fixes["Fix: go on without them"]["act"])
    assert forms.get(edited.after, "data.skip_bad") is True
    levels = {finding["level"] for finding in describe(studio, editor, edited, texts("en"))["findings"]}
    assert levels == {"ok", "warning"}


@pytest.mark.parametrize("wish", ["", "[]", "null", '{"run.nothing": 1}', '{"sample.prompts": 1}', "{"])
def test_a_fix_that_the_app_never_offered_changes_nothing(editor: DraftEditor, wish: str) -> None:
    before = editor.current().after
    with pytest.raises(ConfigError):
        editor.fix(wish)
    assert editor.current().after == before


def test_presets_are_offered_by_title(studio: Studio) -> None:
    assert all(isinstance(preset, PresetInfo) and preset.title for preset in studio.presets())
