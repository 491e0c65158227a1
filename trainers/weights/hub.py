"""Downloads of base models: only what a run needs, on from where an earlier download stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainers import catalog, paths
from trainers.config import Model
from trainers.errors import MissingPackageError
from trainers.weights import cached
from trainers.weights.blobs import HUB, Progress, bring, explained, has_token, is_offline, list_files
from trainers.weights.header import WeightsError
from trainers.weights.source import PARTS
from trainers.weights.wanted import is_complete, wanted

__all__ = ["HUB", "Progress", "download_folder", "fetch", "has_token", "is_offline", "is_on_disk"]


def download_folder(model: Model) -> Path:
    """Where downloads of this config go."""
    if model.hub == "modelscope":
        return cached.models_folder() / "modelscope"
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def fetch(model: Model, progress: Progress) -> None:
    """Bring what the ids of a resolved config name to this machine; does nothing for files, folders and what is there.

    Raises WeightsError with the remedy when that fails, MissingPackageError for a hub whose package is not installed.
    """
    base = catalog.source_of(model.base)
    if not os.path.exists(base):
        _fetch_one(base, _folders(model), model, model.revision, progress)
    if model.vae and not os.path.exists(paths.locate(model.vae)):
        _fetch_one(model.vae, ("", "vae"), model, "", progress)


def _folders(model: Model) -> tuple[str, ...]:
    """Of the components that the run opens; a VAE of its own is not fetched twice."""
    spec = catalog.FAMILIES[model.family]
    components = [name for name in PARTS[model.family] if not (name == "vae" and model.vae)]
    return (*components, *(encoder.subfolder for encoder in spec.text_encoders), "scheduler")


def is_on_disk(model: Model) -> bool:
    """The id that is the base of a resolved config was downloaded, whole."""
    return _is_here(catalog.source_of(model.base), model, _folders(model), model.revision)


def _is_here(source: str, model: Model, folders: tuple[str, ...], revision: str) -> bool:
    folder = cached.snapshot(source, revision, model.hub)
    if folder is None:
        return False
    named = _named(folder)
    if named is None:  # a repository of one component
        return is_complete(folder, ("",))
    return is_complete(folder, tuple(name for name in folders if name in named))


def _named(folder: Path) -> set[str] | None:
    try:
        return set(json.loads((folder / "model_index.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _fetch_one(source: str, folders: tuple[str, ...], model: Model, revision: str, progress: Progress) -> None:
    if _is_here(source, model, folders, revision):
        return
    if is_offline():
        message = f"{source} is not on this machine, and downloads are switched off (HF_HUB_OFFLINE)."
        raise WeightsError(message, "Unset HF_HUB_OFFLINE, or give a folder or file.")
    if model.hub == "modelscope":
        _from_modelscope(source, folders, model, revision, progress)
        return
    with explained(source, revision):
        _from_huggingface(source, folders, model, revision, progress)


def _from_huggingface(source: str, folders: tuple[str, ...], model: Model, revision: str, progress: Progress) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=model.endpoint or None)
    sizes = list_files(api, source, revision)
    files = wanted(sizes, folders, half=model.precision != "fp32", pickles=model.allow_pickle)
    if not any(name.endswith((".safetensors", ".bin")) for name in files):
        hint = "Choose a repository in diffusers layout, or download its checkpoint file and give that."
        raise WeightsError(f"{source} holds no weights that can be read.", hint)
    # the index comes last: with it the folder counts as a model
    queue = sorted(files, key=lambda name: name == "model_index.json")
    bring(api, source, revision, {name: sizes[name] for name in queue}, progress)


def _from_modelscope(source: str, folders: tuple[str, ...], model: Model, revision: str, progress: Progress) -> None:
    try:
        from modelscope import snapshot_download  # type: ignore[import-not-found]
    except ImportError as error:
        message = "Downloads from ModelScope need a package that is not installed."
        raise MissingPackageError(message, "Run `pip install -r requirements-modelscope.txt`.") from error
    progress(source, 0, 0)
    patterns = ["*.json", *(f"{folder}/*" if folder else "*.safetensors" for folder in folders)]
    unneeded = [] if model.allow_pickle else ["*.bin", "*.ckpt", "*.pt", "*.pth", "*.msgpack", "*.onnx*"]
    try:
        snapshot_download(
            source,
            revision=revision or None,
            local_dir=str(cached.modelscope_folder(source, revision)),
            allow_patterns=patterns,
            ignore_patterns=unneeded,
        )
    except (OSError, ValueError) as error:
        hint = "Check the id on modelscope.cn and the network, then start again: what is there is kept."
        raise WeightsError(f"{source} could not be downloaded from ModelScope: {error}.", hint) from error
