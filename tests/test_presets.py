"""Every preset that ships: it validates, fits the machine that it is named for, and explains its numbers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.machines import CARD_24, LAPTOP
from trainers import plan, resolve
from trainers.config import TrainConfig
from trainers.machine import Machine
from trainers.parameters import by_path
from trainers.paths import PRESETS

FILES = sorted(PRESETS.glob("*.toml"))
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


@pytest.mark.parametrize("file", [f for f in FILES if re.search(r"-\d+gb$", f.stem)], ids=lambda file: file.stem)
def test_preset_named_for_a_card_fits_it_with_room_to_spare(file: Path) -> None:
    memory_gib = float(re.search(r"-(\d+)gb$", file.stem)[1])  # type: ignore[index]
    card = Machine("cuda", "card", memory_gib, 64.0, 8, bf16=True)
    need = plan.forecast(resolve.resolve(load(file), card), card, 50).memory_gib
    assert need < 0.8 * memory_gib, "the desktop, previews and fragments of memory take their share"


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
