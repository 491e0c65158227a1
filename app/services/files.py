"""Files that the page may fetch, those of runs confined to the run's folder; small versions of pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from trainers.data.decode import PICTURE_ENDINGS, open_picture
from trainers.data.storage import mark_wanted
from trainers.rundir import RunDir
from trainers.trials import TrialFolder

THUMB_PX = 256
GALLERY_PX = 320
SHOWN_PX = 2048  # of pictures that browsers cannot show themselves


def sample_urls(run_id: str, run: RunDir, path: str) -> tuple[str, str]:
    """Addresses of a preview and of its small version, which change with the file. path: relative to the run folder."""
    name = _versioned(run_id, run.path / path)
    return f"/file/sample/{name}", f"/thumb/{name}"


def trial_urls(run_id: str, path: Path) -> tuple[str, str]:
    """The same of a picture of a trial."""
    name = _versioned(run_id, path)
    return f"/file/trial/{name}", f"/thumb/trial/{name}"


def _versioned(run_id: str, path: Path) -> str:
    try:
        version = path.stat().st_mtime_ns
    except OSError:
        version = 0
    return f"{run_id}/{quote(path.name)}?v={version:x}"


def adapter_url(run_id: str, name: str) -> str:
    return f"/file/adapter/{run_id}/{quote(name)}"


def confined(root: Path, name: str) -> Path:
    """The file `name` directly below `root`. Raises FileNotFoundError for all else, links that lead away included."""
    folder = root.resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder) or path.parent != folder or not path.is_file():
        raise FileNotFoundError(name)
    return path


def sample(run: RunDir, name: str) -> Path:
    """A preview of the run. Raises FileNotFoundError."""
    if Path(name).suffix.lower() not in PICTURE_ENDINGS:
        raise FileNotFoundError(name)
    return confined(run.samples, name)


def trial(run: RunDir, name: str) -> Path:
    """A picture of a trial. Raises FileNotFoundError."""
    if Path(name).suffix != ".png":
        raise FileNotFoundError(name)
    return confined(TrialFolder(run).desk.path, name)


def adapter(run: RunDir, name: str) -> Path:
    """An adapter file of the run or of one of its checkpoints, by its name. Raises FileNotFoundError."""
    found = run.adapter_named(name)
    if found is None:
        raise FileNotFoundError(name)
    return confined(found.parent, name)


def thumbnail(picture: Path, cache: Path, side: int = THUMB_PX) -> Path:
    """A WebP of the picture, no side longer than `side` pixels, made once for each version of the file.

    Raises one of DECODE_ERRORS when it is no picture.
    """
    status = picture.stat()
    key = f"{picture}\n{status.st_mtime_ns}\n{status.st_size}\n{side}".encode("utf-8", "surrogateescape")
    target = cache / f"{hashlib.blake2b(key, digest_size=16).hexdigest()}.webp"
    try:
        mark_wanted(target, target.stat().st_mtime)
    except FileNotFoundError:
        small = open_picture(picture, at_least=side)
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        cache.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{id(small):x}.part")
        small.save(part, "webp", quality=85)
        part.replace(target)
    return target
