"""What the page's server functions return: what was asked for, or the sentence of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from trainers.errors import AtelierError

R = TypeVar("R")


def answer(act: Callable[[], R]) -> R | dict[str, Any]:
    """What `act` returns; {"error": sentence} for what it refuses."""
    try:
        return act()
    except AtelierError as error:
        return {"error": str(error)}


def done(act: Callable[[], None]) -> dict[str, Any]:
    """{} once `act` is done; {"error": sentence} for what it refuses."""
    return answer(act) or {}
