"""What the voting page may ask, in the Preferences tab and on the page where one can only label."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.ui import asked
from app.ui.answers import answer
from app.ui.texts import Texts
from trainers.errors import DataError

if TYPE_CHECKING:
    from app.services.studio import Studio

WORDS = ("voting.", "keys.")
LONGEST = 200


def of_votes(studio: Studio, texts: Texts, *, blind: bool = False) -> list[Callable[..., Any]]:
    """next, vote, undo and stats. Every argument comes from the network; a refusal is {error: sentence}.

    blind: scores can be had after the vote only.
    """

    def next(request: Any) -> dict[str, Any]:
        """request: [set, annotator, order, have, with scores]. See Voting.next."""
        name, person, order, have, is_open = asked.parts(request, 5)
        is_open = is_open is True and not blind
        return _told(lambda: studio.preferences.voting.next(_name(name), person, order, have, is_open=is_open), texts)

    def vote(request: Any) -> dict[str, Any]:
        """request: [set, annotator, ballot, order, have]. See Voting.vote."""
        name, person, ballot, order, have = asked.parts(request, 5)
        if not isinstance(ballot, dict):
            raise ValueError("an answer is a record")
        told = {**ballot, "open": False} if blind else ballot
        return _told(lambda: studio.preferences.voting.vote(_name(name), person, told, order, have), texts)

    def undo(request: Any) -> dict[str, Any]:
        """request: [set, annotator, vote id, order]. See Voting.undo."""
        name, person, vote_id, order = asked.parts(request, 4)
        return _told(lambda: studio.preferences.voting.undo(_name(name), person, vote_id, order), texts)

    def stats(name: Any) -> dict[str, Any]:
        return _told(lambda: studio.preferences.voting.stats(_name(name)), texts)

    return [next, vote, undo, stats]


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST:
        raise DataError("A set is named by a short text.")
    return value


def _told(act: Callable[[], dict[str, Any]], texts: Texts) -> dict[str, Any]:
    """With a refusal in the page's language."""
    found = answer(act)
    return {**found, "error": texts.reason(found["error"])} if "error" in found else found
