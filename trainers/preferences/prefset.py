"""A preference set on disk, schema `prefset.v1`: prompts, pictures, pairs, scores and votes, each a file that grows.

FOLDER/  set.json  prompts.jsonl  images.jsonl  pairs.jsonl  scores.jsonl  votes.jsonl  images/  export/

Nothing in it says which picture of a pair is better: that follows from the votes, whenever it is asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from trainers.errors import DataError
from trainers.preferences.lines import Tail, append
from trainers.preferences.votes import VoteLog
from trainers.rundir import write_atomic

SCHEMA = "prefset.v1"
Source = Literal["generated", "real", "external"]
Origin = Literal["auto", "queue", "bt", "compare", "import"]


@dataclass(frozen=True)
class Prompt:
    """What pictures were made for."""

    prompt_id: str
    prompt: str
    negative: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture of a prompt.

    image_id: SHA-256 of the file's bytes; path: relative to the set, or absolute for one that lies elsewhere; gen: how
    it was made (base, base_hash, adapters [{path, hash, scale}], seed, sampler, steps, cfg, shift, vae_hash, created,
    role), empty for one that was not.
    """

    image_id: str
    prompt_id: str
    path: str
    w: int
    h: int
    source: Source = "generated"
    gen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Auto:
    """What the scores say of a pair. winner: a | b | tie; margin: of the combined score; agree: share of the scorers
    that have an opinion and are of this one, in [0, 1]."""

    winner: str
    margin: float
    agree: float


@dataclass(frozen=True)
class Pair:
    """Two pictures of one prompt to compare. a and b are image ids in ascending order."""

    pair_id: str
    prompt_id: str
    a: str
    b: str
    origin: Origin = "auto"
    auto: Auto | None = None


@dataclass(frozen=True)
class Score:
    """What one scorer says of one picture for its prompt. v: None where the scorer does not apply."""

    image_id: str
    prompt_id: str
    scorer: str
    version: str
    v: float | None


def prompt_id_of(prompt: str, negative: str = "") -> str:
    return hashlib.sha1(f"{prompt}\0{negative}".encode("utf-8", "surrogateescape")).hexdigest()[:16]


def image_id_of(data: bytes) -> str:
    """Of the bytes of a picture's file."""
    return hashlib.sha256(data).hexdigest()


def pair_id_of(one: str, other: str, prompt_id: str) -> str:
    """The same for both orders."""
    return hashlib.sha1("\0".join([prompt_id, *sorted((one, other))]).encode()).hexdigest()


def make_pair(one: str, other: str, prompt_id: str, origin: Origin, auto: Auto | None = None) -> Pair:
    """A pair of two image ids. auto speaks of the pair's own a and b, which are the ids in ascending order."""
    a, b = sorted((one, other))
    return Pair(pair_id_of(a, b, prompt_id), prompt_id, a, b, origin, auto)


R = TypeVar("R")


class Prefset:
    """The set in a folder. Reading follows what other processes append; call `refresh` to see it. Not thread-safe.

    prompts, pictures (by image id), pairs and scores (by (scorer, prompt id, image id)) are in the order of the files;
    of pairs and scores with the same key the last counts.
    """

    def __init__(self, folder: Path) -> None:
        """Raises DataError when the folder holds no set of this schema."""
        self.folder = folder
        try:
            schema = json.loads((folder / "set.json").read_text(encoding="utf-8")).get("schema")
        except (OSError, ValueError, AttributeError) as error:
            message = f"{folder} holds no preference set."
            raise DataError(message, "Make one with `pairs generate` or `pairs import`.") from error
        if schema != SCHEMA:
            raise DataError(f"{folder} is a preference set of schema {schema!r}.", f"Atelier reads {SCHEMA}.")
        self.prompts: dict[str, Prompt] = {}
        self.pictures: dict[str, Picture] = {}
        self.pairs: dict[str, Pair] = {}
        self.scores: dict[tuple[str, str, str], Score] = {}
        self._of_prompt: dict[str, dict[str, Picture]] = {}
        self._tails = {name: Tail(self._file(name)) for name in ("prompts", "images", "pairs", "scores")}
        self.refresh()

    @staticmethod
    def create(folder: Path) -> Prefset:
        """The set in this folder, made if there is none. Raises OSError."""
        if not (folder / "set.json").exists():
            (folder / "images").mkdir(parents=True, exist_ok=True)
            write_atomic(folder / "set.json", json.dumps({"schema": SCHEMA, "created": round(time.time(), 3)}))
        return Prefset(folder)

    @cached_property
    def votes(self) -> VoteLog:
        return VoteLog(self._file("votes"))

    @property
    def images_dir(self) -> Path:
        return self.folder / "images"

    @property
    def export_dir(self) -> Path:
        return self.folder / "export"

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    # ------------------------------------------------------------------ reading

    def refresh(self) -> None:
        """Read what was appended since, by whomever."""
        for record in self._tails["prompts"].fresh():
            prompt = Prompt(**_known(Prompt, record) | {"tags": tuple(record.get("tags") or ())})
            self.prompts.setdefault(prompt.prompt_id, prompt)
        for record in self._tails["images"].fresh():
            self._take_picture(Picture(**_known(Picture, record)))
        for record in self._tails["pairs"].fresh():
            auto = record.get("auto")
            pair = Pair(**_known(Pair, record) | {"auto": Auto(**_known(Auto, auto)) if auto else None})
            self.pairs[pair.pair_id] = pair
        for record in self._tails["scores"].fresh():
            score = Score(**_known(Score, record))
            self.scores[score.scorer, score.prompt_id, score.image_id] = score

    def _take_picture(self, picture: Picture) -> None:
        self.pictures.setdefault(picture.image_id, picture)
        self._of_prompt.setdefault(picture.prompt_id, {}).setdefault(picture.image_id, picture)

    def pictures_of(self, prompt_id: str) -> list[Picture]:
        """All pictures of a prompt, in the order in which they came."""
        return list(self._of_prompt.get(prompt_id, {}).values())

    def path(self, image_id: str) -> Path:
        """Where a picture lies. Raises KeyError for one that is not in the set."""
        return self.folder / self.pictures[image_id].path

    def scorers(self) -> list[str]:
        """Names of the scorers that have said something, in the order in which they came."""
        return list(dict.fromkeys(scorer for scorer, _, _ in self.scores))

    # ------------------------------------------------------------------ writing

    def add_prompts(self, prompts: Iterable[tuple[str, str]]) -> list[Prompt]:
        """The prompts of these (prompt, negative); those that are new are written down."""
        wanted = [Prompt(prompt_id_of(text, negative), text, negative) for text, negative in prompts]
        fresh = {prompt.prompt_id: prompt for prompt in wanted if prompt.prompt_id not in self.prompts}
        self._append("prompts", fresh.values())
        return [self.prompts[prompt.prompt_id] for prompt in wanted]

    def add_pictures(self, pictures: Iterable[Picture]) -> None:
        """Write down pictures whose files are there; one that the prompt has already is passed over."""
        fresh = {(one.prompt_id, one.image_id): one for one in pictures}
        known = {(prompt, image) for prompt, found in self._of_prompt.items() for image in found}
        self._append("images", [one for key, one in fresh.items() if key not in known])

    def add_pairs(self, pairs: Iterable[Pair]) -> None:
        """Write down pairs that are new or whose scores say something else now."""
        self._append("pairs", [pair for pair in pairs if self.pairs.get(pair.pair_id) != pair])

    def add_scores(self, scores: Iterable[Score]) -> None:
        self._append("scores", scores)

    def _append(self, name: str, records: Iterable[Any]) -> None:
        append(self._file(name), [dataclasses.asdict(record) for record in records])
        self.refresh()


def _known(kind: type[Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this version knows; a newer one may have written more."""
    return {one.name: record[one.name] for one in dataclasses.fields(kind) if one.name in record}
