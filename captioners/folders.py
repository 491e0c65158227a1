"""Whether a folder holds the model that is to be loaded from it. Light."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from trainers.errors import AtelierError

AGAIN = "Download it again, or set captioner.source to another folder."


def read_config(source: Path, kinds: Collection[str]) -> dict[str, Any]:
    """The config.json of a folder. kinds: values of its "model_type" that will do. Raises AtelierError."""
    try:
        config: dict[str, Any] = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AtelierError(f"{source} holds no config.json that can be read: {error}.", AGAIN) from error
    kind = config.get("model_type")
    if kind not in kinds:
        raise AtelierError(
            f"{source} holds a model of the kind {kind!r}, not {' or '.join(kinds)}.",
            "Choose the captioner that it belongs to, or another folder.",
        )
    return config


@contextmanager
def opening(source: Path) -> Iterator[None]:
    """Files that are missing or damaged become an AtelierError that says what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise AtelierError(f"{source} cannot be opened: {error}", AGAIN) from error
