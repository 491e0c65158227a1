"""Voting: which pairs a person sees next, and what becomes of an answer. Every argument comes from the network."""

from __future__ import annotations

import time
from typing import Any, Literal
from urllib.parse import urlencode

from app.services.preferences.ballots import Ballot, annotator, keys, pair_vote, ranking_votes, sent_id, vote_id
from app.services.preferences.pictures import Pictures, Showing
from app.services.preferences.sets import Sets
from app.services.preferences.showing import generated, group_item, pair_item, revealed
from trainers.errors import DataError
from trainers.preferences.prefset import Prefset
from trainers.preferences.queue import ORDERS, Order, Queue
from trainers.preferences.summary import summarise
from trainers.preferences.votes import RANKED, Vote

Groups = Literal["best_worst"]
GROUPS: Groups = "best_worst"  # an order of its own: all pictures of a prompt at once, instead of pairs
AHEAD = 6  # items that the page gets at a time
REPEAT_SHARE = 0.05

Record = dict[str, Any]


class Voting:
    """Safe from any thread. All methods raise DataError, with the remedy, for what a page would not send.

    label_token: opens the page where one can only label, for people who have no other key; "" when nobody needs one.
    label_address: by which others reach the app, as https://NAME; "" when it is that which the page was opened by.
    """

    def __init__(self, sets: Sets) -> None:
        self.sets, self.pictures = sets, Pictures(sets)
        self.label_token = self.label_address = ""

    def listed(self) -> list[Record]:
        """[{name, pairs, prompts}] of the sets that hold something to vote on."""
        found = []
        for name in self.sets.names():
            with self.sets.opened(name) as prefset:
                if prefset.pairs:
                    found.append({"name": name, "pairs": len(prefset.pairs), "prompts": len(prefset.prompts)})
        return found

    def label_link(self, name: str) -> str:
        """Where a set can be labelled and nothing else; without a known address only what follows it, from / on."""
        self.sets.path(name)
        if self.label_token:
            return f"{self.label_address}/enter?" + urlencode({"t": self.label_token, "set": name})
        return f"{self.label_address}/label/?" + urlencode({"set": name})

    def next(self, name: str, person: object, order: object, have: object, *, is_open: bool = False) -> Record:
        """{items, done, total, last}: what this person has not answered, without what is at hand.

        have: keys of items that the page has, or has answers to that are not saved yet. last: the newest vote of this
        person that stands, {vote_id, item}, or None. is_open: with the scores.
        """
        who, known, wanted = annotator(person), keys(have), _order(order)
        with self.sets.opened(name) as prefset:
            return self._next(prefset, who, wanted, known, is_open) | {"last": self._last(prefset, who, is_open)}

    def vote(self, name: str, person: object, ballot: Ballot, order: object, have: object) -> Record:
        """Write an answer to the disk; then {saved: vote_id, behind: what is behind the pair, items, done, total}.

        ballot: see `ballots.pair_vote` and `ballots.ranking_votes`. Sent again it changes nothing.
        """
        who, known, wanted = annotator(person), keys(have), _order(order)
        is_open = ballot.get("open") is True
        with self.sets.opened(name) as prefset:
            if "best" in ballot:
                votes, behind = ranking_votes(self.pictures, prefset, who, ballot), {}
            else:
                votes = [pair_vote(self.pictures, prefset, who, ballot)]
                behind = revealed(prefset, votes[0], _by_others(prefset, votes[0]))
            prefset.votes.add_all(votes)
            return self._next(prefset, who, wanted, known, is_open) | {"saved": ballot["vote_id"], "behind": behind}

    def undo(self, name: str, person: object, sent: object, order: object) -> Record:
        """Take an answer back. {undone: vote_id, done, total}; the same when sent again."""
        who, wanted, kind = annotator(person), vote_id(sent), _order(order)
        with self.sets.opened(name) as prefset:
            mine = [one for one in prefset.votes.events() if one.annotator == who and not one.undo_of]
            found = [one for one in mine if sent_id(one) == wanted]
            for vote in found:
                tombstone, now = f"undo-{vote.vote_id}", round(time.time(), 3)
                prefset.votes.undo(vote.vote_id, who, tombstone_id=tombstone, ts=now)
            return self._counts(prefset, who, kind) | {"undone": wanted}

    def stats(self, name: str) -> Record:
        """What the votes of a set say of the people and the scorers; see `trainers.preferences.summary.Summary`."""
        with self.sets.opened(name) as prefset:
            return summarise(prefset).as_dict()

    def _next(self, prefset: Prefset, who: str, order: Order | Groups, have: set[str], is_open: bool) -> Record:
        if order == GROUPS:
            return self._next_groups(prefset, who, have)
        held = {showing.pair_id for key in have if (showing := self.pictures.showing(prefset, key))}
        queue = Queue(prefset, who)
        coming = queue.upcoming(order, AHEAD, REPEAT_SHARE, held)
        showings = [Showing(one.pair.pair_id, one.repeat) for one in coming]
        items = [pair_item(self.pictures, prefset, who, showing, is_open=is_open) for showing in showings]
        return {"items": items, "done": queue.answered, "total": len(prefset.pairs)}

    def _next_groups(self, prefset: Prefset, who: str, have: set[str]) -> Record:
        done, rankable = _ranked(prefset, who), _rankable(prefset)
        waiting = [one for one in rankable if one not in done and self.pictures.of_group(prefset, one) not in have]
        items = [group_item(self.pictures, prefset, who, prompt_id) for prompt_id in waiting[:AHEAD]]
        return self._counts(prefset, who, GROUPS) | {"items": items}

    def _counts(self, prefset: Prefset, who: str, order: Order | Groups) -> Record:
        """How far this person is: of pairs, or of prompts when all pictures of one are ranked at once."""
        if order == GROUPS:
            rankable = _rankable(prefset)
            return {"done": len(_ranked(prefset, who).intersection(rankable)), "total": len(rankable)}
        return {"done": Queue(prefset, who).answered, "total": len(prefset.pairs)}

    def _last(self, prefset: Prefset, who: str, is_open: bool) -> Record | None:
        mine = [one for one in prefset.votes.standing() if one.annotator == who and one.pair_id in prefset.pairs]
        if not mine:
            return None
        return {"vote_id": sent_id(mine[-1]), "item": self._item_of(prefset, who, mine[-1], is_open)}

    def _item_of(self, prefset: Prefset, who: str, vote: Vote, is_open: bool) -> Record | None:
        """What a vote was about, to be shown again."""
        pair = prefset.pairs.get(vote.pair_id)
        if pair is None:
            return None
        if RANKED in vote.aspects:
            return group_item(self.pictures, prefset, who, pair.prompt_id)
        return pair_item(self.pictures, prefset, who, Showing(pair.pair_id, vote.repeat), is_open=is_open)


def _order(value: object) -> Order | Groups:
    if value == GROUPS:
        return GROUPS
    if value not in ORDERS:
        raise DataError(f"There is no order {str(value)[:40]!r}.", f"Orders: {', '.join([*ORDERS, GROUPS])}.")
    return value


def _by_others(prefset: Prefset, vote: Vote) -> list[Vote]:
    """What other people answered to the same pair."""
    return [one for one in prefset.votes.standing() if one.pair_id == vote.pair_id and one.annotator != vote.annotator]


def _rankable(prefset: Prefset) -> list[str]:
    """Prompts with pictures to choose among."""
    return [prompt_id for prompt_id in prefset.prompts if len(generated(prefset, prompt_id)) > 1]


def _ranked(prefset: Prefset, who: str) -> set[str]:
    """Prompts of which this person has chosen best and worst."""
    mine = [one for one in prefset.votes.standing() if one.annotator == who and RANKED in one.aspects]
    return {prefset.pairs[one.pair_id].prompt_id for one in mine if one.pair_id in prefset.pairs}
