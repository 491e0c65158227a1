"""A zip of pictures, unpacked once, with its folders."""

from __future__ import annotations

import hashlib
import lzma
import os
import secrets
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from trainers.data.storage import mark_wanted
from trainers.data.text import TextError, decoded
from trainers.errors import DataError

SPARE_BYTES = 200 * 2**20
BLOCK = 2**20
NAME_IN_UTF8, ENCRYPTED = 0x800, 0x1
CLUTTER = frozenset({"thumbs.db", "desktop.ini"})
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, lzma.LZMAError)


class Member(NamedTuple):
    """A file in a zip. place: its folders and name, as the system that packed it meant them; is_safe: it is no link,
    and its place does not lead out of the folder that it is unpacked to."""

    place: PurePosixPath
    info: zipfile.ZipInfo
    is_safe: bool


def unpacked(file: Path, root: Path) -> Path:
    """The folder below `root` with what the zip holds; unpacked when this zip, unchanged, was not there before.

    A folder that is alone in the zip is entered. Hidden files and the clutter of operating systems are left out.
    Raises DataError with the remedy for a zip that is broken, locked, too large, or that writes outside the folder.
    """
    try:
        target = root / _folder_name(file)
        if target.is_dir():
            mark_wanted(target, target.stat().st_mtime)
        else:
            with zipfile.ZipFile(file) as archive:
                _unpack(archive, _contents(archive, file.name), target, file.name)
        return _entered(target)
    except ZIP_ERRORS as error:
        message = f"{file.name} cannot be unpacked: {error}."
        raise DataError(message, "Pack it again, or give the folder of its pictures.") from error
    except OSError as error:
        message = f"{file.name} cannot be unpacked: {(error.strerror or str(error)).lower()}."
        raise DataError(message, "Unpack it yourself and give the folder.") from error


def _folder_name(file: Path) -> str:
    """Another one for a zip that has changed, or lies elsewhere."""
    status = file.stat()
    facts = f"{status.st_size}:{status.st_mtime_ns}:{file.resolve()}"
    digest = hashlib.blake2b(os.fsencode(facts), digest_size=8).hexdigest()
    return f"{file.stem[:50].rstrip(' .')}-{digest}"


def members(archive: zipfile.ZipFile, name: str) -> list[Member]:
    """The files of a zip, without hidden ones and the clutter of operating systems; each place once.

    name: of the zip, for the error. Raises DataError when it is locked with a password.
    """
    infos = [info for info in archive.infolist() if not info.is_dir()]
    codec = _codec_of_names(infos)
    found: dict[PurePosixPath, Member] = {}
    for info in infos:
        place = PurePosixPath(_name(info, codec).replace("\\", "/"))
        if is_clutter(place):
            continue
        if info.flag_bits & ENCRYPTED:
            raise DataError(f"{name} is locked with a password.", "Unpack it yourself first.")
        # a zip that was added to holds a file twice: the later one counts
        found[place] = Member(place, info, _is_safe(place, info))
    return list(found.values())


def is_clutter(place: PurePosixPath) -> bool:
    """Hidden, or what an operating system leaves beside files."""
    is_hidden = any(part.startswith(".") and part != ".." for part in place.parts)
    return is_hidden or "__MACOSX" in place.parts or place.name.lower() in CLUTTER


def _contents(archive: zipfile.ZipFile, name: str) -> list[Member]:
    """The files to unpack. Raises DataError for a zip that may not be unpacked."""
    contents = members(archive, name)
    for member in contents:
        if not member.is_safe:
            message = f"{name} holds {str(member.place)!r}, which leads out of its folder."
            raise DataError(message, "Unpack it yourself, look at it, and give the folder.")
    if not contents:
        raise DataError(f"{name} is empty.", "Pack the pictures again, or give their folder.")
    return contents


def _is_safe(place: PurePosixPath, info: zipfile.ZipInfo) -> bool:
    leads_out = place.is_absolute() or ".." in place.parts or PureWindowsPath(place).drive
    return not leads_out and not stat.S_ISLNK(info.external_attr >> 16)


def _raw(info: zipfile.ZipInfo) -> bytes | None:
    """The bytes of a name that does not say its encoding; zipfile reads them as code page 437."""
    return None if info.flag_bits & NAME_IN_UTF8 else info.filename.encode("cp437")


def _codec_of_names(infos: Iterable[zipfile.ZipInfo]) -> str:
    """What old names are written in: macOS means UTF-8, Windows the code page of its language."""
    try:
        decoded(b"\n".join(raw for info in infos if (raw := _raw(info))))
    except TextError as error:
        return next((guess for guess in error.guesses if guess != "cp1252"), "cp437")
    return "utf-8"


def _name(info: zipfile.ZipInfo, codec: str) -> str:
    raw = _raw(info)
    try:
        return info.filename if raw is None else raw.decode(codec)
    except UnicodeDecodeError:
        return info.filename


def _unpack(archive: zipfile.ZipFile, contents: list[Member], target: Path, name: str) -> None:
    """All files or none: they appear under the target's name when the last one is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    need, free = sum(member.info.file_size for member in contents), shutil.disk_usage(target.parent).free
    if need + SPARE_BYTES > free:
        message = f"{name} takes {need / 2**30:.1f} GiB unpacked; {free / 2**30:.1f} GiB are free."
        raise DataError(message, "Free some space, or set data.cache_dir to a larger drive.")
    growing = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
    try:
        for member in contents:
            file = growing / member.place
            file.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member.info) as source, file.open("wb") as written:
                shutil.copyfileobj(source, written, BLOCK)
        _appear(growing, target)
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _appear(growing: Path, target: Path) -> None:
    try:
        os.rename(growing, target)
    except OSError:
        if not target.is_dir():  # else another process was faster
            raise


def _entered(folder: Path) -> Path:
    only = list(folder.iterdir())
    return only[0] if len(only) == 1 and only[0].is_dir() else folder
