"""Adapter files by the names and sizes of their tensors: for which model one is, whatever program wrote it."""

from __future__ import annotations

import re
from typing import NamedTuple

from trainers.weights.header import Header

ADAPTER = re.compile(
    r"[._]lora([._](down|up|A|B|linear_layer|magnitude_vector)\b|_linear_layer\b)"
    r"|\.hada_w[12]|\.lokr_w[12]|\.oft_(diag|blocks)|\.dora_scale$"
)
DOWN = re.compile(r"[._]lora([._](down|A)|_linear_layer\.down)\b")
TEXT = re.compile(r"lora_te|text_encoder")
UNET = re.compile(r"(down|up)_blocks_\d|mid_block_|(in|out)put_blocks_\d|middle_block_")
NAMES = {"sd15": "Stable Diffusion 1.5", "sdxl": "SDXL", "sd3": "Stable Diffusion 3", "flux": "FLUX.1"}
SD2 = "Stable Diffusion 2"
# names of layers of models that cannot be trained here; a dot may have become an underscore
FOREIGN = (
    (r"distilled_guidance_layer", "Chroma"),
    (r"double_stream_modulation|single_stream_modulation|to_qkv_mlp_proj", "FLUX.2"),
    (r"transformer_blocks[._]\d+[._](img|txt)_(mlp|mod)", "Qwen-Image"),
    (r"(^|\.|lora_unet_)blocks[._]\d+[._](self_attn|cross_attn|attn[12][._]to)|img_emb", "Wan"),
    (r"(^|\.|lora_unet_)layers[._]\d+[._](attention|attn|feed_forward)", "Lumina 2 or Z-Image"),
)
BY_WORDS = {768: "sd15", 2048: "sdxl", 1024: ""}  # width of what a UNet's attention to the caption takes in
BY_WIDTH = {1536: "sd3", 2432: "sd3", 3072: "flux"}  # of transformers whose layers have the same names
# how ss_base_model_version of kohya's metadata begins
SAID = (("flux", "flux"), ("sdxl", "sdxl"), ("sd3", "sd3"), ("sd_v1", "sd15"))


class LoraKind(NamedTuple):
    """family: of the catalog, empty where it cannot be trained or is not known; name: as people call the base, empty
    where it is not known."""

    family: str
    name: str


def lora_of(header: Header) -> LoraKind | None:
    """For what a file of adapter weights is made; None for a file that is none."""
    stems, widths = set[str](), dict[str, int]()  # layer -> width of what goes in, 0 where its first half is not there
    for key in header.tensors:
        if match := ADAPTER.search(key):
            stems.add(key[: match.start()])
            stem = key[: match.start()].replace(".", "_")
            width = header.shape(key)[1] if DOWN.search(key) and len(header.shape(key)) > 1 else 0
            widths[stem] = widths.get(stem, 0) or width
    if not widths:
        return None
    if (own := header.metadata.get("atelier.family", "")) in NAMES:
        return LoraKind(own, NAMES[own])
    denoiser = {stem: width for stem, width in widths.items() if not TEXT.match(stem)}
    if not denoiser or any(UNET.search(stem) for stem in denoiser):
        return _of_unet(widths, header)
    for pattern, name in FOREIGN:
        if any(re.search(pattern, stem) for stem in stems if not TEXT.match(stem)):
            return LoraKind("", name)
    if any("joint_blocks_" in stem for stem in denoiser):
        return _known("sd3")
    if any(re.search(r"single_transformer_blocks_|double_blocks_|single_blocks_", stem) for stem in denoiser):
        return _known("flux")
    found = {BY_WIDTH[width] for stem, width in denoiser.items() if "attn_" in stem and width in BY_WIDTH}
    return _known(found.pop()) if len(found) == 1 else _said(header)


def _of_unet(widths: dict[str, int], header: Header) -> LoraKind:
    words = {width for stem, width in widths.items() if re.search(r"attn2_to_[kv]$", stem)}
    for width in words & BY_WORDS.keys():
        return _known(BY_WORDS[width]) if BY_WORDS[width] else LoraKind("", SD2)
    # the older models have one text encoder, and one block in each of their transformers
    if any(re.search(r"^lora_te2_|^text_encoder_2|_transformer_blocks_[1-9]|label_emb", stem) for stem in widths):
        return _known("sdxl")
    return _said(header)


def _said(header: Header) -> LoraKind:
    """What sd-scripts and its kin write; the last thing to believe, as converters keep it."""
    version = header.metadata.get("ss_base_model_version", "")
    if version.startswith("sd_v2"):
        return LoraKind("", SD2)
    family = next((family for start, family in SAID if version.startswith(start)), "")
    return _known(family) if family else LoraKind("", "")


def _known(family: str) -> LoraKind:
    return LoraKind(family, NAMES[family])
