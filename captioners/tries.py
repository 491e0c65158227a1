"""A model and what may go wrong with a batch: memory runs out, one picture spoils it, a text is no caption. Light."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

from captioners.base import Captioner, Request, Result, StopAskedError
from captioners.config import CaptionConfig
from captioners.faults import WORDS, cut_at_sentence
from trainers.boundary import is_out_of_memory
from trainers.errors import AtelierError
from trainers.events import Emit, Warned

log = logging.getLogger(__name__)

OTHER_SEED = 1_000_003  # added to a seed whose text was no caption
HOPELESS = 8  # pictures that failed one after the other, before any came out: it is not the pictures
OUT_OF_MEMORY = "out of memory, even alone"
WORTH_A_SECOND_TRY = ("empty", "repeats")


class Tries:
    """batch: pictures that are given to the model at a time from now on."""

    def __init__(self, captioner: Captioner, config: CaptionConfig, emit: Emit) -> None:
        self._captioner, self._emit = captioner, emit
        self._is_drawn = bool(config.generate.temperature)
        self.batch = int(config.captioner.batch_size)
        self._succeeded = False
        self._failed = 0

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        """A result for each request; what failed says why. Raises StopAskedError, AtelierError."""
        results = self._safely(list(requests))
        again = [place for place, result in enumerate(results) if self._is_drawn and result.fault in WORTH_A_SECOND_TRY]
        if again:
            others = [dataclasses.replace(requests[at], seed=requests[at].seed + OTHER_SEED) for at in again]
            for place, result in zip(again, self._safely(others), strict=True):
                results[place] = result
        return [_finished(result) for result in results]

    def _safely(self, requests: list[Request]) -> list[Result]:
        if not requests:
            return []
        try:
            results = self._captioner.caption(requests)
        except (StopAskedError, AtelierError):
            raise
        except Exception as error:  # the boundary of one batch: the job goes on
            return self._smaller(requests, error)
        self._succeeded = True
        return results

    def _smaller(self, requests: list[Request], error: Exception) -> list[Result]:
        is_memory = is_out_of_memory(error)
        if len(requests) > 1:
            if is_memory:
                self.batch = max(1, len(requests) // 2)
                message = f"Memory ran out with {len(requests)} pictures at a time; going on with {self.batch}."
                self._emit(Warned("batch_halved", message, f"Next time: captioner.batch_size = {self.batch}."))
            results: list[Result] = []
            while len(results) < len(requests):  # the batch may become smaller on the way
                size = self.batch if is_memory else 1
                results += self._safely(requests[len(results) : len(results) + size])
            return results
        self._failed += 1
        if not self._succeeded and not is_memory and self._failed >= HOPELESS:
            raise error
        log.warning("a picture could not be captioned", exc_info=error)
        why = OUT_OF_MEMORY if is_memory else f"{type(error).__name__}: {error}"
        return [Result("", "failed", why)]


def _finished(result: Result) -> Result:
    if result.fault:
        return dataclasses.replace(result, why=result.why or WORDS[result.fault])
    return dataclasses.replace(result, text=cut_at_sentence(result.text)) if result.truncated else result
