"""Which options suit which family and objective, and why the others do not: small tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

# Read with one kind of objective alone.
_PICTURES = "{name} is for plain training on pictures with captions."
_PAIRS = "{name} is for training on preference pairs."
OF_OBJECTIVE: dict[str, tuple[str, tuple[str, ...]]] = {
    "sft": (
        _PICTURES,
        (
            *(f"data.{name}" for name in ("folder", "sets", "more_resolutions", "repeats", "mask", "unmasked_weight")),
            *(f"data.{name}" for name in ("prior_weight", "skip_bad", "caption_extension")),
            *(f"captions.{name}" for name in ("prefix", "suffix", "lines", "fallback", "shuffle", "keep_tokens")),
            *(f"captions.{name}" for name in ("separator", "keep_separator", "tag_dropout", "wildcards", "variants")),
            *(f"objective.{name}" for name in ("preservation", "preserved_words", "loss", "huber_c", "huber_schedule")),
            *(f"noise.{name}" for name in ("weighting", "min_snr_gamma")),
        ),
    ),
    "dpo": (
        _PAIRS,
        (
            *(f"objective.{name}" for name in ("pairs", "preference_loss", "beta", "label_smoothing", "dmpo_alpha")),
            *(f"objective.{name}" for name in ("sdpo", "sdpo_mu", "sft_weight", "reference", "sft_lora", "real_ratio")),
        ),
    ),
}
# Read by some preference losses alone.
OF_LOSS: dict[str, tuple[str, ...]] = {
    "objective.label_smoothing": ("sigmoid", "ipo", "hinge", "dmpo"),
    "objective.dmpo_alpha": ("dmpo",),
    "objective.sdpo": ("sigmoid", "ipo", "hinge", "dmpo"),
    "objective.sdpo_mu": ("sigmoid", "ipo", "hinge", "dmpo"),
}


def unread_paths(get: Callable[[str], Any]) -> dict[str, str]:
    """Parameters that the chosen objective does not read: path -> reason. get: the value at a dotted path."""
    kind, loss = get("objective.kind"), get("objective.preference_loss")
    found = {
        path: reason.format(name=path)
        for other, (reason, paths) in OF_OBJECTIVE.items()
        if other != kind
        for path in paths
    }
    if kind == "dpo":
        of_loss = (path for path, losses in OF_LOSS.items() if loss not in losses)
        found |= {path: f"the preference loss {loss} does not read {path}." for path in of_loss}
        if not get("objective.sdpo"):
            found.setdefault("objective.sdpo_mu", "objective.sdpo_mu is for objective.sdpo = true.")
    return found


def unread(config: TrainConfig) -> list[str]:
    """Parameters that are set to something, and that the objective does not read.

    The folder of pictures is not among them: nobody expects pairs to come from there.
    """
    values = config.model_dump()
    paths = unread_paths(lambda path: _at(values, path)).keys() - {"data.folder"}
    return [path for path in by_path() if path in paths and _is_set(values, path)]


def _is_set(values: dict[str, Any], path: str) -> bool:
    return bool(_at(values, path) != by_path()[path].default)


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
        if _is_set(values, path):
            default = by_path()[path].default
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
    yield from _of_pairs(config) if config.objective.kind == "dpo" else _of_pictures(config)


def _of_pictures(config: TrainConfig) -> Iterator[ConfigError]:
    if config.objective.sft_lora:
        message = "plain training goes on from a LoRA; it is not merged into the base first."
        yield ConfigError("objective.sft_lora", message, "Set adapter.resume_from to the file, or leave this empty.")


def _of_pairs(config: TrainConfig) -> Iterator[ConfigError]:
    objective = config.objective
    if config.adapter.dropout:
        message = "dropout is only in the model, not in its reference: their difference would be noise times beta."
        yield ConfigError("adapter.dropout", message, "Set adapter.dropout = 0.")
    if config.data.crop == "detail":
        message = "both pictures of a pair are cut at the same place, and each has its most detail elsewhere."
        yield ConfigError("data.crop", message, "Use centre or random.")
    if objective.reference == "frozen" and not config.adapter.resume_from:
        message = "a new adapter does nothing yet: frozen, it is the same as the base."
        yield ConfigError("objective.reference", message, "Use auto, or set adapter.resume_from.")
    if objective.sft_lora and config.adapter.resume_from:
        message = "a LoRA is either merged into the base or gone on from."
        yield ConfigError("objective.sft_lora", message, "Leave this or adapter.resume_from empty.")
    if objective.sft_lora and config.memory.quantize != "none":
        message = "a LoRA is merged into weights in full precision; those in 8 bits would lose it."
        yield ConfigError("objective.sft_lora", message, "Set memory.quantize = none, or use adapter.resume_from.")


def _at(values: dict[str, Any], path: str) -> Any:
    section, name = path.split(".")
    return values[section][name]


def _written(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "empty" if default == "" else f"{default:g}" if isinstance(default, float) else str(default)
