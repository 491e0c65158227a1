"""Questions to a server that speaks OpenAI's protocol, asked again while it is busy. Light: httpx alone."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from captioners.base import Result, StopAskedError
from captioners.server_endpoint import Endpoint
from captioners.server_errors import NoAnswerError, TryAgainError, cause, check, said, unfit_setting, unreachable
from captioners.server_messages import Body, read_answer
from trainers.errors import AtelierError, ConfigError

log = logging.getLogger(__name__)
T = TypeVar("T")

LIST_S = 15.0  # for the names of models
POLL_S = 0.1  # how often a person's wish to stop is looked for
HANG_UP_S = 0.5  # for connections to close
NEWER_NAMES = {"max_tokens": "max_completion_tokens"}


@dataclass(frozen=True)
class Pauses:
    """Waits between tries: twice as long each time, less a random part, so that not all come again at once."""

    first_s: float = 1.0
    longest_s: float = 60.0

    def before(self, retry: int, asked_s: float) -> float:
        """Seconds before the first retry (0), the second, ...; asked_s: what the server asked for."""
        own: float = self.first_s * 2**retry * random.uniform(0.5, 1.0)
        return min(max(own, asked_s), self.longest_s)


class Client:
    """Asks a server. retries: of a question, beside the first try; timeout_s: of each try."""

    def __init__(
        self,
        server: Endpoint,
        retries: int,
        timeout_s: float,
        pauses: Pauses | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server, self._retries, self._timeout_s = server, retries, timeout_s
        self._pauses, self._sleep = pauses or Pauses(), sleep
        self._unfit: set[str] = set()  # settings that the model does not take

    async def ask_all(self, questions: Sequence[Callable[[], Body]], concurrency: int) -> list[Result]:
        """An answer for each question, in order; so many are open at a time.

        questions: functions, so that pictures are not all encoded at once. Raises AtelierError for what would happen
        to every picture: no connection, a wrong key or address.
        """
        turn = asyncio.Semaphore(concurrency)
        async with self._server.client() as http:

            async def one(make: Callable[[], Body]) -> Result:
                async with turn:
                    return await self._answer(http, make())

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(make)) for make in questions]
            except BaseExceptionGroup as failed:
                raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _answer(self, http: httpx.AsyncClient, body: Body) -> Result:
        reached, why = False, ""
        for retry in range(self._retries + 1):
            try:
                return await self._try(http, body)
            except NoAnswerError as error:
                return Result("", "refused" if error.refused else "failed", str(error))
            except TryAgainError as error:
                reached, why = reached or error.reached, str(error)
                if retry < self._retries:
                    log.info("asking again: the server %s", why)
                    await self._sleep(self._pauses.before(retry, error.after_s))
        if not reached:
            raise unreachable(self._server, why)
        times = f" ({self._retries + 1} times)" if self._retries else ""
        return Result("", "failed", f"the server {why}{times}")

    async def _try(self, http: httpx.AsyncClient, body: Body) -> Result:
        sent = self._fitted(body)
        response = await self._post(http, sent)
        while (name := unfit_setting(response)) in sent:
            log.warning("The model at %s does not take the setting %s.", self._server.url, name)
            self._unfit.add(name)
            sent = self._fitted(body)
            response = await self._post(http, sent)
        check(self._server, response)
        try:
            answer = response.json()
            # some servers that ask others answer 200, whatever the others say
            if isinstance(answer, dict) and answer.get("error") and not answer.get("choices"):
                raise TryAgainError(f"answered: {said(self._server, response)}")
            return read_answer(answer)
        except ValueError as error:
            raise TryAgainError("sent something that is no answer") from error

    async def _post(self, http: httpx.AsyncClient, body: Body) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await http.post(f"{self._server.url}/chat/completions", json=body)
        except TimeoutError as error:
            raise TryAgainError(f"did not answer within {self._timeout_s:g} s") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TryAgainError(f"cannot be reached ({cause(error)})", reached=False) from error
        except httpx.RequestError as error:
            raise TryAgainError("broke the connection off") from error

    def _fitted(self, body: Body) -> Body:
        """Without the settings that the model does not take, or with their newer names."""
        fit = {name: value for name, value in body.items() if name not in self._unfit}
        return fit | {NEWER_NAMES[name]: body[name] for name in self._unfit if name in NEWER_NAMES}


def models(url: str, key: str = "") -> list[str]:
    """Names of the models that a server has, as it lists them. Raises AtelierError, ConfigError."""
    return run(list_models(Endpoint.of(url, key)))


async def list_models(server: Endpoint) -> list[str]:
    try:
        async with asyncio.timeout(LIST_S), server.client() as http:
            response = await http.get(f"{server.url}/models")
        check(server, response)
        return [one["id"] for one in response.json()["data"] if isinstance(one["id"], str)]
    except TimeoutError as error:
        raise unreachable(server, f"did not answer within {LIST_S:g} s") from error
    except httpx.RequestError as error:
        raise unreachable(server, f"cannot be reached ({cause(error)})") from error
    except (TryAgainError, NoAnswerError, ValueError, LookupError, TypeError) as error:
        reason = f" ({error})" if isinstance(error, (TryAgainError, NoAnswerError)) else ""
        raise AtelierError(f"{server.url} does not list its models{reason}.", "Set server.model to one.") from error


def only_model(names: Sequence[str], server: Endpoint) -> str:
    """Raises ConfigError when there is none to choose, or a choice."""
    if len(names) == 1:
        return names[0]
    if not names:
        raise ConfigError("server.model", f"{server.url} has no model.", "Load one there first.")
    raise ConfigError("server.model", f"{server.url} has several models: {', '.join(names)}.", "Name one of them.")


def run(work: Coroutine[Any, Any, T], stop_asked: Callable[[], bool] = lambda: False) -> T:
    """Do the work to its end, or to the moment when a person wants to stop, whatever it waits for: StopAskedError."""
    # not asyncio.run, which at its end waits for a look-up of a name that hangs
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_unless_stopped(work, stop_asked))
    finally:
        loop.close()


async def _unless_stopped(work: Coroutine[Any, Any, T], stop_asked: Callable[[], bool]) -> T:
    task = asyncio.ensure_future(work)
    while not task.done():
        if stop_asked():
            task.cancel()
            await asyncio.wait({task}, timeout=HANG_UP_S)
            raise StopAskedError
        await asyncio.wait({task}, timeout=POLL_S)
    return task.result()
