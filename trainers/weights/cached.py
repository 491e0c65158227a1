"""What earlier downloads left on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from trainers import paths

FILE_ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft", ".gguf")
MARKS = ("model_index.json", "config.json")  # of a pipeline, and of one component


def is_id(source: str) -> bool:
    """The text has the form of a hub id, owner/name, and does not end as files do."""
    has_form = re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", source) is not None
    return has_form and not source.lower().endswith(FILE_ENDINGS)


def models_folder() -> Path:
    """Where Atelier looks for model files, and puts some of them."""
    return paths.data_dir() / "models"


def snapshot(source: str, revision: str = "", hub: str = "huggingface", marks: Sequence[str] = MARKS) -> Path | None:
    """The folder that an id was downloaded to, whole or in part; None for none. marks: files, one of which is there."""
    if not is_id(source):
        return None
    if hub == "modelscope":
        folder = modelscope_folder(source, revision)
        return folder if any((folder / mark).is_file() for mark in marks) else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for mark in marks:
        try:
            found = try_to_load_from_cache(source, mark, revision=revision or None)
        except HFValidationError:
            return None
        if isinstance(found, str) and os.path.exists(found):
            return Path(found).parent
    return None


def modelscope_folder(source: str, revision: str) -> Path:
    """Where Atelier puts an id of ModelScope."""
    name = source.replace("/", "--") + (f"@{revision.replace('/', '-')}" if revision else "")
    return models_folder() / "modelscope" / name
