"""The captioners as cards of the page."""

from __future__ import annotations

from typing import Any

from captioners.catalog import CAPTIONERS, CaptionerSpec
from captioners.packages import FILES
from captioners.preflight import missing_package
from captioners.weights import is_here
from trainers.machine import Machine

TIGHT = 0.9  # share of the memory from which it is tight
HUB = "https://huggingface.co"

Record = dict[str, Any]


def cards(machine: Machine) -> list[Record]:
    """One record for each captioner, in the order of the catalog."""
    return [_card(name, spec, machine) for name, spec in CAPTIONERS.items()]


def _card(name: str, spec: CaptionerSpec, machine: Machine) -> Record:
    bytes_each = 4.0 if machine.device == "cpu" else 2.0
    memory, small = spec.memory_gib(bytes_each=bytes_each), spec.memory_gib("nf4", bytes_each)
    return {
        "name": name,
        "title": spec.title,
        "kind": spec.kind,
        "source": spec.source,
        "licence": spec.licence,
        "writes": spec.writes,
        "note": spec.note,
        "params": spec.params,
        "download_gib": spec.download_gib,
        "memory_gib": memory,
        "memory_nf4_gib": small if spec.quantizable else 0.0,
        "here": is_here(name),
        "built_in": spec.built_in,
        "fits": _fits(memory, small if spec.quantizable else memory, machine),
        "needs": f"pip install -r {FILES[package]}" if (package := missing_package(spec)) else "",
        "gated": spec.gated,
        "page": f"{HUB}/{spec.source}" if spec.source and not spec.built_in else "",
    }


def _fits(memory: float, small: float, machine: Machine) -> str:
    """yes, tight (also: only in 4 bits), no; empty where nothing is loaded here."""
    if not memory:
        return ""
    if memory <= TIGHT * machine.memory_gib:
        return "yes"
    return "tight" if min(memory, small) <= machine.memory_gib else "no"
