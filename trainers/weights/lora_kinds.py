"""Adapter files by their names: for which family one is, whatever program wrote it."""

from __future__ import annotations

import re
from typing import NamedTuple

from trainers.weights.header import Header

ADAPTER = re.compile(
    r"\.lora_(down|up|A|B)\b|\.lora\.(down|up)\.|\.hada_w[12]|\.lokr_w[12]|\.oft_(diag|blocks)|\.dora_scale$"
)
# (a pattern that only their names have, family, name), the first that fits counts
BY_NAME = (
    (r"distilled_guidance_layer", "", "Chroma"),
    (r"double_stream_modulation|single_stream_modulation|to_qkv_mlp_proj", "", "FLUX.2"),
    (r"cross_attn[._]|img_emb", "", "Wan"),
    (r"img_mod|txt_mlp\.net", "", "Qwen-Image"),
    (r"double_blocks|single_blocks|single_transformer_blocks", "flux", "FLUX.1"),
    (r"joint_blocks", "sd3", "Stable Diffusion 3"),
    (r"(^|_)transformer[._]transformer_blocks[._]\d+[._]attn", "sd3", "Stable Diffusion 3"),
    (r"^lora_te2|^text_encoder_2\.|add_embedding|label_emb", "sdxl", "SDXL"),
)
BY_WORDS = {768: ("sd15", "Stable Diffusion 1.5"), 1024: ("", "Stable Diffusion 2"), 2048: ("sdxl", "SDXL")}
# how ss_base_model_version of kohya's metadata begins
SAID = (
    ("flux", "flux", "FLUX.1"),
    ("sdxl", "sdxl", "SDXL"),
    ("sd3", "sd3", "Stable Diffusion 3"),
    ("sd_v1", "sd15", "Stable Diffusion 1.5"),
)


class LoraKind(NamedTuple):
    """family: of the catalog, empty where it cannot be trained; name: as people call the base."""

    family: str
    name: str


def lora_of(header: Header) -> LoraKind | None:
    """For what a file of adapter weights is made; None for a file that is none."""
    names = [name for name in header.tensors if ADAPTER.search(name)]
    if not names:
        return None
    for pattern, family, name in BY_NAME:
        if any(re.search(pattern, one) for one in names):
            return LoraKind(family, name)
    for one in names:  # a UNet: what its attention to the caption takes in
        shape = header.tensors[one].shape
        if re.search(r"attn2[._]to_[kv]\.(lora_(down|A)|lora\.down)", one) and len(shape) > 1 and shape[1] in BY_WORDS:
            return LoraKind(*BY_WORDS[shape[1]])
    said = header.metadata.get("ss_base_model_version", "")
    for start, family, name in SAID:
        if said.startswith(start):
            return LoraKind(family, name)
    return LoraKind("", "an unknown model")
