"""The declaration of parameters: what it refuses, and that every parameter is described and read."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.readers import reads
from trainers import resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError, ConfigErrors
from trainers.parameters import Parameter, parameters
from trainers.paths import PROGRAM

ALL = [pytest.param(parameter, id=parameter.path) for parameter in parameters()]
NUMBERS = [pytest.param(p, id=p.path) for p in parameters() if p.kind in ("int", "float")]
WRONG: dict[str, Any] = {
    "int": "many",
    "float": "much",
    "bool": "perhaps",
    "choice": "other",
    "text": 5,
    "lines": "one",
    "numbers": "one",
}


def nested(path: str, value: Any) -> dict[str, Any]:
    section, key = path.split(".")
    return {section: {key: value}}


def faults(values: dict[str, Any]) -> list[ConfigError]:
    with pytest.raises(ConfigErrors) as caught:
        resolve.validate(values)
    return caught.value.errors


def accepts(parameter: Parameter, value: Any) -> bool:
    try:
        resolve.validate(nested(parameter.path, value))
    except ConfigErrors:
        return False
    return True


@pytest.mark.parametrize("parameter", ALL)
def test_wrong_type_is_told_with_path_and_remedy(parameter: Parameter) -> None:
    (fault,) = faults(nested(parameter.path, WRONG[parameter.kind]))
    assert fault.field == parameter.path
    assert "cannot be used" in fault.message and fault.hint.startswith("Give ")
    for choice in parameter.choices:
        assert choice in fault.hint
    assert parameter.bounds in fault.hint


@pytest.mark.parametrize("parameter", NUMBERS)
def test_true_is_not_a_number(parameter: Parameter) -> None:
    assert not accepts(parameter, True)


@pytest.mark.parametrize("parameter", NUMBERS)
def test_bounds_are_those_of_the_table(parameter: Parameter) -> None:
    tiny = 1 if parameter.kind == "int" else 1e-9
    if parameter.minimum is not None:
        assert accepts(parameter, parameter.minimum) and not accepts(parameter, parameter.minimum - tiny)
    if parameter.maximum is not None:
        assert accepts(parameter, parameter.maximum) and not accepts(parameter, parameter.maximum + tiny)
    if parameter.above is not None:
        assert accepts(parameter, parameter.above + tiny) and not accepts(parameter, parameter.above)
    if parameter.below is not None:
        assert accepts(parameter, parameter.below - tiny) and not accepts(parameter, parameter.below)
    assert not accepts(parameter, float("inf")) and not accepts(parameter, float("nan"))


@pytest.mark.parametrize("parameter", ALL)
def test_auto_is_accepted_where_the_table_says_so(parameter: Parameter) -> None:
    if parameter.kind != "text":
        assert accepts(parameter, "auto") == parameter.auto


@pytest.mark.parametrize("parameter", ALL)
def test_every_parameter_is_described(parameter: Parameter) -> None:
    assert parameter.label and parameter.label[0].isupper()
    assert parameter.help.endswith(".") and len(parameter.help) > 10
    assert parameter.level in ("beginner", "expert")
    assert ("auto:" in parameter.help) == parameter.auto, "the help says what auto means, where there is an auto"


def test_labels_are_unique_within_a_section() -> None:
    labels = [(parameter.section, parameter.label) for parameter in parameters()]
    assert len(set(labels)) == len(labels)


def test_at_most_eight_beginner_fields() -> None:
    assert 1 <= sum(parameter.level == "beginner" for parameter in parameters()) <= 8


def test_defaults_obey_their_own_bounds() -> None:
    assert resolve.validate(TrainConfig().model_dump()) == TrainConfig()


@pytest.mark.parametrize(
    ("values", "field", "hint"),
    [
        ({"adapter": {"rnak": 8}}, "adapter.rnak", "Did you mean adapter.rank?"),
        ({"adapter": {"network_dim": 8}}, "adapter.network_dim", "Did you mean adapter.rank?"),
        ({"adaptor": {"rank": 8}}, "adaptor", "Did you mean adapter?"),
        ({"zzz": 1}, "zzz", "Sections: run, model, data"),
        ({"adapter": 8}, "adapter", "Write [adapter]"),
    ],
)
def test_unknown_key_is_told_with_the_one_that_was_meant(values: dict[str, Any], field: str, hint: str) -> None:
    (fault,) = faults(values)
    assert fault.field == field and fault.hint.startswith(hint)


def test_all_faults_are_told_at_once_and_each_once() -> None:
    found = faults({"adapter": {"rank": 0, "alpha": -1}, "schedule": {"max_steps": "x"}, "sample": {"prompts": [1, 2]}})
    assert [fault.field for fault in found] == ["adapter.rank", "adapter.alpha", "schedule.max_steps", "sample.prompts"]
    assert str(found[0]) == 'adapter.rank: 0 cannot be used. Give a whole number (1 to 1024), or "auto".'


def test_long_values_are_shortened_in_messages() -> None:
    (fault,) = faults({"adapter": {"rank": "x" * 10_000}})
    assert len(fault.message) < 80


def test_config_is_frozen() -> None:
    config = TrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.run.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.run = config.run  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["", "  ", ".hidden", " .hidden", "dot.", "a/b", "a\\b", "a:b", "line\nline", "x" * 201]
)
def test_name_that_is_no_file_name_is_refused(name: str) -> None:
    (fault,) = faults({"run": {"name": name}})
    assert fault.field == "run.name"


@pytest.mark.parametrize("name", ["CON", "nul.txt", "Lpt1"])
def test_name_of_a_windows_device_is_refused(name: str) -> None:
    (fault,) = faults({"run": {"name": name}})
    assert "device" in fault.message


def test_longest_name_fits_a_file_system_in_any_script(tmp_path: Path) -> None:
    name = resolve.validate({"run": {"name": "学" * 66}}).run.name
    (tmp_path / f"{name}.safetensors").write_bytes(b"")
    (fault,) = faults({"run": {"name": "学" * 67}})
    assert "too long" in fault.message


def test_name_is_trimmed() -> None:
    assert resolve.validate({"run": {"name": "  my run "}}).run.name == "my run"


def test_warm_up_that_would_do_nothing_is_told_at_its_field() -> None:
    (fault,) = faults({"schedule": {"warmup_steps": 10}})
    assert fault.field == "schedule.warmup_steps" and "constant_with_warmup" in fault.message
    assert resolve.validate({"schedule": {"warmup_steps": 10, "lr_scheduler": "cosine"}}).schedule.warmup_steps == 10


@pytest.mark.parametrize("endings", ["txt", ".txt;.caption", ".t xt", ""])
def test_caption_endings_need_their_dots(endings: str) -> None:
    (fault,) = faults({"data": {"caption_extension": endings}})
    assert fault.field == "data.caption_extension"


# --------------------------------------------------------------------------- no dead options

DECLARES_OR_FILLS = {"config", "parameters.py", "resolve.py"}


def test_every_parameter_has_a_reader() -> None:
    read = set[str]()
    for file in (PROGRAM / "trainers").rglob("*.py"):
        if file.relative_to(PROGRAM / "trainers").parts[0] not in DECLARES_OR_FILLS:
            read |= set(reads(ast.parse(file.read_text(encoding="utf-8"))))
    options = {parameter.path for parameter in parameters() if len(parameter.choices) != 1}  # one choice is no choice
    assert sorted(options - read) == []


def test_readers_are_found() -> None:
    source = """
from trainers.config import Model as ModelConfig, TrainConfig
class Family:
    def __init__(self, config: ModelConfig, whole: TrainConfig) -> None:
        self._config = config
        self._rank = whole.adapter.rank
    def load(self):
        return self._config.vae
def optimizer(settings: Optimizer): return settings.beta1
def total(config):
    schedule, save = config.schedule, config.save
    return schedule.max_steps
def other(schedule): return schedule.warmup_steps
"""
    assert set(reads(ast.parse(source))) == {"adapter.rank", "model.vae", "optimizer.beta1", "schedule.max_steps"}
