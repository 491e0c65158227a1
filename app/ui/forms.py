"""Between what controls hold and the values of a configuration: plain functions, no Gradio."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from app.ui.texts import Texts
from trainers import catalog
from trainers.catalog import FamilySpec
from trainers.config import DataSet, sides
from trainers.errors import ConfigError
from trainers.parameters import Parameter, by_path, parameters

Values = dict[str, Any]  # {"section": {"key": value}}

# What a goal asks of training. A look should also come without its words and lives in fine detail (little noise);
# an idea of how things are arranged is learned from strong noise, where only the layout is left.
GOALS: dict[str, dict[str, float]] = {
    "object": {"captions.dropout": 0.0, "noise.logit_mean": 0.0},
    "character": {"captions.dropout": 0.05, "noise.logit_mean": 0.0},
    "style": {"captions.dropout": 0.1, "noise.logit_mean": -0.5},
    "concept": {"captions.dropout": 0.0, "noise.logit_mean": 0.5},
}
GOAL_PATHS = tuple(GOALS["object"])

# Deviation of logit(u) for even draws u: pi / sqrt(3). Families that draw noise levels evenly lean from there.
EVEN_SPREAD = 1.8
GOAL_MOVES = (*GOAL_PATHS, "noise.timestep_sampling", "noise.logit_std")

# How much longer or shorter than the preset a run is.
QUALITIES = {"quick": 0.5, "balanced": 1.0, "thorough": 2.0}

# What a person brings; it stays when another preset is chosen.
OWN_PATHS = (
    *("run.name", "data.folder", "data.sets", "captions.trigger", "sample.prompts"),
    *("objective.kind", "objective.pairs"),
)


def parse(parameter: Parameter, raw: Any) -> Any:
    """The value that a control's content means; an empty one is the default.

    What is no number stays as it was typed: the check of the whole names it.
    """
    if parameter.kind == "lines":
        return [line.strip() for line in str(raw or "").splitlines() if line.strip()]
    if parameter.kind == "bool":
        return bool(raw)
    text = str(raw if raw is not None else "").strip()
    if parameter.kind == "numbers":
        parts = sides(str(raw or ""))
        return [int(part) for part in parts] if all(part.isdecimal() for part in parts) else str(raw)
    if parameter.kind in ("text", "choice"):
        return text or parameter.default
    if not text:
        return parameter.default
    return _number(parameter, text)


def _number(parameter: Parameter, text: str) -> int | float | str:
    try:
        number = float(text.replace(" ", ""))
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if parameter.kind == "int" and number.is_integer() else number


def show(parameter: Parameter, value: Any) -> Any:
    """What the control holds for a value: a bool for a check box, else text. parse(show(value)) is the value."""
    if parameter.kind == "bool":
        return bool(value)
    if parameter.kind == "lines":
        return "\n".join(line_of(one) for one in value)
    if parameter.kind == "numbers":
        return value if isinstance(value, str) else ", ".join(map(str, value))
    if isinstance(value, float):
        return number_text(value)
    return str(value)


def line_of(value: Any) -> str:
    """A text as it is; a data set as the line that gives it."""
    if isinstance(value, Mapping):
        value = DataSet.model_validate(value)
    return value.line() if isinstance(value, DataSet) else str(value)


def number_text(value: float) -> str:
    """As people write it: 0.01, 2e-3 as 0.002, 1e-4, 1e-8."""
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def get(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or the parameter's default."""
    section, name = path.split(".")
    part = values.get(section)
    if isinstance(part, Mapping) and name in part:
        return part[name]
    default = by_path()[path].default
    return list(default) if isinstance(default, tuple) else default


def put(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Values:
    """A copy with the values at some dotted paths replaced."""
    copy: Values = {key: dict(part) if isinstance(part, Mapping) else part for key, part in values.items()}
    for path, value in changes.items():
        section, name = path.split(".")
        copy.setdefault(section, {})[name] = value
    return copy


def collect(raws: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> Values:
    """Nested values from controls: dotted path -> content; other paths stay as in `values`."""
    return put(values or {}, {path: parse(by_path()[path], raw) for path, raw in raws.items()})


def complete(values: Mapping[str, Any]) -> Values:
    """Every parameter written out, defaults where nothing was said. Drops keys that are no parameters."""
    return put({}, {parameter.path: get(values, parameter.path) for parameter in parameters()})


def modified(values: Mapping[str, Any], preset: Mapping[str, Any]) -> list[str]:
    """Paths whose value is another one than in the preset, in the order of the form."""
    return [p.path for p in parameters() if not _same(get(values, p.path), get(preset, p.path))]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return [line_of(part) for part in one] == [line_of(part) for part in other]
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def search(query: str, texts: Texts) -> list[str]:
    """Paths of the parameters that have every word of the query in their label, path, help or other names."""
    words = query.lower().replace("-", " ").replace("_", " ").split()
    return [p.path for p in parameters() if all(word in _haystack(p, texts) for word in words)]


def _haystack(parameter: Parameter, texts: Texts) -> str:
    english = (parameter.path, parameter.label, parameter.help, parameter.aka)
    words = " ".join((*english, texts.label(parameter), texts.help(parameter)))
    return words.lower().replace("-", " ").replace("_", " ")


def for_goal(goal: str, family: FamilySpec | None) -> dict[str, float | str]:
    """What a goal sets, by dotted path. Raises KeyError for an unknown goal."""
    wanted = GOALS[goal]
    if family is None or family.timestep_sampling != "uniform":
        return {**wanted}
    leans = wanted["noise.logit_mean"] != 0
    spread = EVEN_SPREAD if leans else by_path()["noise.logit_std"].default
    return {**wanted, "noise.timestep_sampling": "logit_normal" if leans else "auto", "noise.logit_std": spread}


def family(values: Mapping[str, Any]) -> FamilySpec | None:
    """The family of these values; None while it cannot be told."""
    name = get(values, "model.family")
    try:
        return catalog.FAMILIES.get(catalog.family_of(str(get(values, "model.base"))) if name == "auto" else str(name))
    except ConfigError:
        return None


def goal_of(values: Mapping[str, Any]) -> str | None:
    """The goal that these values follow; None for a mixture of one's own."""
    for goal, wanted in GOALS.items():
        if all(get(values, path) == value for path, value in wanted.items()):
            return goal
    return None


def quality_steps(preset: Mapping[str, Any], quality: str) -> int:
    """Steps that a quality stands for. Raises KeyError for an unknown one."""
    return max(1, round(float(get(preset, "schedule.max_steps")) * QUALITIES[quality]))


def quality_of(values: Mapping[str, Any], preset: Mapping[str, Any]) -> str | None:
    """The quality whose number of steps these values have; None for another number."""
    steps = get(values, "schedule.max_steps")
    return next((quality for quality in QUALITIES if quality_steps(preset, quality) == steps), None)


def with_preset(values: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> Values:
    """A new preset's values with what the person brought: what differs from the old preset, or the new one lacks."""
    mine = {
        path: get(values, path)
        for path in OWN_PATHS
        if not _same(get(values, path), get(old, path)) or not get(new, path)
    }
    return put(complete(new), mine)


def for_other_goal(values: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> Values:
    """The values of a preset for another goal of the same model, with what the person changed of all but the goal."""
    mine = {path: get(values, path) for path in modified(values, old) if path not in GOAL_MOVES}
    if quality := quality_of(values, old):
        mine["schedule.max_steps"] = quality_steps(new, quality)
    return put(with_preset(values, old, new), mine)


def command_line(preset: str, values: Mapping[str, Any], paths: Iterable[str]) -> str:
    """The command that starts the same run, for a shell; `paths` are those that the preset does not have so."""
    wishes = [f"{path}={_wish(by_path()[path], get(values, path))}" for path in paths]
    return " ".join(["python", "launch.py", "train", *(shlex.quote(part) for part in [preset, *wishes])])


def _wish(parameter: Parameter, value: Any) -> str:
    if parameter.kind == "lines":
        return json.dumps(
            [line_of(one) for one in value], ensure_ascii=False
        )  # an array of strings is written alike in TOML
    if parameter.kind == "bool":
        return "true" if value else "false"
    return str(show(parameter, value))
