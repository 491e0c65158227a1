"""The real captioning worker with a model that takes its time: `python -m tests.slow_captioner RUN_DIR`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from captioners import worker
from captioners.base import Captioner, Request, Result, StopAskedError

PAUSE_S = 0.3  # before each batch: long enough to stop a job in the middle
LOOK_S = 0.02


class Slow:
    """A captioner that waits before each batch, and hears that it should stop."""

    def __init__(self, captioner: Captioner, stop_asked: Callable[[], bool]) -> None:
        self._captioner, self._stop_asked = captioner, stop_asked

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        end = time.monotonic() + PAUSE_S
        while time.monotonic() < end:
            if self._stop_asked():
                raise StopAskedError
            time.sleep(LOOK_S)
        return self._captioner.caption(requests)


def slowly(load: Callable[..., Captioner]) -> Callable[..., Captioner]:
    def load_slow(config: Any, spec: Any, emit: Any, stop_asked: Callable[[], bool]) -> Captioner:
        return Slow(load(config, spec, emit, stop_asked), stop_asked)

    return load_slow


if __name__ == "__main__":
    worker._load = slowly(worker._load)
    sys.exit(worker.main())
