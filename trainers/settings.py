"""From values that people write to a configuration: key=value wishes, TOML, and what is wrong with them.

Every function takes the class of the configuration, whose declarations say which settings there are.
"""

from __future__ import annotations

import difflib
import itertools
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError

from trainers.config import DataSet
from trainers.config.section import Section
from trainers.errors import ConfigError, ConfigErrors
from trainers.parameters import Parameter, by_path, sections

ITEM_HINT = f"A data set has {', '.join(DataSet.model_fields)}."
MAX_STEM = 40  # letters of a name that is made up

C = TypeVar("C", bound=Section)


def read_toml(text: str) -> dict[str, Any]:
    """The values of a TOML text. Raises ConfigError with the line when it is broken."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # Windows editors put a byte order mark in front
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("toml", f"this is not valid TOML: {error}.") from error


def override(values: dict[str, Any], wishes: list[str], config: type[Section]) -> dict[str, Any]:
    """Apply `section.key=value` wishes; values are written as in TOML, and text needs no quotes."""
    merged = {key: dict(part) if isinstance(part, dict) else part for key, part in values.items()}
    for wish in wishes:
        path, equals, text = wish.partition("=")
        path = path.strip()
        if not equals or path.count(".") != 1:
            example = f"For example: {next(iter(by_path(config)))}=..."
            raise ConfigError(wish, "this is not of the form section.key=value.", example)
        if path not in by_path(config):
            raise unknown_key(path, config)
        section, key = path.split(".")
        part = merged.setdefault(section, {})
        if isinstance(part, dict):  # `validate` tells of a section that is none
            part[key] = _parse(by_path(config)[path], text.strip())
    return merged


def _parse(parameter: Parameter, text: str) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if parameter.kind == "text":
        return value if isinstance(value, str) else text  # a folder named 2024 stays text; quotes are taken off
    if parameter.kind == "lines" and isinstance(value, str):
        return [value] if value else []
    return value


def unknown_key(path: str, config: type[Section]) -> ConfigError:
    """The error for a key that does not exist, with the one that was probably meant."""
    if "." not in path:
        near = difflib.get_close_matches(path, sections(config), 1, cutoff=0.5)
    else:
        key = path.split(".")[1]
        # people write the names that they know from other trainers
        near = [known.path for known in by_path(config).values() if key in known.aka.split()]
        near = near or difflib.get_close_matches(path, by_path(config), 1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else f"Sections: {', '.join(sections(config))}."
    return ConfigError(path, "there is no such setting.", hint)


def validate(values: dict[str, Any], config: type[C]) -> C:
    """The config of these values. Raises ConfigErrors with a dotted path and a remedy for each fault."""
    try:
        return config.model_validate(values)
    except ValidationError as error:
        faults: dict[str, ConfigError] = {}
        for detail in error.errors():
            fault = _as_config_error(detail, config)
            faults.setdefault(fault.field, fault)
        raise ConfigErrors(list(faults.values())) from error


def _as_config_error(detail: Any, config: type[Section]) -> ConfigError:
    path, inner = ".".join(str(part) for part in detail["loc"][:2]), detail["loc"][2:]
    if inner and path in by_path(config) and isinstance(inner[0], int) and len(inner) > 1:
        return _fault_in_item(path, inner, detail)
    if detail["type"] == "extra_forbidden":
        return unknown_key(path, config)
    parameter = by_path(config).get(path)
    if path in sections(config):
        return ConfigError(path, "this is a section, not a value.", f"Write [{path}], and its settings below.")
    if parameter is None:
        return ConfigError(path, f"{detail['msg']}.")
    if detail["type"] == "value_error":
        return ConfigError(path, str(detail["ctx"]["error"]) + ".")
    expected = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "choice": "one of " + ", ".join(parameter.choices),
        "text": "text",
        "lines": "a list of texts",
        "numbers": "whole numbers, as in 512, 768",
    }[parameter.kind]
    limits = f" ({parameter.bounds})" if parameter.bounds else ""
    auto = ', or "auto"' if parameter.auto and parameter.kind != "choice" else ""
    return ConfigError(path, f"{reprlib.repr(detail['input'])} cannot be used.", f"Give {expected}{limits}{auto}.")


def _fault_in_item(path: str, inner: tuple[Any, ...], detail: Any) -> ConfigError:
    """A fault in one of several things, such as a key of a data set."""
    number, key = inner[0] + 1, inner[1]
    if detail["type"] == "extra_forbidden":
        return ConfigError(path, f"number {number} has a setting {key!r}, which does not exist.", ITEM_HINT)
    return ConfigError(path, f"number {number}: {key} = {reprlib.repr(detail['input'])} cannot be used.", ITEM_HINT)


def dump(config: Section) -> str:
    """The config as TOML, every value written out."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))  # TOML has no null


def free_name(subject: str, output_dir: Path) -> str:
    """The subject as a name of a folder, with a number if there is one of that name."""
    stem = re.sub(r"[^\w+-]+", "-", subject)[:MAX_STEM].strip("-") or "run"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not (output_dir / name).exists())
