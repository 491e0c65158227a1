"""What the panel shows of one picture."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from app.services.gallery import shapes
from app.services.gallery.collection import Collection
from app.services.gallery.context import Context
from app.services.gallery.item import Item
from trainers.data import captions, tokens
from trainers.data.decode import DECODE_ERRORS, open_picture
from trainers.data.detail import detail_place
from trainers.data.tags import is_tags
from trainers.data.text import lines_of

TEXTS = 4  # of those that training will see
DETAIL_PX = 256  # enough to find the part with the most detail
CENTRE = (0.5, 0.5)

Record = dict[str, Any]


def detail(collection: Collection, item: Item, context: Context) -> Record:
    """As `Gallery.detail` gives it."""
    entry, text = item.entry, item.text or ""
    return {
        "pid": item.pid,
        "name": item.name,
        "width": entry.width,
        "height": entry.height,
        "bytes": entry.size,
        "caption": shown(text),
        "stamp": stamp_of(entry.caption),
        "caption_file": collection.caption_path(item).name,
        "beside": item.from_table,
        "locked": item.locked or collection.place.locked,
        "tags": item.tags,
        "prose": not is_tags(text),
        "tokens": counts(text, context),
        "flags": list(collection.flags(context).get(item.pid, ())),
        "reason": item.reason,
        "group": collection.group(item.pid),
        "url": item.picture_url(collection.id),
        "thumb": item.thumb_url(collection.id),
        "cuts": [] if entry.error else shapes.cuts(item, context, _place(collection, item, context)),
        "texts": _texts(collection, item, context),
    }


def shown(text: str) -> str:
    """A caption as the editor shows it: without the line end that files close with."""
    return text.rstrip("\n")


def stamp_of(text: str | None) -> str:
    """Tells one text of a caption file from another; empty when there is no file."""
    return "" if text is None else hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def counts(text: str, context: Context) -> list[Record]:
    """Tokens of a caption for each encoder; of several lines that are captions of their own, those of the longest."""
    lines = lines_of(text)
    texts = lines if len(lines) > 1 and context.captions.lines != "join" else (shown(text),)
    found = []
    for encoder in tokens.encoders(context.base, context.family):
        lengths = encoder.lengths(texts)
        longest = texts[lengths.index(max(lengths))]
        count = encoder.count(longest)
        before = tokens.units(text[: text.find(longest)])
        found.append({**asdict(count), "chunks": [place + before for place in count.chunks]})
    return found


def _place(collection: Collection, item: Item, context: Context) -> shapes.Place:
    """Where the window of a bucket lies. A random crop is shown at the centre."""
    if context.crop != "detail":
        return lambda bucket: CENTRE
    try:
        picture = open_picture(collection.folder / item.name, at_least=DETAIL_PX)
    except DECODE_ERRORS:  # damaged or gone since it was read
        return lambda bucket: CENTRE
    return lambda bucket: detail_place(picture, bucket)


def _texts(collection: Collection, item: Item, context: Context) -> list[str]:
    stand_in = captions.stand_in(item.concept, collection.folder.name, context.captions)
    lines = None if item.text is None else item.lines
    return list(captions.variants(lines, context.captions, stand_in)[:TEXTS])
