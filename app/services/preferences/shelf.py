"""The preference sets as the page lists them, and the pictures of one by prompt."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.services import files
from app.services.gallery.service import SHOWN_BY_BROWSERS
from app.services.preferences.sets import Sets
from trainers.data.decode import PICTURE_ENDINGS
from trainers.errors import DataError
from trainers.preferences.prefset import Picture, Prefset

FILES = ("prompts", "images", "pairs", "scores", "votes")
PAGE = 40  # prompts of one answer
SHOWN_OF_A_PROMPT = 32

Record = dict[str, Any]


def thumb_url(name: str, image_id: str) -> str:
    return f"/thumb/set/{quote(name)}/{image_id}"


def picture_url(name: str, image_id: str) -> str:
    return f"/file/set/{quote(name)}/{image_id}"


class Shelf:
    """Safe from any thread. Every method that takes a name raises DataError for one of no set."""

    def __init__(self, sets: Sets, cache: Path) -> None:
        self._sets, self._cache = sets, cache
        self._lock = threading.Lock()
        self._cards: dict[str, Record] = {}

    def all(self) -> list[Record]:
        """[{name, prompts, pictures, pairs, votes, used: seconds since 1970, thumb, rev}], the last used first."""
        found = [card for name in self._sets.names() if (card := self._card_or_none(name))]
        return sorted(found, key=lambda card: -card["used"])

    def create(self, name: str) -> None:
        """Make an empty set. Raises DataError for a name that is taken."""
        path = self._sets.path(name)
        if (path / "set.json").exists():
            raise DataError(f"A set named {name!r} exists.", "Choose another name.")
        Prefset.create(path)

    def _card_or_none(self, name: str) -> Record | None:
        """None for a set that cannot be read: one must not hide the others."""
        try:
            return self.card(name)
        except (DataError, OSError):
            return None

    def card(self, name: str) -> Record:
        """A line of `all`; read again when a file of the set has changed."""
        rev, used = self._changed(self._sets.path(name))
        with self._lock:
            known = self._cards.get(name)
        if known and known["rev"] == rev:
            return known
        with self._sets.opened(name) as prefset:
            newest = next(reversed(prefset.pictures.values()), None)
            card = {
                "name": name,
                "prompts": len(prefset.prompts),
                "pictures": len(prefset.pictures),
                "pairs": len(prefset.pairs),
                "votes": sum(vote.choice != "skip" for vote in prefset.votes.standing()),
                "used": used,
                "thumb": thumb_url(name, newest.image_id) if newest else "",
                "rev": rev,
            }
        with self._lock:
            self._cards[name] = card
        return card

    @staticmethod
    def _changed(folder: Path) -> tuple[str, float]:
        """(what moves with every change of a set, when it was used last)."""
        sizes, times = [], [(folder / "set.json").stat().st_mtime if (folder / "set.json").exists() else 0.0]
        for name in FILES:
            try:
                status = (folder / f"{name}.jsonl").stat()
            except FileNotFoundError:
                sizes.append(0)
                continue
            sizes.append(status.st_size)
            times.append(status.st_mtime)
        return "-".join(f"{size:x}" for size in sizes), round(max(times), 3)

    def open(self, name: str) -> Record:
        """{name, rev, prompts, pictures, comparable: prompts with two pictures or more, pairs, auto: {winner, tie,
        none}, decided: pairs that votes say something of, votes, annotators: {name: votes}, scored: {scorer: pictures},
        bases: {base: pictures}, to_compare: pairs of a comparison, folder}."""
        card = self.card(name)
        with self._sets.opened(name) as prefset:
            standing = [vote for vote in prefset.votes.standing() if not vote.repeat]
            decided = {vote.pair_id for vote in standing if vote.choice in ("a", "b")}
            origins = Counter(pair.origin for pair in prefset.pairs.values())
            scored = Counter(key[0] for key, score in prefset.scores.items() if score.v is not None)
            bases = Counter(str(one.gen.get("base") or "") for one in prefset.pictures.values())
            comparable = sum(len(prefset.pictures_of(prompt)) > 1 for prompt in prefset.prompts)
            return {
                **{key: card[key] for key in ("name", "rev", "prompts", "pictures", "pairs", "votes")},
                "comparable": comparable,
                "auto": _by_auto(prefset),
                "decided": len(decided),
                "annotators": dict(Counter(vote.annotator for vote in standing)),
                "scored": dict(scored),
                "bases": {base: count for base, count in bases.most_common() if base},
                "to_compare": origins["compare"],
                "folder": str(prefset.folder),
            }

    def page(self, name: str, first: int, count: int = PAGE) -> Record:
        """{total, first, prompts: [{prompt, negative, pictures: [[id, thumb, url, scores: {scorer: value}]], more}]},
        those with the newest pictures first."""
        with self._sets.opened(name) as prefset:
            newest = dict.fromkeys(one.prompt_id for one in reversed(prefset.pictures.values()))
            order = [prompt_id for prompt_id in newest if prompt_id in prefset.prompts]
            shown = order[first : first + min(count, PAGE)]
            scorers = prefset.scorers()
            prompts = [self._prompt(name, prefset, prompt_id, scorers) for prompt_id in shown]
        return {"total": len(order), "first": first, "prompts": prompts}

    @staticmethod
    def _prompt(name: str, prefset: Prefset, prompt_id: str, scorers: list[str]) -> Record:
        prompt, pictures = prefset.prompts[prompt_id], prefset.pictures_of(prompt_id)

        def scores(one: Picture) -> dict[str, float]:
            found = {scorer: prefset.scores.get((scorer, prompt_id, one.image_id)) for scorer in scorers}
            return {scorer: score.v for scorer, score in found.items() if score and score.v is not None}

        shown = pictures[:SHOWN_OF_A_PROMPT]
        return {
            "prompt": prompt.prompt,
            "negative": prompt.negative,
            "pictures": [
                [one.image_id, thumb_url(name, one.image_id), picture_url(name, one.image_id), scores(one)]
                for one in shown
            ],
            "more": len(pictures) - len(shown),
        }

    def shown(self, name: str, image_id: str) -> tuple[Path, str]:
        """A file that browsers can show, and its media type: the picture, or a WebP of it. Raises as `thumbnail`."""
        path = self._picture(name, image_id)
        if media_type := SHOWN_BY_BROWSERS.get(path.suffix.lower()):
            return path, media_type
        return files.thumbnail(path, self._cache, files.SHOWN_PX), "image/webp"

    def thumbnail(self, name: str, image_id: str) -> Path:
        """A small WebP of a picture. Raises DataError for one that is not in the set, or one of DECODE_ERRORS."""
        return files.thumbnail(self._picture(name, image_id), self._cache, files.GALLERY_PX)

    def _picture(self, name: str, image_id: str) -> Path:
        with self._sets.opened(name) as prefset:
            path = prefset.path(image_id) if image_id in prefset.pictures else None
        if path is None or path.suffix.lower() not in PICTURE_ENDINGS or not path.is_file():
            raise DataError("There is no such picture.")
        return path


def _by_auto(prefset: Prefset) -> dict[str, int]:
    """Pairs by what the scores say of them."""
    winners = Counter((pair.auto.winner if pair.auto else "none") for pair in prefset.pairs.values())
    return {"winner": winners["a"] + winners["b"], "tie": winners["tie"], "none": winners["none"]}
