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
    family, title = _model(groups, header)
    return LoraFacts(
        family=family,
        title=title or (catalog.FAMILIES[family].title if family else ""),
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


# ------------------------------------------------------------------ which model

_UNET = r"(down|up)_blocks_\d|mid_block_|(in|out)put_blocks_\d|middle_block_"
_CROSS_WIDTHS = {768: ("sd15", ""), 2048: ("sdxl", ""), 1024: ("", "Stable Diffusion 2")}
_VERSIONS = {
    "sdxl": ("sdxl", ""),
    "sd_v1": ("sd15", ""),
    "sd_v2": ("", "Stable Diffusion 2"),
    "sd3": ("sd3", ""),
    "flux1": ("flux", ""),
}
_WIDTHS = {1536: "sd3", 2432: "sd3", 3072: "flux"}
# names of layers -> model that cannot be trained here; a dot may have become an underscore
_FOREIGN = {
    r"transformer_blocks[._]\d+[._](img|txt)_mlp": "Qwen-Image",
    r"(\.|^|lora_unet_)blocks[._]\d+[._](self_attn|cross_attn|attn[12][._]to)": "Wan",
    r"(\.|^|lora_unet_)layers[._]\d+[._](attention|attn|feed_forward)": "Lumina 2 or Z-Image",
    r"to_qkv_mlp_proj": "FLUX.2",
}


def _model(groups: Groups, header: Header) -> tuple[str, str]:
    """(family, title of a model that is not in the catalog)."""
    said = header.metadata.get("atelier.family", "")
    if said in catalog.FAMILIES:
        return said, ""
    flat = {stem.replace(".", "_"): parts for stem, parts in groups.items()}
    denoiser = {stem: parts for stem, parts in flat.items() if not re.match(r"lora_te|text_encoder", stem)}
    if any(re.search(_UNET, stem) for stem in denoiser):
        return _unet_model(flat, header)
    for pattern, title in _FOREIGN.items():
        if any(re.search(pattern, stem) for stem in groups):
            return "", title
    if any("joint_blocks_" in stem for stem in denoiser):
        return "sd3", ""
    if any(re.search(r"single_transformer_blocks_|double_blocks_|single_blocks_", stem) for stem in denoiser):
        return "flux", ""
    widths = {_width(parts, header) for stem, parts in denoiser.items() if re.search(r"attn_(to|add)_[qkv]", stem)}
    families = {_WIDTHS[width] for width in widths if width in _WIDTHS}
    return (families.pop(), "") if len(families) == 1 else _said(header)


def _unet_model(stems: Groups, header: Header) -> tuple[str, str]:
    widths = {_width(parts, header) for stem, parts in stems.items() if re.search(r"attn2_to_[kv]$", stem)}
    for width in widths & _CROSS_WIDTHS.keys():
        return _CROSS_WIDTHS[width]
    # the older models have one text encoder, and one block in each of their transformers
    if any(re.search(r"^lora_te2_|^text_encoder_2|_transformer_blocks_[1-9]", stem) for stem in stems):
        return "sdxl", ""
    return _said(header)


def _said(header: Header) -> tuple[str, str]:
    """What sd-scripts and its kin write; the last thing to believe, as converters keep it."""
    version = header.metadata.get("ss_base_model_version", "")
    return next((known for begin, known in _VERSIONS.items() if version.startswith(begin)), ("", ""))


def _width(parts: dict[Part, str], header: Header) -> int:
    """Of what goes into a layer; 0 where only its second half is there."""
    return header.shape(parts["down"])[1] if "down" in parts else 0
