"""What a LoRA file is, from its header alone: for the preflight, forms and the configuration. No torch."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainers import catalog
from trainers.lora.keys import LoraError, Part, group_keys
from trainers.lora.scales import Declared, declared_scales
from trainers.weights.header import Header, read_header, read_numbers
from trainers.weights.lora_kinds import LoraKind, lora_of

Groups = dict[str, dict[Part, str]]  # stem -> part -> key


@dataclass(frozen=True)
class LoraFacts:
    """family: of the catalog, or empty where neither names nor sizes tell; title: of the model, for people, may be of
    one that is not in the catalog; layout: that its names are of; rank, alpha: of most layers; text: it changes text
    encoders too; layers: how many, as the file counts them.
    """

    family: str
    title: str
    layout: catalog.Layout
    rank: int
    alpha: float
    kind: Literal["lora", "dora"]
    text: bool
    layers: int
    metadata: dict[str, str]


def facts_of(path: str | Path) -> LoraFacts:
    """Raises LoraError for what is no LoRA, and WeightsError for what is no whole file."""
    header = read_header(path)
    if header.format == "pickle":
        raise LoraError(
            f"{Path(path).name} is a pickle, which can run code when it is opened.", "Give a .safetensors file."
        )
    groups = group_keys(header.tensors)
    ranks = {stem: header.shape(parts["down"])[0] for stem, parts in groups.items() if "down" in parts}
    if not ranks:
        raise LoraError(
            "no layer has its first half (lora_down or lora_A).", "Save it again with the program that made it."
        )
    rank = _usual_rank(ranks, header.metadata)
    family, name = lora_of(header) or LoraKind("", "")
    return LoraFacts(
        family=family,
        title=catalog.FAMILIES[family].title if family else name,
        layout=_layout(groups),
        rank=rank,
        alpha=_usual_alpha(groups, ranks, rank, header),
        kind="dora" if any("magnitude" in parts for parts in groups.values()) else "lora",
        text=any(re.match(r"lora_te|text_encoder", stem) for stem in groups),
        layers=len(groups),
        metadata=header.metadata,
    )


def _usual_rank(ranks: dict[str, int], metadata: dict[str, str]) -> int:
    """Layers that hold q, k and v as one have three times the rank that was trained: the file says which it was."""
    usual = Counter(ranks.values())
    said = metadata.get("ss_network_dim", "")
    if said.isdecimal() and int(said) in usual:
        return int(said)
    return usual.most_common(1)[0][0]


def _usual_alpha(groups: Groups, ranks: dict[str, int], rank: int, header: Header) -> float:
    declared: Declared = declared_scales(header.metadata)
    alphas: Counter[float] = Counter()
    for stem, parts in groups.items():
        if ranks.get(stem) == rank:
            given = read_numbers(header, parts["alpha"])[0] if "alpha" in parts else None
            alphas[declared.scale(stem, rank) * rank if given is None else given] += 1
    return alphas.most_common(1)[0][0]


def _layout(groups: Groups) -> catalog.Layout:
    if any(re.match(r"lora_|lycoris_", stem) for stem in groups):
        return "kohya"
    if any(re.match(r"diffusion_model\.|model\.", stem) for stem in groups):
        return "comfyui"
    return "diffusers"
