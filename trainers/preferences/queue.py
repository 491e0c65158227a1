"""Which pairs a person sees next."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, get_args

from trainers.errors import ConfigError
from trainers.preferences.agreement import DECIDED
from trainers.preferences.prefset import Pair, Prefset
from trainers.preferences.votes import Choice, Side, Vote, left_of

Order = Literal["unseen", "disagreement", "margin", "random"]
ORDERS: tuple[Order, ...] = get_args(Order)
Key = tuple[float, ...]

REPEAT_SHARE = 0.05
LEAST_GAP = 10  # votes between the two showings of a pair
MORE_GAP = 20  # up to so many more, so that nobody can wait for it
MOST_SKIPS = 2  # a pair that was skipped comes once more


@dataclass(frozen=True)
class Shown:
    """A pair as one person sees it. left: which of a and b stands there; repeat: for the second time, flipped."""

    pair: Pair
    left: Side
    repeat: bool = False


def upcoming(
    prefset: Prefset,
    annotator: str,
    order: Order = "unseen",
    count: int = 5,
    *,
    repeat_share: float = REPEAT_SHARE,
    overlap: int = 0,
    seed: int = 0,
    held: Collection[str] = (),
) -> list[Shown]:
    """The next pairs for this person: repeats that are due, then those that are new to them, then skipped ones.

    order: unseen (what nobody has answered first), disagreement (where people, or people and scorers, differ first),
    margin (what the scorers are least sure of first), random. overlap: so many people answer a pair, 0 for no limit.
    held: pair ids that the page has already. Raises ConfigError for another order.
    """
    return Queue(prefset, annotator, overlap=overlap, seed=seed).upcoming(order, count, repeat_share, held)


class Queue:
    """The pairs of a set as they are for one person now. Make a new one when somebody has voted: it costs little.

    mine: this person's answers and skips to first showings, in order, by pair id; others: what the others answered.
    """

    def __init__(self, prefset: Prefset, annotator: str, *, overlap: int = 0, seed: int = 0) -> None:
        self._pairs, self._annotator, self._overlap, self._seed = prefset.pairs, annotator, overlap, seed
        standing = prefset.votes.standing()
        self._own = [vote for vote in standing if vote.annotator == annotator]
        self.mine = {vote.pair_id: vote for vote in self._own if not vote.repeat}
        self.others: dict[str, list[Choice]] = defaultdict(list)
        for vote in standing:
            if vote.annotator != annotator and not vote.repeat and vote.choice != "skip":
                self.others[vote.pair_id].append(vote.choice)
        self._skips = _skips(prefset.votes.events(), annotator)

    def upcoming(self, order: Order, count: int, repeat_share: float, held: Collection[str] = ()) -> list[Shown]:
        key = self._key(order)
        fresh = [pair for pair in self.new() if pair.pair_id not in held]
        due = [pair for pair in self._repeats(repeat_share, is_end=not fresh) if pair.pair_id not in held]
        skipped = (pair for pair in self._skipped() if pair.pair_id not in held)
        again = (self._shown(pair, repeat=True) for pair in due)
        first = (self._shown(pair) for pair in chain(heapq.nsmallest(count, fresh, key), skipped))
        return list(islice(chain(again, first), count))

    def new(self) -> list[Pair]:
        """Pairs that this person has neither answered nor skipped, and that are wanted of them."""
        return [pair for pair_id, pair in self._pairs.items() if pair_id not in self.mine and self._is_wanted(pair_id)]

    @property
    def answered(self) -> int:
        """Pairs that this person has dealt with."""
        return sum(1 for pair_id in self.mine if pair_id in self._pairs)

    def _is_wanted(self, pair_id: str) -> bool:
        return not self._overlap or len(self.others.get(pair_id, ())) < self._overlap

    def _shown(self, pair: Pair, *, repeat: bool = False) -> Shown:
        return Shown(pair, left_of(pair.pair_id, self._annotator, repeat=repeat), repeat)

    def _skipped(self) -> Iterator[Pair]:
        for pair_id, vote in self.mine.items():
            is_open = vote.choice == "skip" and self._skips[pair_id] < MOST_SKIPS
            if is_open and pair_id in self._pairs and self._is_wanted(pair_id):
                yield self._pairs[pair_id]

    def _repeats(self, share: float, *, is_end: bool) -> Iterator[Pair]:
        """Answered pairs that are drawn to come again and lie far enough back; is_end: nothing new is left."""
        repeated = {vote.pair_id for vote in self._own if vote.repeat}
        for place, vote in enumerate(self._own):
            since = len(self._own) - place - 1
            if since < LEAST_GAP:
                return
            is_open = not vote.repeat and vote.choice != "skip" and vote.pair_id not in repeated
            if not is_open or vote.pair_id not in self._pairs:
                continue
            lot = _lot("repeat", vote.pair_id, self._annotator)
            if lot < share and (is_end or since >= LEAST_GAP + MORE_GAP * _lot("gap", vote.pair_id, self._annotator)):
                yield self._pairs[vote.pair_id]

    # ------------------------------------------------------------------ orders: the smallest key comes first

    def _key(self, order: Order) -> Callable[[Pair], Key]:
        if order not in ORDERS:
            raise ConfigError("order", f"{order!r} is no order.", f"Give {', '.join(ORDERS)}.")
        kinds: dict[Order, Callable[[Pair], float]] = {
            "unseen": self._by_seen,
            "disagreement": self._by_disagreement,
            "margin": lambda pair: pair.auto.margin if pair.auto else float("inf"),
            "random": lambda pair: 0.0,
        }
        kind = kinds[order]
        return lambda pair: (_is_dropped(pair), kind(pair), self._place(pair))

    def _place(self, pair: Pair) -> float:
        """Everybody begins elsewhere, so that people at work at the same time do not do the same; unless they shall."""
        return _lot(f"order {self._seed}", pair.pair_id, "" if self._overlap > 1 else self._annotator)

    def _by_seen(self, pair: Pair) -> float:
        people = len(self.others.get(pair.pair_id, ()))
        return -people if self._overlap > 1 else min(people, 1)

    def _by_disagreement(self, pair: Pair) -> float:
        """People who differ, then people against scorers, then scorers who differ."""
        answers = self.others.get(pair.pair_id, [])
        unlike = 1 - max(Counter(answers).values()) / len(answers) if answers else 0.0
        if unlike:
            return -2 - unlike
        if answers and pair.auto and answers[0] in DECIDED and pair.auto.winner in DECIDED:
            return -1.5 if answers[0] != pair.auto.winner else 1.0
        return 1.0 if answers or not pair.auto else pair.auto.agree - 1


def _is_dropped(pair: Pair) -> bool:
    """The rule that made it has been replaced by one that does not."""
    return pair.origin == "auto" and pair.auto is None


def _skips(events: list[Vote], annotator: str) -> Counter[str]:
    """How often this person has skipped a pair, by pair id."""
    undone = {vote.undo_of for vote in events if vote.undo_of}
    return Counter(
        vote.pair_id
        for vote in events
        if vote.annotator == annotator and vote.choice == "skip" and not vote.undo_of and vote.vote_id not in undone
    )


def _lot(purpose: str, pair_id: str, annotator: str) -> float:
    """In [0, 1), always the same for the same three."""
    text = f"{purpose}\0{pair_id}\0{annotator}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big") / (1 << 48)
