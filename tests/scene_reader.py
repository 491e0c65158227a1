"""Captioners that need no model: drawn scenes are read by rule."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from captioners.base import Request, Result, StopAskedError
from trainers.sandbox import scenes


def read(request: Request) -> Result:
    found = scenes.read(request.image)
    return Result(f"a {found.colour} {found.shape}")


@dataclass
class SceneReader:
    """most: pictures that fit into its memory; pause_s: for each picture; answer: instead of reading it."""

    most: int = 100
    pause_s: float = 0.0
    stop_asked: Callable[[], bool] = lambda: False
    answer: Callable[[Request], Result] = read
    calls: list[int] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)

    def caption(self, requests: Sequence[Request]) -> list[Result]:
        self.calls.append(len(requests))
        if len(requests) > self.most:
            raise MemoryError
        self.seeds += [request.seed for request in requests]
        self.prompts += [request.prompt for request in requests]
        time.sleep(self.pause_s * len(requests))
        if self.stop_asked():
            raise StopAskedError
        return [self.answer(request) for request in requests]
