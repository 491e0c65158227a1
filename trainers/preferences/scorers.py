"""From the name of a scorer to a model that is loaded: where its weights are, downloads, versions. Light."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from trainers import paths
from trainers.errors import ConfigError, MissingPackageError
from trainers.preferences.catalog import REQUIREMENTS, SCORERS, Part, ScorerSpec
from trainers.preferences.rewards.base import Files, Load, Precision, Runtime, Scorer
from trainers.weights.blobs import Progress, bring, explained, is_offline, list_files
from trainers.weights.cached import models_folder, snapshot
from trainers.weights.header import WeightsError
from trainers.weights.wanted import is_complete

FIELD = "scorers.weights"
WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".onnx", ".zip")
SAMPLE_BYTES, SAMPLES = 2**20, 32

Places = Mapping[str, str]  # name of a part -> where a person says that it is


def spec_of(name: str) -> ScorerSpec:
    """Raises ConfigError for a name that no scorer has."""
    if name not in SCORERS:
        raise ConfigError("scorers.names", f"There is no scorer {name!r}.", f"There are {', '.join(SCORERS)}.")
    return SCORERS[name]


def given_places(lines: Sequence[str]) -> dict[str, dict[str, str]]:
    """Scorer -> part -> place, of lines as in `hpsv2.1.weights = D:/HPS_v2.1_compressed.pt`. Raises ConfigError."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        key, equals, place = (part.strip() for part in line.partition("="))
        scorer, _, part = key.rpartition(".")
        if not equals or scorer not in SCORERS or part not in SCORERS[scorer].parts:
            known = ", ".join(f"{name}.{part}" for name, spec in SCORERS.items() for part in spec.parts)
            raise ConfigError(FIELD, f"{line!r} names no part of a scorer.", f"Write PART = PLACE; there are {known}.")
        found.setdefault(scorer, {})[part] = place
    return found


def missing_package(name: str) -> str:
    """The line that installs what this scorer needs and this machine lacks; "" when it lacks nothing."""
    package = SCORERS[name].package
    if not package or importlib.util.find_spec(package) is not None:
        return ""
    return f"Install it with: .venv/bin/python -m pip install --no-deps -r {REQUIREMENTS[package]}"


def require_package(name: str) -> None:
    """Raises MissingPackageError with the install line."""
    if line := missing_package(name):
        raise MissingPackageError(f"The scorer {name} needs the package {SCORERS[name].package}.", line)


# --------------------------------------------------------------------------- where the weights are


def find(name: str, given: Places | None = None) -> Files | None:
    """A place for each part; None when some have to be downloaded. Raises ConfigError for a given place without it."""
    found = {key: _place(name, key, part, given or {}) for key, part in spec_of(name).parts.items()}
    there = {key: place for key, place in found.items() if place is not None}
    return there if len(there) == len(found) else None


def is_here(name: str, given: Places | None = None) -> bool:
    """The scorer works without a download."""
    try:
        return find(name, given) is not None
    except ConfigError:
        return False


def _place(name: str, key: str, part: Part, given: Places) -> Path | None:
    if given.get(key):
        return _given(name, key, part, paths.locate(given[key]))
    models = models_folder()
    folders = [models / part.source.rpartition("/")[2], models]
    if part.is_file:
        marks = part.needed[0]
        if (downloaded := snapshot(part.source, marks=marks)) is not None:
            folders.append(_root(downloaded, marks))
        candidates = (folder / one for folder in folders for mark in marks for one in (mark, Path(mark).name))
        return next((file for file in candidates if file.is_file()), None)
    cached = snapshot(part.source, marks=part.needed[0])
    there = [folders[0], *([cached] if cached else [])]
    return next((folder for folder in there if _holds(folder, part)), None)


def _root(folder: Path, marks: Sequence[str]) -> Path:
    """The folder of a repository, of the folder that one of its files was found in."""
    depth = marks[0].count("/")
    return folder.parents[depth - 1] if depth else folder


def _given(name: str, key: str, part: Part, place: Path) -> Path:
    """A file of any name will do: people rename them. For a file a folder that holds it will do as well."""
    if part.is_file and place.is_dir():
        inside = [place / Path(mark).name for mark in part.needed[0]]
        place = next((file for file in inside if file.is_file()), place)
    if part.is_file and place.is_file():
        return place
    if not part.is_file and _holds(place, part):
        return place
    wanted = " or ".join(Path(mark).name for mark in part.needed[0])
    what = f"{name}.{key}: there is no {wanted} at {place}."
    raise ConfigError(FIELD, what, f"It comes from {part.source}; leave the line out to download it.")


def _holds(folder: Path, part: Part) -> bool:
    """All that is needed, and of sharded weights every shard."""
    if not all(any((folder / name).is_file() for name in names) for names in part.needed):
        return False
    has_weights = any(name.endswith(WEIGHT_ENDINGS) for names in part.needed for name in names)
    return not has_weights or is_complete(folder, ("",))


def fetch(name: str, given: Places | None, progress: Progress) -> Files:
    """A place for each part of the scorer; what is not here is downloaded.

    What `progress` raises passes, and what is there by then is kept. Raises WeightsError with the remedy, ConfigError.
    """
    spec = spec_of(name)
    for key, part in spec.parts.items():
        if _place(name, key, part, given or {}) is None:
            _download(name, key, part, progress)
    files = find(name, given)
    if files is None:
        raise WeightsError(f"A download of {spec.title} is incomplete.", "Start again: what is there is kept.")
    return files


def _download(name: str, key: str, part: Part, progress: Progress) -> None:
    if is_offline():
        message = f"{part.source} is not on this machine, and downloads are switched off (HF_HUB_OFFLINE)."
        raise WeightsError(message, f"Unset HF_HUB_OFFLINE, or say where it is: {FIELD} = {name}.{key} = PLACE.")
    from huggingface_hub import HfApi

    with explained(part.source, "", FIELD, "HF_ENDPOINT"):
        api = HfApi()
        sizes = list_files(api, part.source, "")
        wanted = _wanted(sizes, part)
        if wanted is None:
            what = f"{part.source} lacks files that {SCORERS[name].title} needs."
            raise WeightsError(what, f"Get them from elsewhere, and set {FIELD} = {name}.{key} = PLACE.")
        bring(api, part.source, "", {file: sizes[file] for file in wanted}, progress)


def _wanted(there: Mapping[str, int], part: Part) -> list[str] | None:
    """Files to download: the first of each needed tuple, and what the patterns ask for, weights in one format."""
    needed = [next((name for name in names if name in there), None) for names in part.needed]
    if any(name is None for name in needed):
        return None
    chosen = [name for name in needed if name is not None]
    others = {name for names in part.needed for name in names}
    more = [name for name in there if any(fnmatch.fnmatch(name, one) for one in part.files) and name not in others]
    return list(dict.fromkeys([*more, *chosen]))


# --------------------------------------------------------------------------- versions and loading


def version_of(name: str, files: Files, precision: Precision = "fp32") -> str:
    """What made a score: preprocessing, weights, number format. It is known before the scorer is loaded."""
    digest = hashlib.sha256()
    for key in sorted(files):
        for file in _weights_in(files[key]):
            facts = file.stat()
            digest.update(f"{key}\0{_sampled(str(file), facts.st_size, facts.st_mtime_ns)}\0".encode())
    weights = f"-{digest.hexdigest()[:12]}" if files else ""
    number = "" if precision == "fp32" or not files else f"-{precision}"
    return f"{SCORERS[name].revision}{weights}{number}"


def _weights_in(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    found = sorted(file for file in place.iterdir() if file.is_file())
    weights = [file for file in found if file.suffix in WEIGHT_ENDINGS]
    return weights or [file for file in found if file.suffix == ".json"]


@lru_cache(maxsize=256)
def _sampled(path: str, size: int, changed: int) -> str:
    """SHA-256 of a file's size and of pieces all over it: reading gigabytes to name them would take a minute. It tells
    weights apart; it does not protect against a forgery."""
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= SAMPLES * SAMPLE_BYTES:
            digest.update(file.read())
        else:
            for number in range(SAMPLES):
                file.seek((size - SAMPLE_BYTES) * number // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def open_scorer(name: str, files: Files, runtime: Runtime) -> Scorer:
    """Load a scorer, which reads its weights once. Raises AtelierError, MissingPackageError with the remedy."""
    spec = spec_of(name)
    require_package(name)
    load: Load = importlib.import_module(f"trainers.preferences.rewards.{spec.module}").load
    return load(files, runtime, version_of(name, files, runtime.precision))
