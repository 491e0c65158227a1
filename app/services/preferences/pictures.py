"""Addresses of a set's pictures that tell nothing: neither which picture it is, nor who made it, nor its order.

A token is a keyed hash of the picture and of what it is shown in, so the same picture in another pair has another one.
They hold for ever, because they are made anew from the set: nothing is stored but the key.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import threading
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from app.services.files import SHOWN_PX, thumbnail
from app.services.gallery.service import SHOWN_BY_BROWSERS
from app.services.preferences.sets import Sets
from trainers.data.decode import PICTURE_ENDINGS
from trainers.errors import DataError
from trainers.preferences.prefset import Prefset

KEY_FILE = ".key"
KEY_BYTES = 32
TOKEN_BYTES = 16


@dataclass(frozen=True)
class Showing:
    """A pair as it comes before a person: the first time, or flipped."""

    pair_id: str
    repeat: bool


@dataclass
class _Index:
    """What the tokens of a set stand for. seen: how much was in the set when all of them were made."""

    images: dict[str, str] = field(default_factory=dict)
    showings: dict[str, Showing] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    seen: tuple[int, ...] = ()


class Pictures:
    """Tokens and what they stand for. Safe from any thread; a set that is handed in is the caller's alone meanwhile."""

    def __init__(self, sets: Sets) -> None:
        self._sets = sets
        self._lock = threading.Lock()
        self._secret = b""
        self._indexes: WeakKeyDictionary[Prefset, _Index] = WeakKeyDictionary()

    # ------------------------------------------------------------------ tokens

    def of_side(self, prefset: Prefset, showing: Showing, image_id: str) -> str:
        return self._image(prefset, image_id, "side", showing.pair_id, str(showing.repeat))

    def in_group(self, prefset: Prefset, prompt_id: str, image_id: str) -> str:
        """Of a picture among all those of its prompt."""
        return self._image(prefset, image_id, "prompt", prompt_id)

    def of_showing(self, prefset: Prefset, showing: Showing) -> str:
        token = self._token(prefset, "showing", showing.pair_id, str(showing.repeat))
        self._index(prefset).showings[token] = showing
        return token

    def of_group(self, prefset: Prefset, prompt_id: str) -> str:
        token = self._token(prefset, "group", prompt_id)
        self._index(prefset).prompts[token] = prompt_id
        return token

    def showing(self, prefset: Prefset, token: str) -> Showing | None:
        return self._made(prefset, token).showings.get(token)

    def prompt(self, prefset: Prefset, token: str) -> str | None:
        """The prompt whose pictures were shown together under this token."""
        return self._made(prefset, token).prompts.get(token)

    def _image(self, prefset: Prefset, image_id: str, *shown_in: str) -> str:
        token = self._token(prefset, *shown_in, image_id)
        self._index(prefset).images[token] = image_id
        return token

    def _token(self, prefset: Prefset, *parts: str) -> str:
        text = "\0".join((prefset.folder.name, *parts)).encode("utf-8", "surrogateescape")
        return urlsafe_b64encode(hmac.digest(self._key(), text, "sha256")[:TOKEN_BYTES]).rstrip(b"=").decode()

    def _key(self) -> bytes:
        """The secret of this data folder, made when it is first needed. Raises OSError."""
        with self._lock:
            if not self._secret:
                self._secret = _kept_secret(self._sets.folder / KEY_FILE)
            return self._secret

    def _index(self, prefset: Prefset) -> _Index:
        return self._indexes.setdefault(prefset, _Index())

    def _made(self, prefset: Prefset, token: str) -> _Index:
        """The index; with every token that the set can have if this one is not known, as after a restart."""
        index = self._index(prefset)
        known = token in index.images or token in index.showings or token in index.prompts
        seen = (len(prefset.prompts), len(prefset.pictures), len(prefset.pairs))
        if not known and index.seen != seen:
            index.seen = seen
            self._make_all(prefset)
        return index

    def _make_all(self, prefset: Prefset) -> None:
        for prompt_id in prefset.prompts:
            self.of_group(prefset, prompt_id)
            for picture in prefset.pictures_of(prompt_id):
                self.in_group(prefset, prompt_id, picture.image_id)
        for pair in prefset.pairs.values():
            for showing in (Showing(pair.pair_id, False), Showing(pair.pair_id, True)):
                self.of_showing(prefset, showing)
                self.of_side(prefset, showing, pair.a)
                self.of_side(prefset, showing, pair.b)

    # ------------------------------------------------------------------ files

    def shown(self, name: str, token: str, cache: Path) -> tuple[Path, str]:
        """A file that browsers can show, and its media type: the picture, or a WebP of it made in `cache`.

        Raises DataError for a token that stands for none, OSError and what decoding raises for a broken file.
        """
        path = self._path(name, token)
        if media_type := SHOWN_BY_BROWSERS.get(path.suffix.lower()):
            return path, media_type
        return thumbnail(path, cache, SHOWN_PX), "image/webp"

    def _path(self, name: str, token: str) -> Path:
        with self._sets.opened(name) as prefset:
            image_id = self._made(prefset, token).images.get(token)
            path = prefset.path(image_id) if image_id in prefset.pictures else None
        if path is None or path.suffix.lower() not in PICTURE_ENDINGS or not path.is_file():
            raise DataError("There is no such picture.")
        return path


def _kept_secret(file: Path) -> bytes:
    """Only the owner of the data folder can read it: who knows it can tell what a token stands for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(secrets.token_bytes(KEY_BYTES))
            out.flush()
            os.fsync(out.fileno())
    return file.read_bytes()
