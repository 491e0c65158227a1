"""What an import has found so far, and how it gets into a set: once, however often the same source comes. Light."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from trainers.data.decode import DECODE_ERRORS, PICTURE_ENDINGS, read_header, reason_of
from trainers.data.tables import HALF_LETTER
from trainers.preferences.formats.places import Places, UnusableError
from trainers.preferences.prefset import (
    Auto,
    Pair,
    Picture,
    Prefset,
    Score,
    Source,
    image_id_of,
    make_pair,
    prompt_id_of,
)
from trainers.preferences.votes import Choice, Side, Vote, left_of

IMPORTER = "import"
MAX_FAULTS = 1000  # lines that are kept; a file of another kind would give one for each of its rows
SIGNATURES = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"RIFF", ".webp"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


Record = TypeVar("Record", Picture, Pair, Score, Vote)


@dataclass(frozen=True)
class Imported:
    """What an import added, and what it left out, a line each ("pairs.jsonl, line 3: a.png is not there")."""

    format: str
    prompts: int = 0
    pictures: int = 0
    pairs: int = 0
    votes: int = 0
    scores: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    absolute: pictures outside of its folder may be read, where it names them by absolute paths; copy: pictures are
    copied into the set, else they stay where they are; annotator: whose votes these are, where the source does not say.
    """

    absolute: bool = False
    copy: bool = True
    annotator: str = IMPORTER


@dataclass
class Incoming:
    """Gathers prompts, pictures, pairs, scores and votes; `save` writes down what the set lacks.

    Pictures are copied as they come, under a name that follows from their content, so an import that was cut off leaves
    files that the next one finds. Methods raise UnusableError for what cannot be taken over.
    """

    prefset: Prefset
    root: Path
    reading: Reading
    faults: list[str] = field(default_factory=list)
    _prompts: dict[str, tuple[str, str]] = field(default_factory=dict)
    _pictures: dict[tuple[str, str], Picture] = field(default_factory=dict)
    _pairs: dict[str, Pair] = field(default_factory=dict)
    _scores: dict[tuple[str, str, str], Score] = field(default_factory=dict)
    _votes: dict[tuple[str, str, bool], Vote] = field(default_factory=dict)
    _ready: list[Vote] = field(default_factory=list)
    _files: dict[Path, tuple[str, str, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = Places(self.root, self.reading.absolute)

    def fault(self, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(text)

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """What is wrong within becomes a line that begins with the name."""
        try:
            yield
        except UnusableError as error:
            self.fault(f"{name}: {error}")

    # ------------------------------------------------------------------ gathering

    def prompt(self, text: Any, negative: str = "") -> str:
        """The id of the prompt."""
        if not isinstance(text, str) or not text.strip():
            raise UnusableError("no prompt")
        if HALF_LETTER.search(text) or HALF_LETTER.search(negative):
            raise UnusableError("its prompt has a broken letter")
        prompt_id = prompt_id_of(text, negative)
        self._prompts[prompt_id] = (text, negative)
        return prompt_id

    def picture(
        self, prompt_id: str, name: Any, base: Path, source: Source, gen: Mapping[str, Any] | None = None
    ) -> str:
        """The id of the picture in the file `name` of the folder `base`."""
        if not isinstance(name, str):
            raise UnusableError("no file name")
        path = self.places.find(name, base)
        if path not in self._files:
            self._files[path] = self._taken(path, name)
        image_id, kept, width, height = self._files[path]
        return self._note(Picture(image_id, prompt_id, kept, width, height, source, gen or {}))

    def picture_of(self, prompt_id: str, data: bytes, source: Source, gen: Mapping[str, Any] | None = None) -> str:
        """The id of a picture that comes as the bytes of a file."""
        image_id, kept, width, height = self._copied(data, "", "the picture")
        return self._note(Picture(image_id, prompt_id, kept, width, height, source, gen or {}))

    def _note(self, picture: Picture) -> str:
        self._pictures.setdefault((picture.prompt_id, picture.image_id), picture)
        return picture.image_id

    def _taken(self, path: Path, name: str) -> tuple[str, str, int, int]:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UnusableError(f"{name}: {reason_of(error)}") from error
        if self.reading.copy:
            return self._copied(data, path.suffix.lower(), name)
        width, height = _size(path, name)
        return image_id_of(data), str(path), width, height

    def _copied(self, data: bytes, suffix: str, name: str) -> tuple[str, str, int, int]:
        """Id, path relative to the set, width, height. The bytes stay as they are: nothing is encoded again."""
        image_id = image_id_of(data)
        if suffix not in PICTURE_ENDINGS:
            suffix = next((ending for start, ending in SIGNATURES if data.startswith(start)), ".png")
        kept = f"images/{image_id[:32]}{suffix}"
        target = self.prefset.folder / kept
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._place(data, target, name)
        return image_id, kept, *_size(target, name)

    def _place(self, data: bytes, target: Path, name: str) -> None:
        """Look at the picture before it gets its name: a broken one leaves nothing behind."""
        handle, unfinished = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=target.suffix)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            _size(Path(unfinished), name)
            os.chmod(unfinished, 0o644)  # mkstemp gives the owner alone access
            os.replace(unfinished, target)
        finally:
            Path(unfinished).unlink(missing_ok=True)

    def pair(self, prompt_id: str, one: str, other: str, auto: Callable[[Pair], Auto] | None = None) -> Pair:
        """The pair of two image ids. auto: what the scores say of it, where the source knows."""
        if one == other:
            raise UnusableError("both pictures are the same")
        pair = make_pair(one, other, prompt_id, "import")
        if auto is not None:
            pair = make_pair(one, other, prompt_id, "import", auto(pair))
        return self._pairs.setdefault(pair.pair_id, pair)

    def vote(self, pair: Pair, choice: Choice, annotator: str, *, left: Side | None = None, ts: float = 0.0) -> None:
        """A second one of the same person about the same pair is taken for the showing that comes again, flipped.

        left: as drawn, where the source does not say.
        """
        key = (annotator, pair.pair_id)
        repeat = (*key, False) in self._votes
        left = left or left_of(pair.pair_id, annotator, repeat=repeat)
        self._votes[(*key, repeat)] = Vote("", pair.pair_id, annotator, choice, left, ts=ts, repeat=repeat)

    def vote_as_is(self, vote: Vote) -> None:
        """A line of another set's log."""
        self._ready.append(vote)

    def pair_as_is(self, pair: Pair) -> None:
        self._pairs.setdefault(pair.pair_id, pair)

    def score(self, score: Score) -> None:
        self._scores[score.scorer, score.prompt_id, score.image_id] = score

    # ------------------------------------------------------------------ writing down

    def save(self, format: str) -> Imported:
        """Raises OSError."""
        into = self.prefset
        before = _counts(into)
        into.add_prompts(self._prompts.values())
        into.add_pictures(self._storable(self._pictures.values()))
        into.add_pairs(self._storable(pair for pair in self._pairs.values() if self._is_news(pair)))
        into.add_scores(self._storable(score for key, score in self._scores.items() if key not in into.scores))
        votes = into.votes.add_all(self._storable([*self._ready, *self._new_votes()]))
        added = {name: after - before[name] for name, after in _counts(into).items()}
        return Imported(format, **added, votes=votes, faults=tuple(self.faults))

    def _storable(self, records: Iterable[Record]) -> Iterator[Record]:
        """Without those that hold what JSON has no word for, as a score that is no number."""
        for record in records:
            try:
                json.dumps(dataclasses.asdict(record), allow_nan=False)
            except (ValueError, TypeError):
                self.fault(f"{type(record).__name__.lower()} left out: a value of it is no number")
            else:
                yield record

    def _is_news(self, pair: Pair) -> bool:
        known = self.prefset.pairs.get(pair.pair_id)
        return known is None or (known.auto is None and pair.auto is not None)

    def _new_votes(self) -> Iterator[Vote]:
        """Those that say something else than the log's last word of that person on that pair.

        One that was imported and taken back since stays taken back.
        """
        last: dict[tuple[str, str, bool], tuple[Choice, int]] = {}
        for event in self.prefset.votes.events():
            key = (event.annotator, event.pair_id, event.repeat)
            if not event.undo_of:
                last[key] = (event.choice, last[key][1] + 1 if key in last else 1)
        for key, vote in self._votes.items():
            choice, number = last.get(key, ("", 0))
            if vote.choice != choice:
                text = "\0".join(["import", vote.annotator, vote.pair_id, str(vote.repeat), str(number)])
                vote_id = hashlib.sha1(text.encode("utf-8", "surrogateescape")).hexdigest()
                yield dataclasses.replace(vote, vote_id=vote_id)


def sides_of(pair: Pair, winner: str) -> tuple[Side, Side]:
    """The sides of the winner, an image id, and of the other."""
    return ("a", "b") if winner == pair.a else ("b", "a")


def number_of(value: Any) -> float | None:
    """A value of JSON as a number; None when it is none, or no finite one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON knows whole numbers of any length
        return None


def _counts(prefset: Prefset) -> dict[str, int]:
    pictures = sum(len(prefset.pictures_of(prompt_id)) for prompt_id in prefset.prompts)
    found = {"prompts": len(prefset.prompts), "pictures": pictures, "pairs": len(prefset.pairs)}
    return found | {"scores": len(prefset.scores)}


def _size(path: Path, name: str) -> tuple[int, int]:
    try:
        header = read_header(path)
    except DECODE_ERRORS as error:
        raise UnusableError(f"{name}: {reason_of(error)}") from error
    return header.width, header.height
