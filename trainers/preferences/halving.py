"""Batches that become smaller when memory runs out, and how a job came out. Light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from trainers.boundary import is_out_of_memory
from trainers.events import Emit, Warned

T = TypeVar("T")
R = TypeVar("R")

StopAsked = Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """done: of what the job counts; stopped: a person ended it before its end."""

    done: int
    stopped: bool
    summary: str


class Halving:
    """size: how many are done at a time from now on; field: the setting of it."""

    def __init__(self, size: int, field: str, emit: Emit) -> None:
        self.size, self._field, self._emit = size, field, emit

    def run(self, items: Sequence[T], do: Callable[[Sequence[T]], Sequence[R]]) -> list[R]:
        """What `do` makes of all the items, in order. Lets an error through that one alone raises."""
        results: list[R] = []
        while len(results) < len(items):
            part = items[len(results) : len(results) + self.size]
            made = self._attempt(part, do)
            if made is None:
                self._halve(len(part))
            else:
                results += made
        return results

    @staticmethod
    def _attempt(part: Sequence[T], do: Callable[[Sequence[T]], Sequence[R]]) -> Sequence[R] | None:
        """None when memory ran out. The error is gone then, and with it what its traceback held in memory."""
        try:
            return do(part)
        except (RuntimeError, MemoryError) as error:
            if len(part) == 1 or not is_out_of_memory(error):
                raise
        return None

    def _halve(self, tried: int) -> None:
        self.size = max(1, tried // 2)
        message = f"Memory ran out with {tried} pictures at a time; going on with {self.size}."
        self._emit(Warned("batch_halved", message, f"Next time: {self._field} = {self.size}."))
