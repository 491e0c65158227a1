"""Files on their way from the hub into the cache of huggingface_hub, and what is said when they do not arrive."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainers.weights.header import WeightsError

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


def list_files(api: Any, source: str, revision: str) -> dict[str, int]:
    """Names and bytes of the files of a repository."""
    info = api.model_info(source, revision=revision or None, files_metadata=True)
    return {file.rfilename: file.size or 0 for file in info.siblings or []}


def bring(api: Any, source: str, revision: str, files: Mapping[str, int], progress: Progress) -> None:
    """Download files, the names and bytes given, one after the other. Raises WeightsError when there is no room."""
    from huggingface_hub.constants import HF_HUB_CACHE

    blobs = [Blob(api, source, revision, name, size) for name, size in files.items()]
    check_room(source, sum(blob.lacking() for blob in blobs), Path(HF_HUB_CACHE))
    for blob in blobs:
        blob.download(progress)


class Blob:
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


def check_room(source: str, need: int, folder: Path) -> None:
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if need + SPARE_BYTES > free:
        message = f"The download of {source} needs {need / 1e9:.1f} GB; {free / 1e9:.1f} GB are free in {folder}."
        raise WeightsError(message, "Free some space, or set HF_HOME to a folder on another disk.")


@contextmanager
def explained(
    source: str, revision: str, field: str = "model.revision", mirror: str = "model.endpoint"
) -> Iterator[None]:
    """Errors of a download become WeightsError with the remedy; others pass. See `explain` for field and mirror."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        told = explain(error, source, revision, field, mirror)
        if told is None:
            raise
        raise WeightsError(*told) from error


def explain(
    error: Exception, source: str, revision: str, field: str = "model.revision", mirror: str = "model.endpoint"
) -> tuple[str, str] | None:
    """(what happened, what to do) for errors of a download; None for others.

    field: the setting that holds the revision; mirror: what names another address of the hub.
    """
    from huggingface_hub import errors

    page = f"{HUB}/{source}"
    status = getattr(getattr(error, "response", None), "status_code", 0)
    match error:
        case errors.GatedRepoError():
            who = "Your account has not been let in" if has_token() else "Nobody is signed in here"
            hint = f"Accept the licence on {page}, then sign in with `hf auth login`, or set HF_TOKEN."
            return f"{source} asks for its licence to be accepted. {who}.", hint
        case errors.RevisionNotFoundError():
            return f"{source} has no revision {revision!r}.", f"Leave {field} empty for the newest."
        case errors.RepositoryNotFoundError():
            hint = "Check the spelling. For a private model sign in with `hf auth login`, or set HF_TOKEN."
            return f"There is no model {source} on the hub, or it is private.", hint
        case errors.LocalEntryNotFoundError():
            return _unreachable(source, mirror)
        case errors.EntryNotFoundError():
            return f"{source} lacks a file that its list names.", "Try again later, or choose another revision."
        case errors.HfHubHTTPError() if status in (401, 403):
            return f"The hub refuses {source} to this account.", "Sign in again with `hf auth login`."
        case errors.HfHubHTTPError():
            return f"The hub answers with an error ({status}).", "Try again later: what is there is kept."
    if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "requests") or isinstance(
        error, ConnectionError
    ):
        return _unreachable(source, mirror)
    if isinstance(error, OSError) and "Consistency check" in str(error):
        return f"The connection broke while {source} was downloaded.", "Start again: what is there is kept."
    return None


def _unreachable(source: str, mirror: str) -> tuple[str, str]:
    hint = f"Check the network, or set {mirror} to a mirror. What is there is kept."
    return f"{source} could not be downloaded: the hub does not answer.", hint
