"""Other people's preferences, brought into a set. What a source is follows from its content. Light."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainers.errors import DataError
from trainers.preferences.formats.hf_folder import metadata_files, read_hf
from trainers.preferences.formats.incoming import Imported, Incoming, Reading
from trainers.preferences.formats.jsonl import is_jsonl, read_jsonl
from trainers.preferences.formats.merged import is_set, read_set
from trainers.preferences.formats.pickapic import is_parquet, read_pickapic
from trainers.preferences.formats.scored import is_scored, read_scored
from trainers.preferences.formats.two_folders import is_two_folders, read_two_folders
from trainers.preferences.prefset import Prefset

Reader = Callable[[Path, Incoming], None]


def import_into(folder: Path, source: Path, reading: Reading | None = None) -> Imported:
    """Add to the set in `folder`, made if there is none, what the source holds and the set lacks.

    source: a file of pairs, a folder that holds some, folders chosen/ and rejected/, or another preference set. What
    cannot be taken over is a line of the result. Raises DataError when the source is none of these,
    MissingPackageError, OSError.
    """
    format, paths, read = _recognised(source)
    incoming = Incoming(Prefset.create(folder), _root(source), reading or Reading())
    for path in paths:
        read(path, incoming)
    return incoming.save(format)


def _recognised(source: Path) -> tuple[str, list[Path], Reader]:
    """What the source is, which files or folders of it are to be read, and how."""
    if not source.exists():
        raise DataError(f"There is no {source}.", "Check the path.")
    found = _folder(source) if source.is_dir() else _files([source])
    if found is None:
        hint = (
            "Atelier reads Parquet files of Pick-a-Pic, lines of JSON with prompt, chosen and rejected, image folders"
        )
        hint += " of Hugging Face, dataset_scored.json, folders chosen/ and rejected/, and its own sets."
        raise DataError(f"{source.name} holds no preferences that Atelier knows.", hint)
    return found


def _folder(folder: Path) -> tuple[str, list[Path], Reader] | None:
    if is_set(folder):
        return "prefset.v1", [folder], read_set
    if is_two_folders(folder):
        return "folders", [folder], read_two_folders
    if metadata_files(folder):
        return "hf", [folder], read_hf
    found = [path for pattern in ("*", "data/*") for path in sorted(folder.glob(pattern)) if path.is_file()]
    return _files([path for path in found if path.suffix.lower() in (".parquet", ".jsonl", ".json")])


def _files(paths: list[Path]) -> tuple[str, list[Path], Reader] | None:
    """Those of the first kind of which there is one."""
    kinds: list[tuple[str, Callable[[Path], bool], Reader]] = [
        ("pickapic", is_parquet, read_pickapic),
        ("scored", is_scored, read_scored),
        ("jsonl", is_jsonl, read_jsonl),
    ]
    for format, is_kind, read in kinds:
        if found := [path for path in paths if is_kind(path)]:
            return format, found, read
    return None


def _root(source: Path) -> Path:
    """The folder below which pictures may lie: a file that a set exported names those of the set."""
    folder = source if source.is_dir() else source.absolute().parent
    return folder.parent if folder.name == "export" and is_set(folder.parent) else folder
