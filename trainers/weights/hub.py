"""Downloads of base models: only what a run needs, on from where an earlier download stopped."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainers import catalog, paths
from trainers.config import Model
from trainers.errors import MissingPackageError
from trainers.weights import cached
from trainers.weights.header import WeightsError
from trainers.weights.source import PARTS
from trainers.weights.wanted import is_complete, wanted

Progress = Callable[[str, int, int], None]  # (file, bytes that are there, bytes in all)
HUB = "https://huggingface.co"
SPARE_BYTES = 200_000_000
TOLD_EVERY_S = 0.5


def is_offline() -> bool:
    from huggingface_hub.constants import is_offline_mode

    return is_offline_mode()


def has_token() -> bool:
    """Somebody is signed in: HF_TOKEN, or `hf auth login`."""
    from huggingface_hub import get_token

    return get_token() is not None


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
    try:
        _from_huggingface(source, folders, model, revision, progress)
    except WeightsError:
        raise
    except Exception as error:
        told = explain(error, source, revision)
        if told is None:
            raise
        raise WeightsError(*told) from error


def _from_huggingface(source: str, folders: tuple[str, ...], model: Model, revision: str, progress: Progress) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE

    api = HfApi(endpoint=model.endpoint or None)
    info = api.model_info(source, revision=revision or None, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    files = wanted(sizes, folders, half=model.precision != "fp32", pickles=model.allow_pickle)
    if not any(name.endswith((".safetensors", ".bin")) for name in files):
        hint = "Choose a repository in diffusers layout, or download its checkpoint file and give that."
        raise WeightsError(f"{source} holds no weights that can be read.", hint)
    # the index comes last: with it the folder counts as a model
    queue = sorted(files, key=lambda name: name == "model_index.json")
    blobs = [_Blob(api, source, revision, name, sizes[name]) for name in queue]
    _check_room(source, sum(blob.lacking() for blob in blobs), Path(HF_HUB_CACHE))
    for blob in blobs:
        blob.download(progress)


class _Blob:
    """One file on its way into the cache of huggingface_hub, which itself cannot go on where a process stopped."""

    def __init__(self, api: Any, source: str, revision: str, name: str, size: int) -> None:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.constants import HF_HUB_CACHE
        from huggingface_hub.file_download import are_symlinks_supported, repo_folder_name

        self._api, self._source, self._revision, self._name = api, source, revision or None, name
        self._url = hf_hub_url(source, name, revision=self._revision, endpoint=api.endpoint)
        facts = get_hf_file_metadata(self._url, endpoint=api.endpoint)
        store = Path(HF_HUB_CACHE, repo_folder_name(repo_id=source, repo_type="model"))
        blob, pointer = store / "blobs" / str(facts.etag), store / "snapshots" / str(facts.commit_hash) / name
        self._size = facts.size or size
        self._part = blob.with_name(f"{blob.name}.atelier-part")
        # without symbolic links a blob would be copied, and take its room twice
        self._target = blob if are_symlinks_supported(HF_HUB_CACHE) else pointer
        self._is_here = blob.exists() or pointer.exists()

    def _done(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def lacking(self) -> int:
        """Bytes still to come."""
        return 0 if self._is_here else self._size - self._done()

    def download(self, progress: Progress) -> None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        done = self._done()
        if not self._is_here:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            if done < self._size:
                with self._part.open("ab") as file:
                    http_get(
                        self._url,
                        file,
                        resume_size=done,
                        headers=build_hf_headers(),
                        expected_size=self._size,
                        tqdm_class=_bar(self._name, progress),
                    )
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._part.replace(self._target)
        progress(self._name, self._size, self._size)
        # finds the file, and notes which commit the revision is
        hf_hub_download(self._source, self._name, revision=self._revision, endpoint=self._api.endpoint)


def _bar(name: str, progress: Progress) -> Any:
    """A class in the shape of a tqdm bar that tells `progress`, now and then."""

    class Bar:
        def __init__(self, *, total: int = 0, initial: int = 0, **rest: Any) -> None:
            self._done, self._total, self._told = initial, total or 0, 0.0

        def update(self, count: int) -> None:
            self._done += count
            if time.monotonic() - self._told >= TOLD_EVERY_S:
                self._told = time.monotonic()
                progress(name, self._done, self._total)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None: ...

    return Bar


def _check_room(source: str, need: int, folder: Path) -> None:
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if need + SPARE_BYTES > free:
        message = f"The download of {source} needs {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free in {folder}."
        raise WeightsError(message, "Free some space, or set HF_HOME to a folder on another disk.")


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


def explain(error: Exception, source: str, revision: str) -> tuple[str, str] | None:
    """(what happened, what to do) for errors of a download; None for others."""
    from huggingface_hub import errors

    page = f"{HUB}/{source}"
    status = getattr(getattr(error, "response", None), "status_code", 0)
    match error:
        case errors.GatedRepoError():
            who = "Your account has not been let in" if has_token() else "Nobody is signed in here"
            hint = f"Accept the licence on {page}, then sign in with `hf auth login`, or set HF_TOKEN."
            return f"{source} asks for its licence to be accepted. {who}.", hint
        case errors.RevisionNotFoundError():
            return f"{source} has no revision {revision!r}.", "Leave model.revision empty for the newest."
        case errors.RepositoryNotFoundError():
            hint = "Check the spelling. For a private model sign in with `hf auth login`, or set HF_TOKEN."
            return f"There is no model {source} on the hub, or it is private.", hint
        case errors.LocalEntryNotFoundError():
            return _unreachable(source)
        case errors.EntryNotFoundError():
            return f"{source} lacks a file that its list names.", "Try again later, or choose another revision."
        case errors.HfHubHTTPError() if status in (401, 403):
            return f"The hub refuses {source} to this account.", "Sign in again with `hf auth login`."
        case errors.HfHubHTTPError():
            return f"The hub answers with an error ({status}).", "Try again later: what is there is kept."
    if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "requests") or isinstance(
        error, ConnectionError
    ):
        return _unreachable(source)
    if isinstance(error, OSError) and "Consistency check" in str(error):
        return f"The connection broke while {source} was downloaded.", "Start again: what is there is kept."
    return None


def _unreachable(source: str) -> tuple[str, str]:
    hint = "Check the network, or set model.endpoint to a mirror. What is there is kept."
    return f"{source} could not be downloaded: the hub does not answer.", hint
