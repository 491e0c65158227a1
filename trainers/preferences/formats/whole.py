"""Files and folders that are there as a whole or not at all. Light."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainers.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside the path to write to; when all went well the file there gets the name of the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        os.chmod(unfinished, 0o644)  # mkstemp gives the owner alone access
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, mark: str) -> Iterator[Path]:
    """As `whole_file`, for a folder. mark: a file that tells a folder of this kind, the only one that is replaced.

    Raises DataError where something else is in the way.
    """
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / mark).is_file())):
        raise DataError(f"{path} is there already, and is no earlier export.", "Name another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    earlier = unfinished.with_name(f"{unfinished.name}.old")
    try:
        yield unfinished
        os.chmod(unfinished, 0o755)  # mkdtemp gives the owner alone access
        if path.exists():
            os.replace(path, earlier)
        os.replace(unfinished, path)
    finally:
        if earlier.exists() and not path.exists():
            os.replace(earlier, path)
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
