"""The flat table of parameters that forms, docs and searches read."""

from __future__ import annotations

import pytest
from pydantic import Field

from trainers.config import Section, TrainConfig
from trainers.parameters import Parameter, _parameter, by_path, parameters, sections


def test_every_field_of_every_section_is_in_the_table_in_order() -> None:
    declared = [
        f"{section}.{key}"
        for section, info in TrainConfig.model_fields.items()
        if section != "schema_version"
        for key in info.annotation.model_fields  # type: ignore[union-attr]
    ]
    assert [parameter.path for parameter in parameters()] == declared
    assert list(by_path()) == declared
    assert list(sections()) == list(dict.fromkeys(path.split(".")[0] for path in declared))


@pytest.mark.parametrize("section", sections())
def test_every_section_says_what_it_is_about(section: str) -> None:
    text = sections()[section].__doc__
    assert text and text.endswith(".") and "\n" not in text


def test_defaults_are_those_of_the_config() -> None:
    config = TrainConfig().model_dump()
    assert {p.path: p.default for p in parameters()} == {p.path: config[p.section][p.name] for p in parameters()}


@pytest.mark.parametrize(
    ("path", "kind", "auto", "bounds"),
    [
        ("adapter.rank", "int", True, "1 to 1024"),
        ("adapter.alpha", "float", True, "above 0"),
        ("optimizer.learning_rate", "float", True, "above 0, at most 10"),
        ("optimizer.beta1", "float", False, "0 or more, below 1"),
        ("captions.dropout", "float", False, "0 to 1"),
        ("schedule.max_steps", "int", False, "1 or more"),
        ("captions.shuffle", "bool", False, ""),
        ("captions.trigger", "text", False, ""),
        ("run.name", "text", True, ""),
        ("sample.prompts", "lines", False, ""),
        ("memory.quantize", "choice", False, ""),
        ("model.precision", "choice", True, ""),
        ("noise.logit_mean", "float", False, ""),
    ],
)
def test_kind_and_bounds_are_read_from_the_type(path: str, kind: str, auto: bool, bounds: str) -> None:
    parameter = by_path()[path]
    assert (parameter.kind, parameter.auto, parameter.bounds) == (kind, auto, bounds)


def test_choices_are_in_order_of_declaration() -> None:
    assert by_path()["model.precision"].choices == ("auto", "fp32", "bf16", "fp16")


def test_only_an_upper_bound_is_said_too() -> None:
    parameter = Parameter("a.b", "B", "Help.", "expert", "", "", "int", 0, maximum=5)
    assert parameter.bounds == "at most 5"


def test_field_that_is_not_described_cannot_enter_the_table() -> None:
    class Bare(Section):
        rank: int = Field(4)

    with pytest.raises(TypeError, match=r"declare bare\.rank with trainers\.config\.section\.param"):
        _parameter("bare.rank", Bare.model_fields["rank"])
