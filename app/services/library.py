"""What a run can start from: base models as cards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.services import format
from trainers import catalog, plan, resolve
from trainers.config import Model, TrainConfig
from trainers.machine import Machine
from trainers.weights import hub

Fit = Literal["yes", "tight", "no"]
TIGHT = 0.9  # share of the memory from which on little is left for other programs


@dataclass(frozen=True)
class ModelCard:
    """A base model as a card.

    size: of the download; fit: "yes" as it is, "tight" in 8 bits only or with little left, "no" not even so.
    """

    name: str
    title: str
    note: str
    licence: str
    size: str
    on_disk: bool
    gated: bool
    fit: Fit


def models(machine: Machine) -> list[ModelCard]:
    return [_card(name, model, machine) for name, model in catalog.MODELS.items()]


def _card(name: str, model: catalog.ModelSpec, machine: Machine) -> ModelCard:
    return ModelCard(
        name=name,
        title=model.title,
        note=model.note,
        licence=model.licence,
        size="built in" if model.built_in else format.gib(model.download_gib),
        on_disk=_on_disk(name, model.family),
        gated=model.gated,
        fit=_fit(name, machine),
    )


def _on_disk(name: str, family: str) -> bool:
    source = catalog.source_of(name)
    if Path(source).is_absolute():
        return (Path(source) / "model_index.json").is_file()
    return hub.is_on_disk(Model(base=name, family=family))


def _fit(name: str, machine: Machine) -> Fit:
    plain, packed = (_need_gib(name, machine, quantize) for quantize in ("none", "fp8"))
    if plain < TIGHT * machine.memory_gib:
        return "yes"
    return "tight" if min(plain, packed) < machine.memory_gib else "no"


def _need_gib(name: str, machine: Machine, quantize: str) -> float:
    wishes = {"model": {"base": name}, "memory": {"quantize": quantize}}
    config = resolve.resolve(resolve.with_changes(TrainConfig(), wishes), machine)
    return plan.forecast(config, machine, pictures=1).memory_gib
