"""Findings about the data sets: what they are, and which of their files cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trainers import catalog
from trainers.config import TrainConfig
from trainers.data import decode, epoch
from trainers.data.folder import BadFile, FolderScan, Scan
from trainers.data.sources import Source, SourceError
from trainers.preflight.finding import Finding, Reasons, change, named, show, tell

IN_CAPTION = "its caption"  # how the reason begins when not the picture itself is at fault


def unopened(error: SourceError, config: TrainConfig) -> Finding:
    """A data set that could not be opened at all."""
    folders = [*(one.folder for one in config.data.sets), config.data.folder]
    folder = next((folder for folder in folders if folder and folder in error.message), config.data.folder)
    return tell("problem", error.code, error.field, folder=folder, reason=error.message, remedy=error.hint)


def of_folders(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    for source, folder in zip(scan.sources, scan.folders, strict=True):
        yield from _of_folder(config, source, folder, len(scan.sources) > 1)
    yield from _unreadable(config, scan)
    yield from _leftovers(config, scan.folders)
    yield from _tables(scan.folders)
    if scan.pictures and all(epoch.is_prior(picture, scan.sources) for picture in scan.pictures):
        yield tell("problem", "prior_alone", "data.sets")
    if not scan.content:
        yield tell("ok", "headers_only", "data.folder", n=len(scan.pictures))


def _of_folder(config: TrainConfig, source: Source, folder: FolderScan, is_one_of_many: bool) -> Iterator[Finding]:
    where = f"{source.name}: " if is_one_of_many else ""
    if not folder.pictures and not folder.bad:
        field = "data.sets" if str(source.folder) in {one.folder for one in config.data.sets} else "data.folder"
        endings = ", ".join(sorted(ending[1:] for ending in decode.PICTURE_ENDINGS))
        yield tell("problem", "empty_folder", field, folder=source.folder, endings=endings)
        return
    if source.unused:
        yield tell("warning", "unused_settings", "data.folder", where=where, names=named(source.unused))
    layout = folder.layout
    code = f"layout_{layout.kind}"
    concepts = sum(bool(concept.name) for concept in layout.concepts.values())
    yield tell("ok", code, "data.folder", where=where, n=len(folder.pictures), concepts=concepts)


def _unreadable(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    captions = [bad for bad in scan.bad if bad.reason.startswith(IN_CAPTION)]
    pictures = [bad for bad in scan.bad if not bad.reason.startswith(IN_CAPTION)]
    if config.data.skip_bad and scan.pictures:
        if scan.bad:
            names = _reasons(scan.bad)
            yield tell("warning", "bad_left_out", "data.skip_bad", show("bad"), n=len(scan.bad), names=names)
        return
    # without any picture that is left, going on would not help
    fix = change("skip_bad", {"data.skip_bad": True}) if scan.pictures else show("bad")
    for code, bad in (("bad_pictures", pictures), ("bad_captions", captions)):
        if bad:
            yield tell("problem", code, "data.folder", fix, n=len(bad), names=_reasons(bad))


def _reasons(bad: Iterable[BadFile]) -> Reasons:
    return Reasons(tuple((one.path.name, one.reason) for one in bad))


def _leftovers(config: TrainConfig, folders: tuple[FolderScan, ...]) -> Iterator[Finding]:
    if orphans := [name for folder in folders for name in folder.orphans]:
        yield tell("warning", "orphans", "data.folder", show("bad"), n=len(orphans), names=named(orphans))
    if clashes := [" = ".join(names) for folder in folders for names in folder.clashes]:
        yield tell("warning", "shared_caption", "data.folder", n=len(clashes), names=named(clashes))
    if clips := sum(len(folder.clips) for folder in folders):
        family = catalog.FAMILIES[config.model.family].title
        yield tell("warning", "clips", "data.folder", n=clips, family=family)


def _tables(folders: tuple[FolderScan, ...]) -> Iterator[Finding]:
    layouts = [folder.layout for folder in folders]
    if missing := sum(layout.missing_count for layout in layouts):
        names = named(name for layout in layouts for name in layout.missing)
        yield tell("warning", "table_missing", "data.folder", n=missing, names=names)
    if faults := sum(layout.fault_count for layout in layouts):
        names = named((fault for layout in layouts for fault in layout.faults), "; ")
        yield tell("warning", "table_faults", "data.folder", n=faults, names=names)
    if both := sum(folder.both for folder in folders):
        yield tell("warning", "two_captions", "data.folder", n=both)
