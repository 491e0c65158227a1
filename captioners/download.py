"""Downloads of captioners: only the files that they need, on from where an earlier download stopped."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path

from captioners.catalog import CaptionerSpec
from captioners.config import CaptionConfig
from captioners.weights import place_of
from trainers.errors import AtelierError
from trainers.weights.blobs import Progress, bring, explained, is_offline, list_files
from trainers.weights.header import WeightsError
from trainers.weights.wanted import PICKLES, WEIGHTS

WEIGHT_ENDINGS = (".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json")


def fetch(config: CaptionConfig, spec: CaptionerSpec, progress: Progress) -> Path:
    """The folder with the weights, which are downloaded where they are not here yet.

    What `progress` raises passes, and what is there by then is kept. Raises WeightsError with the remedy when the
    download fails, ConfigError for a source that cannot be used.
    """
    place = place_of(config, spec)
    if place is not None:
        return place
    source, revision = config.captioner.source or spec.source, config.captioner.revision
    if spec.built_in and not config.captioner.source:
        raise AtelierError(f"{source} is missing from this copy of Atelier.", "Install Atelier again.")
    if is_offline():
        message = f"{source} is not on this machine, and downloads are switched off (HF_HUB_OFFLINE)."
        raise WeightsError(message, "Unset HF_HUB_OFFLINE, or give a folder as captioner.source.")
    with explained(source, revision, "captioner.revision", "HF_ENDPOINT"):
        _from_hub(source, revision, spec, progress)
    place = place_of(config, spec)
    if place is None:
        hint = f"Choose a repository of the same kind as {spec.source}."
        raise WeightsError(f"{source} lacks files that {spec.title} needs.", hint)
    return place


def _from_hub(source: str, revision: str, spec: CaptionerSpec, progress: Progress) -> None:
    from huggingface_hub import HfApi

    api = HfApi()
    sizes = list_files(api, source, revision)
    files = wanted(sizes, spec.files)
    if not any(name.endswith((".safetensors", ".bin", ".onnx")) for name in files):
        hint = f"Choose a repository of the same kind as {spec.source}."
        raise WeightsError(f"{source} holds no weights that can be read.", hint)
    bring(api, source, revision, {name: sizes[name] for name in files}, progress)


def wanted(names: Iterable[str], patterns: tuple[str, ...]) -> list[str]:
    """The files to download, of the topmost folder, weights last. Pickled weights where there are no others, and one
    whole file rather than its shards."""
    names = [name for name in names if "/" not in name]
    chosen = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    settings = [name for name in chosen if not name.endswith(WEIGHT_ENDINGS)]
    if "*.safetensors" not in patterns:
        return settings
    weights = [name for name in names if WEIGHTS.fullmatch(name)] or [name for name in names if PICKLES.fullmatch(name)]
    whole = [name for name in weights if name in ("model.safetensors", "pytorch_model.bin")]
    return settings + (whole or weights)
