"""Findings about captions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from trainers.config import Captions, TrainConfig
from trainers.data import epoch, tokens
from trainers.data.folder import Lines, Picture, Scan
from trainers.data.lengths import too_long
from trainers.data.wildcards import has_choices
from trainers.preflight.finding import Finding, Fix, change, named, show, tell

NO_CAPTION = show("no_caption")


def of_captions(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    missing = [picture for picture in scan.pictures if picture.lines is None]
    empty = [picture for picture in scan.pictures if picture.lines == ()]
    if missing:
        yield _missing(config, scan, missing)
    if empty:
        names = named(picture.name for picture in empty)
        yield tell("warning", "empty_caption", "data.folder", NO_CAPTION, n=len(empty), names=names)
    if not missing and not empty:
        yield tell("ok", "captions", "data.folder")
    yield from _trigger(config, scan)
    yield from _too_long(config, scan)
    yield from _lines(config, scan)
    yield from _choices(config, scan)


def _missing(config: TrainConfig, scan: Scan, missing: list[Picture]) -> Finding:
    texts = dict.fromkeys(epoch.wording(picture, scan.sources, config.captions)[1] for picture in missing)
    if not any(texts):
        fix = NO_CAPTION if len(missing) < len(scan.pictures) else _folder_names()
        return tell("warning", "no_caption", "captions.trigger", fix, n=len(missing))
    text = named(f"'{text}'" for text in texts if text)
    return tell("warning", "stand_in", "captions.fallback", NO_CAPTION, n=len(missing), text=text)


def _folder_names() -> Fix:
    return change("folder_names", {"captions.fallback": "folder"})


def _trigger(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    """What is not taught has no trigger word."""
    trigger = config.captions.trigger
    around = config.captions.prefix + config.captions.suffix
    if not trigger or trigger.lower() in around.lower():
        return
    taught = (picture for picture in scan.pictures if not epoch.is_prior(picture, scan.sources))
    # one that lacks it in some of its lines is one caption, as it is one file to mend
    lacking = sum(any(trigger.lower() not in line.lower() for line in picture.lines or ()) for picture in taught)
    if lacking:
        yield tell("warning", "no_trigger", "captions.trigger", show("no_trigger"), n=lacking, trigger=trigger)


def _too_long(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    """What the encoder that reads most does not read. The others are made for the first words alone."""
    found = tuple(picture.lines for picture in scan.pictures)
    encoder, places = cut_off(found, config.captions, config.model.base, config.model.family)
    if places:
        names = named(scan.pictures[place].name for place in places)
        said = {"encoder": encoder.title, "limit": encoder.limit, "names": names}
        yield tell("warning", "too_long", "data.folder", show("too_long"), n=len(places), **said)


@lru_cache(8)  # a form asks again at every change of a setting
def cut_off(found: tuple[Lines, ...], config: Captions, base: str, family: str) -> tuple[tokens.Encoder, list[int]]:
    """The encoder that reads most, and the places of captions that it reads in part."""
    encoder = tokens.encoders(base, family)[-1]
    return encoder, too_long(found, config, encoder)


def _lines(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    if several := sum(len(picture.lines or ()) > 1 for picture in scan.pictures):
        yield tell("ok", f"lines_{config.captions.lines}", "captions.lines", n=several)


def _choices(config: TrainConfig, scan: Scan) -> Iterator[Finding]:
    number = sum(any(map(has_choices, picture.lines or ())) for picture in scan.pictures)
    if number and config.captions.wildcards:
        yield tell("ok", "choices", "captions.wildcards", n=number)
    elif number:
        fix = change("draw_choices", {"captions.wildcards": True})
        yield tell("warning", "choices_off", "captions.wildcards", fix, n=number)
