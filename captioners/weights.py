"""Where the weights of a captioner are on this machine. Light."""

from __future__ import annotations

import os
from pathlib import Path

from captioners.catalog import CAPTIONERS, CaptionerSpec
from captioners.config import CaptionConfig, Captioner
from trainers import paths
from trainers.errors import ConfigError
from trainers.weights.cached import is_id, models_folder, snapshot
from trainers.weights.wanted import is_complete

# one file of each set has to be there, beside whole weights
TAGGER_FILES = (("model.onnx",), ("selected_tags.csv",))
MODEL_FILES = (
    ("config.json",),
    ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model"),
    ("preprocessor_config.json", "processor_config.json"),
)
MARKS = ("config.json", "selected_tags.csv")  # a snapshot holds one of them


def place_of(config: CaptionConfig, spec: CaptionerSpec) -> Path | None:
    """The folder with the weights; None when they have to be downloaded. A server needs none: `Path()`.

    Raises ConfigError for a source that is neither a folder nor the id of a repository.
    """
    if spec.kind == "server":
        return Path()
    source, revision = config.captioner.source, config.captioner.revision
    if source and (folder := paths.locate(source)).is_dir():
        return folder
    _check_source(source, spec)
    if spec.built_in and not source:
        built_in = paths.PROGRAM / spec.source
        return built_in if built_in.is_dir() else None
    found = [snapshot(source or spec.source, revision, marks=MARKS)]
    if not revision:  # a folder that was put there by hand says nothing of its revision
        found.insert(0, models_folder() / (source or spec.source).rpartition("/")[2])
    return next((folder for folder in found if folder is not None and is_whole(folder, spec)), None)


def _check_source(source: str, spec: CaptionerSpec) -> None:
    if source and os.path.isfile(paths.locate(source)):
        raise ConfigError("captioner.source", f"{source} is a file.", "Give the folder that it is in.")
    if spec.kind == "joycaption_folders":
        what = f"there is no folder {source}." if source else "it is empty."
        hint = "Give the folder that holds joy-caption-alpha-two, clip and llm."
        raise ConfigError("captioner.source", what, hint)
    if source and not is_id(source):
        what = f"{source!r} is neither a folder nor the id of a repository."
        raise ConfigError("captioner.source", what, "Leave it empty for the usual one.")


def is_whole(folder: Path, spec: CaptionerSpec) -> bool:
    """The files that loading needs are there, and every shard of the weights; none of them is opened."""
    needed = TAGGER_FILES if spec.kind == "wd" else MODEL_FILES
    if not all(any((folder / name).is_file() for name in names) for names in needed):
        return False
    return spec.kind == "wd" or is_complete(folder, ("",))


def is_here(name: str) -> bool:
    """The captioner of this name works without a download, at its usual source."""
    try:
        return place_of(CaptionConfig(captioner=Captioner(name=name)), CAPTIONERS[name]) is not None
    except ConfigError:  # of the older files nobody knows where they are
        return False
