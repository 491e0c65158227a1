"""What the page sends, as votes. All of it comes from the network: what a page would not send raises DataError."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from app.services.preferences.pictures import Pictures
from app.services.preferences.showing import choice_of, generated
from trainers.errors import DataError
from trainers.preferences.prefset import Prefset
from trainers.preferences.ranking import best_and_worst
from trainers.preferences.votes import OPEN, RANKED, Vote, left_of

MAX_HAVE = 2000
MAX_MS = 3_600_000
MAX_AGE_S = 30 * 24 * 3600.0  # of a vote that waited in a browser for the server
ANNOTATOR = re.compile(r"\w[\w .'-]{0,39}")
ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

Ballot = Mapping[str, Any]


def pair_vote(pictures: Pictures, prefset: Prefset, person: str, ballot: Ballot) -> Vote:
    """ballot: {vote_id, key, choice, left, ms, age_s, open}; left: token of the picture that stood there."""
    showing = pictures.showing(prefset, _text(ballot, "key"))
    if showing is None or showing.pair_id not in prefset.pairs:
        raise DataError("This pair is not in the set.", "Load the page again.")
    pair = prefset.pairs[showing.pair_id]
    left = left_of(pair.pair_id, person, repeat=showing.repeat)
    if _text(ballot, "left") != pictures.of_side(prefset, showing, pair.a if left == "a" else pair.b):
        raise DataError("The pictures of this pair stood the other way round.", "Load the page again.")
    try:
        choice = choice_of(_text(ballot, "choice"), left)
    except KeyError:
        raise DataError("This is no answer.", "Answers: left, right, tie, both_bad and skip.") from None
    return Vote(
        vote_id=vote_id(ballot.get("vote_id")),
        pair_id=pair.pair_id,
        annotator=person,
        choice=choice,
        left=left,
        ms=int(_number(ballot, "ms", MAX_MS)),
        ts=_pressed(ballot),
        repeat=showing.repeat,
        aspects={OPEN: "yes"} if ballot.get("open") is True else {},
    )


def ranking_votes(pictures: Pictures, prefset: Prefset, person: str, ballot: Ballot) -> list[Vote]:
    """ballot: {vote_id, key, best, worst, ms, age_s}; one vote for each pair that best and worst decide.

    Pairs that the set lacks are added to it.
    """
    prompt_id = pictures.prompt(prefset, _text(ballot, "key"))
    if prompt_id is None:
        raise DataError("These pictures are not in the set.", "Load the page again.")
    images = [one.image_id for one in generated(prefset, prompt_id)]
    of_token = {pictures.in_group(prefset, prompt_id, image_id): image_id for image_id in images}
    best, worst = (of_token.get(_text(ballot, name), "") for name in ("best", "worst"))
    decided = best_and_worst(prefset, prompt_id, images, best, worst)
    sent, ms, ts = vote_id(ballot.get("vote_id")), int(_number(ballot, "ms", MAX_MS)), _pressed(ballot)
    prefset.add_pairs(pair for pair, _ in decided if pair.pair_id not in prefset.pairs)
    return [
        Vote(
            vote_id=f"{sent}.{number}",
            pair_id=pair.pair_id,
            annotator=person,
            choice=choice,
            left=left_of(pair.pair_id, person),
            ms=ms,
            ts=ts,
            aspects={RANKED: str(len(images))},
        )
        for number, (pair, choice) in enumerate(decided)
    ]


def sent_id(vote: Vote) -> str:
    """The id under which the page sent it: one ranking becomes several votes."""
    return vote.vote_id.partition(".")[0] if RANKED in vote.aspects else vote.vote_id


def annotator(value: object) -> str:
    name = " ".join(value.split()) if isinstance(value, str) else ""
    if not ANNOTATOR.fullmatch(name):
        raise DataError("A name or initials are needed.", "Use 1 to 40 letters.")
    return name


def vote_id(value: object) -> str:
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise DataError("A vote is named by 8 to 64 letters.", "Load the page again.")
    return value


def keys(value: object) -> set[str]:
    if not isinstance(value, list) or len(value) > MAX_HAVE or not all(isinstance(one, str) for one in value):
        raise DataError(f"A list of at most {MAX_HAVE} pairs is needed.", "Load the page again.")
    return set(value)


def _text(ballot: Ballot, name: str) -> str:
    value = ballot.get(name)
    return value if isinstance(value, str) else ""


def _number(ballot: Ballot, name: str, most: float) -> float:
    """A number in [0, most]: the nearest to what was sent, 0 for what is none."""
    value = ballot.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return 0.0
    return float(min(max(value, 0), most))


def _pressed(ballot: Ballot) -> float:
    """When the key was pressed, by the clock of this machine: a vote may have waited for the server to come back."""
    return round(time.time() - _number(ballot, "age_s", MAX_AGE_S), 3)
