"""What a run that goes on from a LoRA file takes over from it, from its header alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainers import catalog
from trainers.config import Adapter
from trainers.errors import AtelierError, ConfigError
from trainers.lora.facts import facts_of


def taken_over(config: Adapter, path: Path, family: str) -> dict[str, Any]:
    """Values of the section `adapter`. Raises ConfigError for a file that cannot be gone on from on this family, and
    where the configuration asks for another rank than it has."""
    try:
        facts = facts_of(path)
    except AtelierError as error:
        raise ConfigError("adapter.resume_from", error.message, error.hint) from error
    if facts.title and facts.family != family:
        message = f"{path.name} is a LoRA for {facts.title}; the base is {catalog.FAMILIES[family].title}."
        raise ConfigError("adapter.resume_from", message, "Choose a LoRA of its family, or another base.")
    if config.rank not in ("auto", facts.rank):
        message = f"{path.name} has rank {facts.rank}, and a LoRA goes on with its own; this asks for {config.rank}."
        raise ConfigError("adapter.rank", message, "Set adapter.rank = auto.")
    return {
        "rank": facts.rank,
        "alpha": facts.alpha if config.alpha == "auto" else config.alpha,
        "kind": "dora" if facts.kind == "dora" else config.kind,
        "text_encoders": config.text_encoders or facts.text,
    }
