"""The scale that a file's metadata gives its layers: alpha / rank as PEFT's configuration has it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from trainers.lora.keys import LoraError


@dataclass(frozen=True)
class Declared:
    """configs: component -> settings of its PEFT LoraConfig; empty for a file without."""

    configs: dict[str, dict[str, Any]]

    def __bool__(self) -> bool:
        return bool(self.configs)

    def scale(self, stem: str, rank: int) -> float:
        """Of a layer, by its name with the component in front. 1 where nothing is declared, as all programs take it."""
        component, _, module = stem.partition(".")
        config = self.configs.get(component)
        if not config or "lora_alpha" not in config:
            return 1.0
        alphas: dict[str, float] = config.get("alpha_pattern") or {}
        # as PEFT matches: from any dot to the end
        own = next((alpha for name, alpha in alphas.items() if re.match(rf"(.*\.)?({name})$", module)), None)
        alpha = float(config["lora_alpha"] if own is None else own)
        return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def declared_scales(metadata: dict[str, str]) -> Declared:
    """What `lora_adapter_metadata` says, which diffusers and PEFT obey and ComfyUI does not. Raises LoraError when it
    cannot be read."""
    text = metadata.get("lora_adapter_metadata", "")
    if not text:
        return Declared({})
    try:
        values = json.loads(text)
        configs: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            component, _, name = key.partition(".")
            configs.setdefault(component, {})[name] = value
    except (ValueError, AttributeError) as error:
        raise LoraError(
            "its lora_adapter_metadata is no JSON object.", "Save it again with the program that made it."
        ) from error
    return Declared(configs)
