"""The hash that other programs know a checkpoint file by."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress

from trainers import paths
from trainers.weights.source import ModelSource

LARGEST = 20_000_000_000  # bytes: hashing more takes minutes


def base_hash(source: ModelSource) -> str:
    """SHA-256 of the base's file, as A1111 and Civitai show it; empty for folders, ids and very large files.

    Remembered by path, size and time of the file.
    """
    if not source.file or os.path.getsize(source.file) > LARGEST:
        return ""
    state = os.stat(source.file)
    key, store = f"{source.file}|{state.st_size}|{state.st_mtime_ns}", paths.data_dir() / "cache" / "hashes.json"
    try:
        known = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if key not in known:
        with open(source.file, "rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        with suppress(OSError):  # a store that cannot be written costs a second hash
            store.parent.mkdir(parents=True, exist_ok=True)
            store.write_text(json.dumps(known), encoding="utf-8")
    return str(known[key])
