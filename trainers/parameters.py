"""The parameters of a configuration as a flat table: what forms, docs and searches need to know of each.

Without an argument all functions speak of `TrainConfig`.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from trainers.config import DataSet, Level, Section, TrainConfig

Kind = Literal["int", "float", "bool", "choice", "text", "lines", "numbers"]


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    path: dotted, as in `adapter.rank`; aka: its names in other trainers; auto: the word "auto" is allowed;
    minimum and maximum are allowed values, above and below are not.
    """

    path: str
    label: str
    help: str
    level: Level
    unit: str
    aka: str
    kind: Kind
    default: Any
    choices: tuple[str, ...] = ()
    auto: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    @property
    def section(self) -> str:
        return self.path.split(".")[0]

    @property
    def name(self) -> str:
        return self.path.split(".")[1]

    @property
    def bounds(self) -> str:
        """As in "1 to 1024", "0 or more", "above 0, at most 10"; empty when anything goes."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        ends = {
            "{:g} or more": self.minimum,
            "above {:g}": self.above,
            "at most {:g}": self.maximum,
            "below {:g}": self.below,
        }
        return ", ".join(words.format(limit) for words, limit in ends.items() if limit is not None)


@cache
def parameters(config: type[Section] = TrainConfig) -> tuple[Parameter, ...]:
    """All parameters in the order of their declaration."""
    return tuple(
        _parameter(f"{section}.{name}", info)
        for section, model in sections(config).items()
        for name, info in model.model_fields.items()
    )


@cache
def sections(config: type[Section] = TrainConfig) -> dict[str, type[Section]]:
    """Name of each section -> its class, whose docstring says in one line what it is about."""
    return {
        name: info.annotation
        for name, info in config.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
    }


@cache
def by_path(config: type[Section] = TrainConfig) -> dict[str, Parameter]:
    """Dotted path -> parameter."""
    return {parameter.path: parameter for parameter in parameters(config)}


def _parameter(path: str, info: FieldInfo) -> Parameter:
    extra = info.json_schema_extra
    if not (isinstance(extra, dict) and info.title and info.description):
        raise TypeError(f"declare {path} with trainers.config.section.param, with a label and a help text")
    kind, choices, auto, limits = _shape(info.annotation, list(info.metadata))
    return Parameter(
        path=path,
        label=info.title,
        help=info.description,
        level=extra["level"],  # type: ignore[arg-type]
        unit=str(extra["unit"]),
        aka=str(extra["aka"]),
        kind=kind,
        default=info.default,
        choices=choices,
        auto=auto or info.default == "auto",
        **limits,
    )


def _shape(annotation: Any, metadata: list[Any]) -> tuple[Kind, tuple[str, ...], bool, dict[str, float]]:
    """(kind, choices, "auto" allowed, limits) of a field's type."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _shape(inner, [*metadata, *more])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [part for part in get_args(annotation) if part != Literal["auto"]]
        kind, choices, _, limits = _shape(members[0], metadata)
        return kind, choices, True, limits
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation), "auto" in get_args(annotation), {}
    if get_origin(annotation) is tuple:
        inner = _shape(get_args(annotation)[0], [])
        return ("numbers" if inner[0] == "int" else "lines"), (), False, inner[3]
    kinds: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "text", DataSet: "lines"}
    return kinds[annotation], (), False, _limits(metadata)


def _limits(metadata: list[Any]) -> dict[str, float]:
    names = {Ge: ("minimum", "ge"), Le: ("maximum", "le"), Gt: ("above", "gt"), Lt: ("below", "lt")}
    flat = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
    return {names[type(part)][0]: getattr(part, names[type(part)][1]) for part in flat if type(part) in names}
