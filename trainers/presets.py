"""Presets: partial configurations with a title and a sentence about themselves."""

from __future__ import annotations

import logging
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers import paths, resolve
from trainers.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PresetInfo:
    """values: nested, only what the preset sets; goal: what it teaches, a key of `app.ui.forms.GOALS`, or empty."""

    name: str
    title: str
    summary: str
    values: dict[str, Any]
    goal: str = ""


def presets(own: Path) -> list[PresetInfo]:
    """Built-in presets, then those of the folder `own`, which replace built-in ones of the same name."""
    found: dict[str, PresetInfo] = {}
    for folder in (paths.PRESETS, own):
        for file in sorted(folder.glob("*.toml")):
            try:
                found[file.stem] = _read(file)
            except (ConfigError, OSError, UnicodeDecodeError) as error:
                log.warning("the preset %s is left out: %s", file, error)
    return list(found.values())


def _read(file: Path) -> PresetInfo:
    text = file.read_text(encoding="utf-8-sig")
    values = {key: value for key, value in resolve.parse_toml(text).items() if key not in resolve.PRESET_ONLY}
    values.pop("schema_version", None)
    about = tomllib.loads(text)
    said = {key: str(about.get(key, "")) for key in resolve.PRESET_ONLY}
    return PresetInfo(file.stem, said["title"] or file.stem, said["summary"], values, said["goal"])
