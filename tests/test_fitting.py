"""What does not suit a family is refused with the reason, and what suits it is left alone."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from tests.machines import CARD_24, resolved
from trainers import catalog, fitting, resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError, ConfigErrors
from trainers.parameters import by_path

FLOW = [name for name, family in catalog.FAMILIES.items() if "flow" in family.features]
DDPM = [name for name, family in catalog.FAMILIES.items() if "ddpm" in family.features]
# a value other than the default, which is valid by itself
OTHER: dict[str, Any] = {
    "model.prediction": "v_prediction",
    "model.clip_skip": 2,
    "model.text_chunks": 3,
    "model.guidance": 3.5,
    "adapter.text_encoders": True,
    "noise.mode_scale": 1.0,
    "noise.shift": 3.0,
    "noise.shift_kind": "static",
    "noise.min_snr_gamma": 1.0,
    "noise.offset": 0.05,
    "noise.pyramid_discount": 0.3,
    "noise.pyramid_levels": 4,
    "noise.zero_snr": "on",
    "optimizer.text_encoder_learning_rate": 1e-5,
    "sample.negative": "blurry",
}


def config(family: str, **values: Any) -> TrainConfig:
    """values: by dotted path, with __ for the dot."""
    nested: dict[str, Any] = {"model": {"base": catalog.FAMILIES[family].default_model}}
    for key, value in values.items():
        section, name = key.split("__")
        nested.setdefault(section, {})[name] = value
    return resolve.validate(nested)


def faults(family: str, **values: Any) -> dict[str, str]:
    """Path -> what is told."""
    found = fitting.unfit(config(family, **values), catalog.FAMILIES[family])
    return {fault.field: f"{fault.message} {fault.hint}" for fault in found}


def key(path: str) -> str:
    return path.replace(".", "__")


@pytest.mark.parametrize("family", catalog.FAMILIES)
def test_the_defaults_suit_every_family_and_stay_what_they_are(family: str) -> None:
    assert faults(family) == {}
    once = resolve.resolve(config(family), CARD_24)
    assert resolve.resolve(once, CARD_24) == once
    assert fitting.unfit(once, catalog.FAMILIES[family]) == []


def test_rules_name_parameters_features_and_choices_that_exist() -> None:
    assert set(fitting.FIELDS) == set(OTHER) <= by_path().keys()
    for path, choices in fitting.CHOICES.items():
        assert choices.keys() <= set(by_path()[path].choices) - {by_path()[path].default}
    rules = [*fitting.FIELDS.values(), *(rule for choices in fitting.CHOICES.values() for rule in choices.values())]
    assert {feature for feature, _ in rules} <= set(get_args(catalog.Feature))
    assert all("{family}" in reason and reason.endswith(".") for _, reason in rules)


@pytest.mark.parametrize("family", catalog.FAMILIES)
def test_another_value_of_a_hidden_parameter_is_refused_with_the_reason(family: str) -> None:
    spec = catalog.FAMILIES[family]
    hidden = fitting.hidden_paths(spec)
    for path, reason in hidden.items():
        assert reason.startswith(spec.title)
        assert reason in faults(family, **{key(path): OTHER[path]})[path]
        default = by_path()[path].default
        assert faults(family, **{key(path): default}) == {}, "written out, a default is no wish"
    for path in OTHER.keys() - hidden.keys() - {"optimizer.text_encoder_learning_rate"}:
        assert faults(family, **{key(path): OTHER[path]}) == {}


def test_what_every_family_has_of_its_own() -> None:
    def hidden(family: str) -> set[str]:
        return {path.split(".")[1] for path in fitting.hidden_paths(catalog.FAMILIES[family])}

    ddpm = {"prediction", "min_snr_gamma", "offset", "pyramid_discount", "pyramid_levels", "zero_snr"}
    flow = {"mode_scale", "shift", "shift_kind", "guidance"}
    assert hidden("flux") == ddpm | {"clip_skip", "text_chunks", "negative"}
    assert hidden("sd3") == ddpm | {"clip_skip", "text_chunks", "guidance"}
    assert hidden("sdxl") == flow | {"clip_skip"}
    assert hidden("sd15") == flow


@pytest.mark.parametrize("family", FLOW)
@pytest.mark.parametrize(
    ("path", "choice"),
    [("noise.weighting", "min_snr"), ("noise.weighting", "debiased"), ("objective.huber_schedule", "snr")],
)
def test_flow_models_have_no_signal_to_noise_rules(family: str, path: str, choice: str) -> None:
    assert choice in faults(family, **{key(path): choice})[path]


@pytest.mark.parametrize("family", DDPM)
@pytest.mark.parametrize(
    ("path", "choice"),
    [("noise.weighting", "cosmap"), ("noise.weighting", "sigma_sqrt"), ("noise.timestep_sampling", "mode")],
)
def test_eps_and_v_models_have_no_rules_of_flows(family: str, path: str, choice: str) -> None:
    assert path in faults(family, **{key(path): choice})


@pytest.mark.parametrize("family", catalog.FAMILIES)
@pytest.mark.parametrize("path", ["noise.weighting", "noise.timestep_sampling", "objective.huber_schedule"])
def test_the_other_choices_are_told(family: str, path: str) -> None:
    unfit = fitting.unfit_choices(catalog.FAMILIES[family]).get(path, {})
    for choice in by_path()[path].choices:
        told = faults(family, **{key(path): choice}).get(path)
        assert bool(told) == (choice in unfit)
        if told:
            hint = told.rpartition("Use one of ")[2]
            assert all((other in hint) != (other in unfit) for other in by_path()[path].choices)


@pytest.mark.parametrize("family", catalog.FAMILIES)
@pytest.mark.parametrize("layout", catalog.LAYOUTS)
def test_only_layouts_that_some_program_loads_can_be_chosen(family: str, layout: catalog.Layout) -> None:
    spec = catalog.FAMILIES[family]
    assert bool(faults(family, save__layout=layout)) == (layout not in spec.layouts)
    assert (layout in spec.loads_in) == (layout in spec.layouts)


@pytest.mark.parametrize("family", catalog.FAMILIES)
def test_the_distributions_that_make_sense_over_any_schedule(family: str) -> None:
    for kind in ("auto", "uniform", "logit_normal"):
        assert faults(family, noise__timestep_sampling=kind, noise__logit_mean=-0.5) == {}


def test_dora_needs_the_weights_of_the_base() -> None:
    assert "memory.quantize = none" in faults("sdxl", adapter__kind="dora", memory__quantize="fp8")["adapter.kind"]
    assert faults("sdxl", adapter__kind="dora") == faults("sdxl", memory__quantize="fp8") == {}


def test_a_rate_of_text_encoders_needs_text_encoders() -> None:
    path = "optimizer.text_encoder_learning_rate"
    assert path in faults("sdxl", optimizer__text_encoder_learning_rate=1e-5)
    assert faults("sdxl", optimizer__text_encoder_learning_rate=1e-5, adapter__text_encoders=True) == {}


def test_pure_noise_teaches_a_model_that_predicts_noise_nothing() -> None:
    assert "noise.zero_snr" in faults("sdxl", noise__zero_snr="on", model__prediction="epsilon")
    assert faults("sdxl", noise__zero_snr="on", model__prediction="v_prediction") == {}
    assert faults("sdxl", noise__zero_snr="on") == {}, "the file may say that it predicts v"


def test_a_family_that_has_no_such_option_says_so_once() -> None:
    told = faults("flux", noise__zero_snr="on", model__prediction="epsilon")
    assert told["noise.zero_snr"].startswith("FLUX.1")


def test_all_are_told_at_once() -> None:
    with pytest.raises(ConfigErrors) as several:
        resolved({"model": {"base": "flux-dev", "clip_skip": 2}, "noise": {"offset": 0.1}})
    assert [fault.field for fault in several.value.errors] == ["model.clip_skip", "noise.offset"]
    with pytest.raises(ConfigError, match=r"noise\.offset: FLUX\.1 .* Leave it at 0\."):
        resolved({"model": {"base": "flux-dev"}, "noise": {"offset": 0.1}})


@pytest.mark.parametrize(
    "values",
    [
        {"noise": {"weighting": "min_snr", "offset": 0.05, "zero_snr": "on"}, "model": {"prediction": "v_prediction"}},
        {"adapter": {"text_encoders": True}, "optimizer": {"text_encoder_learning_rate": 5e-5}},
        {"adapter": {"text_encoders": True}},
        {"save": {"layout": "diffusers"}, "sample": {"negative": "blurry"}, "model": {"text_chunks": 3}},
    ],
)
def test_what_suits_is_resolved_once_and_for_all(values: dict[str, Any]) -> None:
    once = resolved({**values, "model": {"base": "sdxl", **values.get("model", {})}}, CARD_24)
    assert resolve.resolve(once, CARD_24) == once
