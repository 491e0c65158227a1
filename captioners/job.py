"""The captioning of a folder, as a story. Light: the captioner is handed in."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from captioners.base import Captioner, Request, StopAskedError
from captioners.catalog import CaptionerSpec
from captioners.config import CaptionConfig
from captioners.plan import Target
from captioners.policy import one_line, wants
from captioners.prompts import prompt_for
from captioners.scribe import Ready, Scribe
from captioners.tries import Tries
from trainers.data.decode import DECODE_ERRORS, open_picture, reason_of
from trainers.data.text import TextError
from trainers.events import BatchCaptioned, Captioned, Emit, PhaseChanged

ENOUGH_PX = 1024  # shorter side that no captioner looks at more closely
READERS = 2  # threads that decode the next pictures while the model works

StopAsked = Callable[[], bool]


@dataclass
class Totals:
    """done: pictures that are dealt with, of total."""

    total: int
    done: int = 0
    written: int = 0
    skipped: int = 0
    failed: int = 0

    def sentence(self, *, dry: bool) -> str:
        """As in "written 412, skipped 30, failed 3"."""
        return f"{'would write' if dry else 'written'} {self.written}, skipped {self.skipped}, failed {self.failed}"


@dataclass(frozen=True)
class Asked:
    """A picture that was decoded, with its question; or why it is not asked about."""

    target: Target
    before: str | None = None
    request: Request | None = None
    skip: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Job:
    """What a job works with."""

    config: CaptionConfig
    spec: CaptionerSpec
    emit: Emit
    stop_asked: StopAsked

    def run(self, captioner: Captioner, targets: Sequence[Target], scribe: Scribe) -> tuple[Totals, bool]:
        """Caption the pictures and write what comes of it. Returns the totals, and whether it was stopped.

        A picture that cannot be read or captioned is one line of the events and stops nothing. Raises AtelierError for
        what would befall every picture.
        """
        left = [target for target in targets if target.name not in scribe.done]
        totals = Totals(len(targets), done=len(targets) - len(left), written=len(scribe.done))
        tries = Tries(captioner, self.config, self.emit)
        self.emit(PhaseChanged("captioning", "", totals.done, totals.total))
        with contextlib.closing(self._asked(left)) as asked:
            while not self.stop_asked():
                begun = time.monotonic()
                batch = self._next(asked, min(tries.batch, self._room(totals)))
                if not batch:
                    return totals, False
                try:
                    self._caption(batch, tries, scribe, totals, begun)
                except StopAskedError:
                    break
        return totals, True

    def _room(self, totals: Totals) -> int:
        """How many pictures the limit leaves."""
        limit = self.config.pictures.limit
        return max(0, limit - totals.written - totals.failed) if limit else totals.total

    def _next(self, asked: Iterator[Asked], size: int) -> list[Asked]:
        """Pictures up to `size` that the model has to look at, with those between them that it has not."""
        batch: list[Asked] = []
        room = size
        for one in asked if size else ():
            batch.append(one)
            room -= one.request is not None
            if not room or len(batch) >= 64 * size:
                break
        return batch

    def _caption(self, batch: list[Asked], tries: Tries, scribe: Scribe, totals: Totals, begun: float) -> None:
        requests = [one.request for one in batch if one.request]
        model_begun = time.monotonic()
        results = iter(tries.caption(requests))
        model_s = time.monotonic() - model_begun
        told: list[Captioned] = []
        ready: list[Ready] = []
        for one in batch:
            if one.request is None:
                status = "failed" if one.failure else "skipped"
                told.append(Captioned(one.target.name, status, one.before, reason=one.failure or one.skip))
                continue
            result = next(results)
            if result.fault:
                reason = result.why
                told.append(Captioned(one.target.name, "failed", one.before, said=result.text, reason=reason))
            else:
                ready.append(Ready(one.target, one.before, result.text, one.request.prompt, one.request.seed))
        told += scribe.write(ready)
        self._tell(told, totals, time.monotonic() - begun, model_s)

    def _tell(self, told: list[Captioned], totals: Totals, seconds: float, model_s: float) -> None:
        totals.done += len(told)
        totals.written += sum(one.status in ("written", "shown") for one in told)
        totals.skipped += sum(one.status == "skipped" for one in told)
        totals.failed += sum(one.status == "failed" for one in told)
        numbers = dataclasses.asdict(totals)
        # a skipped picture is a number; only what happened is a line
        shown = tuple(one for one in told if one.status != "skipped" or one.reason)
        self.emit(BatchCaptioned(**numbers, seconds=round(seconds, 4), model_s=round(model_s, 4), pictures=shown))

    # the next pictures, read ahead

    def _asked(self, targets: Sequence[Target]) -> Generator[Asked, None, None]:
        ahead = 2 * int(self.config.captioner.batch_size)
        waiting: deque[Future[Asked]] = deque()
        coming = iter(targets)
        readers = ThreadPoolExecutor(READERS, "pictures")
        try:
            waiting.extend(readers.submit(self._ask, target) for target in islice(coming, ahead))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(readers.submit(self._ask, target) for target in islice(coming, 1))
        finally:
            readers.shutdown(cancel_futures=True)

    def _ask(self, target: Target) -> Asked:
        if target.shares:
            return Asked(target, skip=f"it has the same caption file as {target.shares}")
        try:
            text = target.text()
        except TextError as error:
            return Asked(target, failure=error.reason)
        except OSError as error:
            return Asked(target, failure=(error.strerror or str(error)).lower())
        shown = target.shown(text)
        if not wants(self.config.policy.existing, shown):
            return Asked(target, text)
        try:
            picture = self._open(target)
        except DECODE_ERRORS as error:
            return Asked(target, text, failure=reason_of(error))
        prompt = prompt_for(
            self.config,
            self.spec,
            # a special token of the model in one of them would be taken for the model's own
            tags=one_line(shown or ""),
            name=one_line(Path(target.name).stem),
            directory=one_line(Path(self.config.pictures.folder, target.name).parent.name),
        )
        return Asked(target, text, Request(picture, prompt, seed_of(self.config.run.seed, target.name)))

    def _open(self, target: Target) -> Image.Image:
        enough = max(ENOUGH_PX, self.config.server.max_side)
        return open_picture(Path(self.config.pictures.folder, target.name), at_least=enough)


def seed_of(seed: int, name: str) -> int:
    """The seed of one picture: it stays the same whatever other pictures there are."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return int.from_bytes(digest, "big")
