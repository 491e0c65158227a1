"""How many tokens a caption has for the text encoders of a model."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trainers import catalog
from trainers.paths import ASSETS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

FOLDER = ASSETS / "tokenizers"
REMEMBERED = 2**18  # texts whose counts an encoder keeps


@dataclass(frozen=True)
class TokenCount:
    """n, limit: without the begin and end marks; chunks: where in the text, in UTF-16 units as JavaScript counts them,
    each further `limit` tokens begin. The encoder stops reading at the first."""

    encoder: str
    n: int
    limit: int
    chunks: tuple[int, ...]


@dataclass(frozen=True)
class Encoder:
    """A text encoder as far as counting goes. limit: tokens that it reads, without the marks. Safe from any thread."""

    title: str
    limit: int
    tokenizer: Tokenizer
    _known: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def count(self, text: str) -> TokenCount:
        found = self.tokenizer.encode(_whole(text), add_special_tokens=False)
        starts = (found.offsets[place][0] for place in range(self.limit, len(found.ids), self.limit))
        return TokenCount(self.title, len(found.ids), self.limit, tuple(units(text[:start]) for start in starts))

    def lengths(self, texts: Iterable[str]) -> list[int]:
        """Tokens of each text; much faster than one by one, and remembered."""
        wanted = [*texts]
        counts = {text: self._known.get(text, -1) for text in wanted}
        new = [text for text, count in counts.items() if count < 0]
        found = self.tokenizer.encode_batch_fast([_whole(text) for text in new], add_special_tokens=False)
        fresh = {text: len(one.ids) for text, one in zip(new, found, strict=True)}
        if len(self._known) + len(fresh) > REMEMBERED:
            self._known.clear()
        self._known.update(fresh)
        counts.update(fresh)
        return [counts[text] for text in wanted]


def _whole(text: str) -> str:
    """Without halves of a sign, as JSON may hold them: the package refuses such a text."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def units(text: str) -> int:
    """Length in UTF-16 units, as JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@cache
def encoders(base: str, family: str) -> tuple[Encoder, ...]:
    """The text encoders of a model of a resolved config; the last is the one that reads every word."""
    model = catalog.model_of(base, family)
    folder = Path(catalog.source_of(base))
    return tuple(_encoder(spec, model.text_tokens, folder) for spec in catalog.FAMILIES[family].text_encoders)


def _encoder(spec: catalog.TextEncoder, text_tokens: int, model: Path) -> Encoder:
    tokens = spec.tokens or text_tokens
    own = _own(model / spec.subfolder) if model.is_absolute() else None
    if own:
        tokens = min(tokens, _own_limit(model / spec.subfolder, tokens))
    tokenizer = own or shared(spec.tokenizer)
    return Encoder(spec.title, tokens - tokenizer.num_special_tokens_to_add(False), tokenizer)


@cache
def shared(name: str) -> Tokenizer:
    """A tokenizer of assets/tokenizers."""
    from tokenizers import Tokenizer  # takes time, and most pages count nothing

    return Tokenizer.from_str(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()).decode())


def _own(folder: Path) -> Tokenizer | None:
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises nothing more precise
        log.warning("%s cannot be read (%s): tokens are counted with another one", file, error)
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _own_limit(folder: Path, otherwise: int) -> int:
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return int(settings["model_max_length"])
    except (OSError, ValueError, KeyError, TypeError):
        return otherwise
