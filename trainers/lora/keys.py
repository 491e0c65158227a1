"""The keys of LoRA files: which layer, and which part of its adapter. Needs no weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from trainers.errors import EXIT_USAGE, AtelierError

Part = Literal["down", "up", "alpha", "magnitude"]


class LoraError(AtelierError):
    """A LoRA file cannot be used, or not here."""

    exit_code = EXIT_USAGE


_PARTS: dict[str, Part] = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".alpha": "alpha",
    ".dora_scale": "magnitude",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector.default.weight": "magnitude",
}
_ENDING = re.compile("|".join(re.escape(ending) for ending in sorted(_PARTS, key=len, reverse=True)) + "$")

# part of a key -> what kind of adapter has it
_OTHERS = {
    r"\.lokr_": "LoKr",
    r"\.hada_": "LoHa",
    r"\.oft_(blocks|diag|R)|\.boft_": "OFT or BOFT",
    r"\.[ab][12]\.weight$": "GLoRA",
    r"\.on_input$|\.ia3_": "IA3",
    r"\.vera_": "VeRA",
    r"\.lora_mid\.": "LoCon in Tucker form",
    r"\.diff(_b)?$|\.[wb]_norm$": "set of full weight differences",
    r"\.lora_[AB](\.default)?\.bias$|\.lora_up\.bias$": "LoRA with biases",
    r"\.lora_embedding_": "LoRA on word embeddings",
    r"\.reshape_weight$": "LoRA for a model with more channels (a control LoRA)",
    r"^emb_params$|^string_to_param|^clip_[lg]$": "textual inversion",
}


def group_keys(keys: Iterable[str]) -> dict[str, dict[Part, str]]:
    """stem -> part -> the key that holds it. Stems of old diffusers files are brought to today's names.

    Raises LoraError for adapters of other kinds, by name, for keys that are not understood and for a part given twice.
    """
    keys = list(keys)
    _refuse_others(keys)
    grouped: dict[str, dict[Part, str]] = {}
    odd = []
    for key in keys:
        match = _ENDING.search(key)
        if not match:
            odd.append(key)
            continue
        parts, part = grouped.setdefault(_renewed(key[: match.start()]), {}), _PARTS[match[0]]
        if part in parts:
            raise LoraError(f"{parts[part]} and {key} are both the {part} of one layer.", "One of them must go.")
        parts[part] = key
    if not grouped:
        raise LoraError(f"this is no LoRA: none of its {len(keys)} tensors is part of one.", "Give a LoRA file.")
    if odd:
        raise LoraError(
            f"{len(odd)} of {len(keys)} tensors are no part of a LoRA, first {odd[0]}.", "Make the file anew."
        )
    return grouped


def _refuse_others(keys: list[str]) -> None:
    for pattern, kind in _OTHERS.items():
        found = next((key for key in keys if re.search(pattern, key)), None)
        if found:
            raise LoraError(
                f"this is a {kind} ({found}), and only LoRA and DoRA are read.",
                "Convert it to a LoRA with the program that made it, or train anew.",
            )


_OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def _renewed(stem: str) -> str:
    """diffusers once put the adapter into attention processors, and had names of its own in text encoders."""
    stem = stem.replace(".processor.", ".")
    parent, _, last = stem.rpartition(".")
    if parent.endswith(".self_attn") and last in _OLD_TEXT:
        return f"{parent}.{_OLD_TEXT[last]}"
    return f"{stem}.0" if last == "to_out" else stem
