"""The table of families and models for a terminal of 120 columns."""

from __future__ import annotations

from collections.abc import Iterator

from trainers import catalog, plan, resolve
from trainers.catalog import FamilySpec, ModelSpec
from trainers.machine import Machine

PICTURES = 20  # that forecasts are made for; memory does not depend on them
COLUMNS = "  {:12} {:47} {:25} {:>9} {:>5} {:>5} {:>5}"


def families(machine: Machine) -> Iterator[str]:
    """Lines: of each family what it takes and gives, and its models with the memory that they need here."""
    for name, family in catalog.FAMILIES.items():
        yield f"{name}: {family.title}, ready"
        yield from _facts(family)
        yield COLUMNS.format("model", "from", "licence", "download", "side", "GB", "fp8")
        for key, model in catalog.MODELS.items():
            if model.family == name:
                yield _row(key, model, machine)
        yield ""
    yield "* Accept the licence on the model's page at Hugging Face once, and sign in with `hf auth login`."
    yield f"side: pixels of a square picture. GB, fp8: peak of memory on {machine.device} at default settings, and with"
    yield "memory.quantize = fp8. Other sizes, batches and adapters: `python launch.py check PRESET section.key=value`."


def _facts(family: FamilySpec) -> Iterator[str]:
    targets = (f"{name} (default)" if name == family.default_targets else name for name in family.targets)
    yield f"  {'base':12} a model below, a checkpoint file, a diffusers folder, or a hub id"
    for number, layout in enumerate(family.layouts):
        default = "" if number else " (default)"
        yield f"  {'' if number else 'LoRA file':12} {layout}{default}: loads in {family.loads_in[layout]}"
    yield f"  {'targets':12} {', '.join(targets)}"
    yield f"  {'objectives':12} {', '.join(family.objectives)}"


def _row(key: str, model: ModelSpec, machine: Machine) -> str:
    download = "built in" if model.built_in else f"{model.download_gib:.1f} GB{'*' * model.gated}"
    memory = (f"{_memory_gib(key, quantize, machine):.1f}" for quantize in ("none", "fp8"))
    return COLUMNS.format(key, model.source, model.licence, download, model.native_resolution, *memory)


def _memory_gib(base: str, quantize: str, machine: Machine) -> float:
    config = resolve.validate({"model": {"base": base}, "memory": {"quantize": quantize}})
    return plan.forecast(resolve.resolve(config, machine), machine, PICTURES).memory_gib
