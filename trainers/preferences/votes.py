"""Votes: a log that only grows. What counts follows from replaying it; nothing in it is ever changed."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainers.preferences.lines import Tail, append

Side = Literal["a", "b"]
Choice = Literal["a", "b", "tie", "both_bad", "skip"]
RANKED = "ranked"  # aspect of votes that one look at several pictures gave: how many
OPEN = "scores_shown"  # aspect of a vote that was not blind
CHOICES: tuple[Choice, ...] = ("a", "b", "tie", "both_bad", "skip")


@dataclass(frozen=True)
class Vote:
    """One answer of one person. choice: in terms of the pair's a and b, never of left and right.

    vote_id: made where the key was pressed, so that sending it again does no harm; left: which picture stood there;
    repeat: the pair came a second time, flipped, to see whether the answer is the same; confidence: 1 to 3, 0 when not
    asked; ms: from both pictures shown to the key; ts: seconds since 1970; undo_of: the vote that this takes back.
    """

    vote_id: str
    pair_id: str
    annotator: str
    choice: Choice
    left: Side
    ms: int = 0
    ts: float = 0.0
    repeat: bool = False
    confidence: int = 0
    aspects: Mapping[str, str] = field(default_factory=dict)
    undo_of: str = ""


def left_of(pair_id: str, annotator: str, *, repeat: bool = False) -> Side:
    """Which picture stands at the left: drawn for pair and person, the other way round when it comes again."""
    drawn = hashlib.sha256(f"{pair_id}\0{annotator}".encode("utf-8", "surrogateescape")).digest()[0] & 1
    return "a" if bool(drawn) != repeat else "b"


class VoteLog:
    """The votes of a set, from any number of people and processes. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self._path, self._tail, self._lock = path, Tail(path), threading.RLock()
        self._votes: dict[str, Vote] = {}
        self._undone: set[str] = set()

    def add(self, vote: Vote) -> bool:
        """Write a vote, or a tombstone, to the disk; False, and nothing is written, if it is there. Raises OSError."""
        return self.add_all([vote]) == 1

    def add_all(self, votes: Iterable[Vote]) -> int:
        """Write those that are not there yet, in one go, and say how many. Raises OSError."""
        with self._lock:
            self._catch_up()
            fresh = {vote.vote_id: vote for vote in votes if vote.vote_id not in self._votes}
            append(self._path, [dataclasses.asdict(vote) for vote in fresh.values()])
            self._catch_up()
            return len(fresh)

    def undo(self, vote_id: str, annotator: str, *, tombstone_id: str, ts: float) -> bool:
        """Take back a vote of this person; False when there is no such vote that stands."""
        with self._lock:
            self._catch_up()
            vote = self._votes.get(vote_id)
            if vote is None or vote.undo_of or vote.annotator != annotator or vote_id in self._undone:
                return False
            grave = dataclasses.replace(vote, vote_id=tombstone_id, undo_of=vote_id, ts=ts, ms=0)
            return self.add(grave)

    def events(self) -> list[Vote]:
        """Everything in the log, in order, tombstones and votes that were taken back too."""
        with self._lock:
            self._catch_up()
            return list(self._votes.values())

    def standing(self) -> list[Vote]:
        """The votes that count, in order: of each person, pair and showing the last one that was not taken back."""
        with self._lock:
            self._catch_up()
            last: dict[tuple[str, str, bool], Vote] = {}
            for vote in self._votes.values():
                if not vote.undo_of and vote.vote_id not in self._undone:
                    key = (vote.annotator, vote.pair_id, vote.repeat)
                    last.pop(key, None)  # so that the order is that of the votes that count
                    last[key] = vote
            return list(last.values())

    def _catch_up(self) -> None:
        for record in self._tail.fresh():
            vote = _vote(record)
            if vote is None or vote.vote_id in self._votes:
                continue
            self._votes[vote.vote_id] = vote
            if vote.undo_of:
                self._undone.add(vote.undo_of)


def _vote(record: Mapping[str, Any]) -> Vote | None:
    """None for a line that is no vote."""
    known = {one.name: record[one.name] for one in dataclasses.fields(Vote) if one.name in record}
    if {"vote_id", "pair_id", "annotator", "choice", "left"} - known.keys() or known["choice"] not in CHOICES:
        return None
    return Vote(**known)
