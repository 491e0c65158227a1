"""Every preset that ships: it validates, fits the machine that it is named for, and explains its numbers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from app.ui import forms
from tests.machines import CARD_24, LAPTOP
from trainers import catalog, fitting, plan, resolve
from trainers.config import TrainConfig
from trainers.machine import Machine
from trainers.parameters import by_path
from trainers.paths import PRESETS
from trainers.presets import PresetInfo, presets

FILES = sorted(PRESETS.glob("*.toml"))
INFOS = presets(Path("no own ones"))
FOR_GOALS = [info for info in INFOS if info.goal]
CARDS = [info for info in INFOS if re.search(r", \d+ GB$", info.title)]
# how long and how often: such numbers say themselves what they do
SELF_EVIDENT = {"max_steps", "max_epochs", "batch_size", "every_steps", "keep_last", "schema_version"}


def load(file: Path) -> TrainConfig:
    return resolve.validate(resolve.load(file.stem))


def test_the_default_and_the_first_real_preset_are_there() -> None:
    assert {"sandbox", "flux-dev-24gb"} <= {file.stem for file in FILES}


@pytest.mark.parametrize("machine", [LAPTOP, CARD_24], ids=lambda machine: machine.device)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_preset_resolves_everywhere(file: Path, machine: Machine) -> None:
    config = resolve.resolve(load(file), machine)
    assert resolve.resolve(config, machine) == config
    assert plan.forecast(config, machine, 20).steps > 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_preset_says_what_it_is_for(file: Path) -> None:
    values = tomllib.loads(file.read_text(encoding="utf-8"))
    assert values["title"] and len(values["title"]) <= 40
    assert values["summary"].endswith(".") and len(values["summary"]) <= 120
    assert file.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_number_of_a_preset_is_explained(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    bare = []
    for before, line in zip(["", *lines], lines, strict=False):
        number = re.match(r"(\w+) *= *[-+\d.]", line)
        explained = "#" in line or before.startswith("#")
        if number and not explained and number[1] not in SELF_EVIDENT:
            bare.append(line)
    assert bare == []


def test_a_number_without_a_comment_is_found(tmp_path: Path) -> None:
    file = tmp_path / "bare.toml"
    file.write_text("# a preset\n[optimizer]\nlearning_rate = 1e-4\n")
    with pytest.raises(AssertionError, match="learning_rate"):
        test_every_number_of_a_preset_is_explained(file)


@pytest.mark.parametrize("info", CARDS, ids=lambda info: info.name)
def test_preset_made_for_a_card_fits_it_with_room_to_spare(info: PresetInfo) -> None:
    memory_gib = float(re.search(r"(\d+) GB$", info.title)[1])  # type: ignore[index]
    named = re.search(r"-(\d+)gb$", info.name)
    assert named is None or float(named[1]) == memory_gib
    card = Machine("cuda", "card", memory_gib, 64.0, 8, bf16=True)
    need = plan.forecast(resolve.resolve(resolve.validate(info.values), card), card, 50).memory_gib
    assert need < 0.8 * memory_gib, "the desktop, previews and fragments of memory take their share"


def test_every_real_preset_says_what_card_it_is_for() -> None:
    assert {info.name for info in INFOS} - {info.name for info in CARDS} == {"sandbox", "sandbox-preference"}


def test_every_model_has_a_preset_and_every_family_all_goals() -> None:
    assert {forms.get(info.values, "model.base") for info in INFOS} == set(catalog.MODELS)
    goals: dict[str, set[str]] = {family: set() for family in catalog.FAMILIES}
    for info in FOR_GOALS:
        goals[catalog.family_of(forms.get(info.values, "model.base"))].add(info.goal)
    assert set(map(frozenset, goals.values())) == {frozenset(["style", "character", "object"])}


@pytest.mark.parametrize("info", FOR_GOALS, ids=lambda info: info.name)
def test_preset_for_a_goal_is_what_the_form_calls_so(info: PresetInfo) -> None:
    assert forms.goal_of(info.values) == info.goal
    family = forms.family(info.values)
    assert family is not None
    for path, value in forms.for_goal(info.goal, family).items():
        shown = forms.get(info.values, path)
        assert (family.timestep_sampling if shown == "auto" else shown) == (
            family.timestep_sampling if value == "auto" else value
        )


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_preset_says_nothing_that_its_family_cannot_use(info: PresetInfo) -> None:
    family = forms.family(info.values)
    assert family is not None
    assert fitting.hidden_paths(family).keys() & set(forms.modified(info.values, {})) == set()


def test_no_two_presets_differ_in_one_value_alone() -> None:
    for number, one in enumerate(INFOS):
        for other in INFOS[number + 1 :]:
            assert len(forms.modified(one.values, other.values)) > 2, (one.name, other.name)


def test_goals_differ_where_it_matters() -> None:
    """Looks get more room and little noise, persons a name that is kept apart from others, things few steps."""
    by_name = {info.name: info.values for info in INFOS}
    for family in ("sd15", "sdxl", "flux", "sd35"):
        style, character, thing = (by_name[f"{family}-{goal}"] for goal in ("style", "character", "object"))
        assert forms.get(style, "adapter.rank") >= forms.get(character, "adapter.rank")
        assert forms.get(style, "noise.logit_mean") < 0 < forms.get(style, "captions.dropout")
        assert forms.get(character, "adapter.text_encoders") or forms.get(character, "objective.preservation")
        steps = [forms.get(values, "schedule.max_steps") for values in (thing, character, style)]
        assert steps == sorted(steps)


def test_sandbox_needs_nothing_but_the_program() -> None:
    config = load(PRESETS / "sandbox.toml")
    assert config.model.base == "sandbox"
    assert config.data.folder == "assets/samples"
    assert config.captions.trigger and config.sample.prompts
    assert plan.forecast(resolve.resolve(config, LAPTOP), LAPTOP, 12).memory_gib < 4


def test_flux_preset_is_the_known_recipe() -> None:
    config = load(PRESETS / "flux-dev-24gb.toml")
    assert (config.memory.quantize, config.memory.gradient_checkpointing) == ("fp8", "on")
    assert config.model.guidance == 1.0, "an adapter trained at more needs real guidance to draw"
    assert (config.adapter.rank, config.optimizer.learning_rate) == (16, 1e-4)
    assert config.schedule.warmup_steps < config.schedule.max_steps == 2000
    assert config.sample.every_steps == config.save.every_steps == 250


def test_flux_preset_does_not_repeat_what_the_base_says_otherwise() -> None:
    """Numbers of the preset that the catalog also has agree, so that reset and preset give the same."""
    config = load(PRESETS / "flux-dev-24gb.toml")
    by_catalog = resolve.resolve(resolve.validate({"model": {"base": "flux-dev"}}), CARD_24).model_dump()
    for path in ("adapter.rank", "adapter.targets", "optimizer.learning_rate", "sample.steps", "sample.guidance"):
        parameter = by_path()[path]
        assert config.model_dump()[parameter.section][parameter.name] == by_catalog[parameter.section][parameter.name]
