"""Configs to check, and what the report says of them. Used by the tests of preflight."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.ui.texts import texts
from tests.machines import CARD_24, resolved
from trainers import preflight
from trainers.config import TrainConfig
from trainers.machine import Machine
from trainers.preflight import Finding


def lay_out(place: Path) -> Path:
    """Four captioned pictures, and a base model that has all its parts."""
    for index in range(4):
        add_picture(place / f"pictures/{index}.png", "a red wuzzle")
    index = {"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"], "image_encoder": [None, None]}
    (place / "model/vae").mkdir(parents=True)
    (place / "model/model_index.json").write_text(json.dumps(index))
    return place


def add_picture(path: Path, caption: str | None = None, size: tuple[int, int] = (64, 64)) -> None:
    """A picture like no other, but for one of the same name and size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(path.name.encode())).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")


def config_of(place: Path, values: dict[str, dict[str, Any]] | None = None) -> TrainConfig:
    """A config that passes, with some values changed."""
    sections: dict[str, dict[str, Any]] = {
        "run": {"name": "test"},
        "model": {"base": str(place / "model")},
        "data": {"folder": str(place / "pictures"), "resolution": 64},
        "schedule": {"max_steps": 10},
        "memory": {"quantize": "fp8"},
    }
    for section, part in (values or {}).items():
        sections[section] = {**sections.get(section, {}), **part}
    return resolved(sections, CARD_24)


def check(place: Path, values: dict[str, dict[str, Any]] | None = None, machine: Machine = CARD_24) -> preflight.Report:
    return preflight.check(config_of(place, values), machine)


def mended(
    place: Path, finding: Finding, values: dict[str, dict[str, Any]] | None = None, machine: Machine = CARD_24
) -> preflight.Report:
    """The report after the button of a finding was pressed."""
    assert finding.fix and finding.fix.kind == "set"
    sections = dict(values or {})
    for path, value in finding.fix.values.items():
        section, name = path.split(".")
        sections[section] = {**sections.get(section, {}), name: value}
    report = check(place, sections, machine)
    assert finding.code not in {other.code for other in report.findings}
    return report


def codes(report: preflight.Report) -> list[str]:
    return [finding.code for finding in report.findings]


def found(report: preflight.Report, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    assert texts("zh").finding(finding) != (finding.message, finding.hint), "its values fill the translation"
    return finding
