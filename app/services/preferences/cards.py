"""The scorers as cards of the page."""

from __future__ import annotations

from typing import Any

from trainers.machine import Machine
from trainers.preferences.catalog import SCORERS, ScorerSpec
from trainers.preferences.scorers import is_here, missing_package

TIGHT = 0.9  # share of the memory from which it is tight
HUB = "https://huggingface.co"

Record = dict[str, Any]


def cards(machine: Machine) -> list[Record]:
    """[{name, title, judges, note, licence, download_gib, memory_gib, here, built_in, fits: yes | tight | no | "",
    needs: the install line of what is missing, page: where the weights come from}], in the order of the catalog."""
    return [_card(name, spec, machine) for name, spec in SCORERS.items()]


def _card(name: str, spec: ScorerSpec, machine: Machine) -> Record:
    memory = spec.memory_gib(4.0 if machine.device == "cpu" else 2.0)
    first = next(iter(spec.parts.values()), None)
    return {
        "name": name,
        "title": spec.title,
        "judges": spec.judges,
        "note": spec.note,
        "licence": spec.licence,
        "download_gib": spec.download_gib,
        "memory_gib": memory,
        "here": is_here(name),
        "built_in": spec.built_in,
        "fits": _fits(memory, spec, machine),
        "needs": missing_package(name),
        "page": f"{HUB}/{first.source}" if first else "",
    }


def _fits(memory: float, spec: ScorerSpec, machine: Machine) -> str:
    if not memory:
        return ""
    if memory > machine.memory_gib or (spec.needs_card and machine.device == "cpu"):
        return "no"
    return "yes" if memory <= TIGHT * machine.memory_gib else "tight"
