"""Which options suit which family, and why the others do not: a small table over `FamilySpec.features`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainers import catalog
from trainers.catalog import FamilySpec, Feature
from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.parameters import by_path

Rule = tuple[Feature, str]  # the feature that is needed, and why not without it

_FOR_DIFFUSION: Rule = ("ddpm", "{family} learns a straight flow: {name} is for models that predict eps or v.")
_FOR_FLOW: Rule = ("flow", "{family} has a fixed table of noise levels: {name} is for models of a straight flow.")
_TEXT: Rule = ("text_lora", "{family} has no text encoder that takes an adapter.")

FIELDS: dict[str, Rule] = {
    "model.prediction": ("ddpm", "{family} always predicts the velocity of a straight flow."),
    "model.clip_skip": ("clip_skip", "{family} reads fixed layers of its text encoders, and so do programs that draw."),
    "model.text_chunks": ("text_chunks", "{family} reads long captions with T5, not in pieces."),
    "model.guidance": ("guidance_embedding", "{family} is told no guidance value while it learns."),
    "adapter.text_encoders": _TEXT,
    "noise.mode_scale": _FOR_FLOW,
    "noise.shift": _FOR_FLOW,
    "noise.shift_kind": _FOR_FLOW,
    "noise.min_snr_gamma": _FOR_DIFFUSION,
    "noise.offset": _FOR_DIFFUSION,
    "noise.pyramid_discount": _FOR_DIFFUSION,
    "noise.pyramid_levels": _FOR_DIFFUSION,
    "noise.zero_snr": ("ddpm", "{family} learns a straight flow, whose last noise level is pure noise already."),
    "optimizer.text_encoder_learning_rate": _TEXT,
    "sample.negative": ("negative", "{family} draws without real guidance: there is nothing to turn away from."),
}
CHOICES: dict[str, dict[str, Rule]] = {
    "objective.huber_schedule": {"snr": _FOR_DIFFUSION},
    "noise.timestep_sampling": {"mode": _FOR_FLOW},
    "noise.weighting": {
        "sigma_sqrt": _FOR_FLOW,
        "cosmap": _FOR_FLOW,
        "min_snr": _FOR_DIFFUSION,
        "debiased": _FOR_DIFFUSION,
    },
}


def hidden_paths(spec: FamilySpec) -> dict[str, str]:
    """Parameters that mean nothing to a family: path -> reason."""
    return _broken(FIELDS, spec)


def unfit_choices(spec: FamilySpec) -> dict[str, dict[str, str]]:
    """Choices that a family does not have: path -> choice -> reason."""
    layouts: dict[str, str] = {
        layout: f"no program loads a {layout} file of {spec.title}."
        for layout in catalog.LAYOUTS
        if layout not in spec.layouts
    }
    unfit = {path: _broken(rules, spec) for path, rules in CHOICES.items()} | {"save.layout": layouts}
    return {path: choices for path, choices in unfit.items() if choices}


def _broken(rules: dict[str, Rule], spec: FamilySpec) -> dict[str, str]:
    return {
        name: reason.format(family=spec.title, name=name)
        for name, (feature, reason) in rules.items()
        if feature not in spec.features
    }


def unfit(config: TrainConfig, spec: FamilySpec) -> list[ConfigError]:
    """What a family cannot use, or what does not go together: a fault for each value that is not the default."""
    values = config.model_dump()
    faults = []
    for path, reason in hidden_paths(spec).items():
        default = by_path()[path].default
        if _at(values, path) != default:
            faults.append(ConfigError(path, reason, f"Leave it at {_written(default)}."))
    for path, choices in unfit_choices(spec).items():
        if (chosen := _at(values, path)) in choices:
            fit = [choice for choice in by_path()[path].choices if choice not in choices]
            faults.append(ConfigError(path, choices[chosen], f"Use one of {', '.join(fit)}."))
    named = {fault.field for fault in faults}
    return [*faults, *(fault for fault in _clashes(config) if fault.field not in named)]


def _clashes(config: TrainConfig) -> Iterator[ConfigError]:
    """Options that exclude each other, whatever the family."""
    if config.adapter.kind == "dora" and config.memory.quantize != "none":
        message = "dora measures the base's weights at every step, which must not be rounded to 8 bits for that."
        yield ConfigError("adapter.kind", message, "Use lora, or set memory.quantize = none.")
    if config.optimizer.text_encoder_learning_rate != "auto" and not config.adapter.text_encoders:
        message = "no text encoder is trained."
        yield ConfigError(
            "optimizer.text_encoder_learning_rate", message, "Leave it at auto, or set adapter.text_encoders = true."
        )
    if config.noise.zero_snr == "on" and config.model.prediction == "epsilon":
        message = "a model that predicts the noise learns nothing from pure noise, where it sees its answer."
        yield ConfigError("noise.zero_snr", message, "Use auto or off; v_prediction models have it.")


def _at(values: dict[str, Any], path: str) -> Any:
    section, name = path.split(".")
    return values[section][name]


def _written(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "empty" if default == "" else f"{default:g}" if isinstance(default, float) else str(default)
