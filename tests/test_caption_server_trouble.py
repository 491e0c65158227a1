"""The captioner that asks a server, in trouble: retries, what ends the job, the key that nobody sees, and a stop."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import closing
from email.utils import formatdate
from typing import Any

import pytest
import torch

from captioners.base import Request, Runtime, StopAskedError
from captioners.server import load
from captioners.server_client import Client, Pauses, models, run
from captioners.server_endpoint import Endpoint
from captioners.server_messages import question
from tests.server_captioner import (
    KEY,
    NOWHERE,
    VARIABLE,
    ask,
    captioner_of,
    config_of,
    picture,
    running_stub,
    without_key,
)
from tests.stub_server import StubServer, answer, break_off, drip, hang, raw, status
from trainers.errors import AtelierError, ConfigError

_no_key = pytest.fixture(autouse=True)(without_key)
stub = pytest.fixture(running_stub)


@pytest.mark.parametrize(
    "trouble",
    [
        status(429),
        status(500),
        status(503),
        break_off,
        raw(b"{"),
        raw(b"[]"),
        raw(b'{"choices": []}'),
        raw(b'{"error": {"message": "upstream", "code": 502}}'),
        raw(b"\xff\xfe"),
    ],
)
def test_a_busy_server_is_asked_again(stub: StubServer, trouble: Any) -> None:
    stub.script = [trouble, trouble]
    (result,) = ask(config_of(stub.url), "green")
    assert result.text.startswith("A green") and len(stub.questions) == 3


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (status(500, {"error": {"message": "no memory."}}), "the server answered 500: no memory (3 times)"),
        (status(529), "the server answered 529 (3 times)"),
        (break_off, "the server broke the connection off (3 times)"),
        (raw(b"{"), "the server sent something that is no answer (3 times)"),
        (raw(b'{"error": {"message": "upstream"}}'), "the server answered: upstream (3 times)"),
        (hang, "the server did not answer within 0.1 s (3 times)"),
        (drip, "the server did not answer within 0.1 s (3 times)"),
    ],
)
def test_after_the_last_try_the_picture_has_failed(stub: StubServer, trouble: Any, why: str) -> None:
    stub.script = [trouble] * 3
    config = config_of(stub.url, server={"timeout_s": 0.1 if trouble in (hang, drip) else 5, "concurrency": 1})
    first, second = ask(config, "red", "green")
    assert (first.text, first.fault, first.why) == ("", "failed", why)
    assert second.text.startswith("A green")  # the others go on


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_refused_question_is_not_asked_again(stub: StubServer, code: int) -> None:
    stub.script = [status(code, {"error": {"message": "Failed to load image", "code": "bad"}})]
    (result,) = ask(config_of(stub.url))
    assert (result.fault, result.why) == ("failed", f"the server answered {code}: Failed to load image bad")
    assert len(stub.questions) == 1


@pytest.mark.parametrize("name", ["max_tokens", "temperature"])
def test_a_setting_that_the_model_does_not_take_is_left_out_from_then_on(stub: StubServer, name: str) -> None:
    no = status(400, {"error": {"message": "no", "param": name, "code": "unsupported_parameter"}})
    stub.usual = lambda handler, asked: (no if name in asked.body else answer())(handler, asked)
    results = ask(config_of(stub.url, server={"concurrency": 2}), "red", "green", "blue")
    assert [one.text.split()[1] for one in results] == ["red", "green", "blue"]
    assert 1 <= sum(name in one.body for one in stub.questions) <= 2  # those that were open at once
    assert stub.questions[-1].body.get("max_completion_tokens") == (77 if name == "max_tokens" else None)


def slept(stub: StubServer, pauses: Pauses) -> list[float]:
    """Waits before the tries of one question."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    client = Client(Endpoint.of(stub.url), 3, 5.0, pauses, sleep)
    body = question(config_of(stub.url), Request(picture(), ""), "stub")
    (result,) = run(client.ask_all([lambda: body], 1))
    assert result.text
    return waits


def test_waits_double_with_a_random_part(stub: StubServer) -> None:
    stub.script = [status(500)] * 3
    waits = slept(stub, Pauses())
    assert all(2**n / 2 <= wait <= 2**n for n, wait in enumerate(waits)) and len(waits) == 3


def test_the_wait_that_the_server_asks_for_is_kept_up_to_a_limit(stub: StubServer) -> None:
    later = formatdate(time.time() + 30, usegmt=True)
    stub.script = [status(429, Retry_After="7"), status(429, Retry_After=later), status(429, Retry_After="86400")]
    first, second, third = slept(stub, Pauses())
    assert first == 7 and 25 < second <= 30 and third == 60


@pytest.mark.parametrize("words", ["soon", "-5", "nan", ""])
def test_a_wait_that_is_none_is_passed_over(stub: StubServer, words: str) -> None:
    stub.script = [status(429, Retry_After=words)]
    assert slept(stub, Pauses())[0] <= 1


# --- the whole job ---


@pytest.mark.parametrize(
    ("act", "hint"),
    [
        (status(401), "server.key_env"),
        (status(403), "server.key_env"),
        (status(404, {"error": {"message": "model 'x' not found"}}), "server.model"),
        (status(405), "/v1"),
        (status(402), "credit"),
        (status(429, {"error": {"code": "insufficient_quota"}}), "credit"),
    ],
)
def test_what_happens_to_every_picture_ends_the_job_with_a_remedy(stub: StubServer, act: Any, hint: str) -> None:
    stub.usual = act
    with pytest.raises(AtelierError) as raised:
        ask(config_of(stub.url, server={"concurrency": 1}), "red", "green", "blue")
    assert hint in raised.value.hint and stub.url in raised.value.message
    assert len(stub.questions) == 1


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_server_that_is_not_there_ends_the_job() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(AtelierError, match="cannot be reached") as raised:
        ask(config_of(url))
    assert url in raised.value.message and "server.url" in raised.value.hint
    with pytest.raises(AtelierError, match="cannot be reached"):
        models(url)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert ask(config_of(stub.url))[0].text
    assert Endpoint.of("http://localhost:1").is_this_machine and Endpoint.of("http://[::1]:1").is_this_machine
    assert not Endpoint.of("https://api.example.com/v1").is_this_machine


def test_a_redirect_is_refused_and_the_key_goes_to_no_other_port(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    with StubServer() as other:
        stub.usual = stub.models = status(307, Location=f"{other.url}/chat/completions?a=b")
        with pytest.raises(AtelierError, match="sends its visitors on to") as raised:
            ask(config_of(stub.url))
        assert other.url in raised.value.message and "a=b" not in raised.value.message
        with pytest.raises(AtelierError, match="sends its visitors on to"):
            models(stub.url, KEY)
        assert other.asked == []


# --- the key ---


def test_the_key_comes_from_the_environment(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{KEY}\n")
    ask(config_of(stub.url))
    models(stub.url, KEY)
    assert {one.headers["Authorization"] for one in stub.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "act",
    [
        status(401, {"error": {"message": f"Incorrect key: {KEY}."}}),
        status(500, {"error": {"message": f"crash of Bearer {KEY}"}}),
        raw(f"no {KEY}".encode()),
        status(400, {"detail": [{"key": KEY}]}),
        break_off,
    ],
)
def test_the_key_is_in_no_log_error_or_result(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, act: Any
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    caplog.set_level(logging.DEBUG)
    stub.usual = act
    said: list[Any] = [Endpoint.of(stub.url, KEY)]
    try:
        captioner = captioner_of(config_of(stub.url))
        said += [captioner, captioner.caption([Request(picture(), "")])]
    except AtelierError as error:
        said += [error, error.__cause__, error.__context__, error.hint]
    assert "asking again" in caplog.text or len(stub.questions) == 1
    assert KEY not in caplog.text and KEY not in "".join(f"{one!r} {one}" for one in said)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schl\u00fcssel", "a\x00b"])
def test_a_key_that_no_header_takes_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Endpoint.of("http://127.0.0.1:1/v1", key)
    assert key not in str(raised.value) and raised.value.__cause__ is None and raised.value.field == "server.key_env"


# --- stopping ---


@pytest.mark.parametrize("place", ["answer", "back-off", "list of models"])
def test_a_stop_ends_every_wait_within_a_second(stub: StubServer, place: str) -> None:
    stub.models, stub.usual = hang, status(503) if place == "back-off" else hang
    config = config_of(stub.url, server={"model": "" if place == "list of models" else "stub", "timeout_s": 60})
    asked = threading.Event()
    runtime = Runtime(torch.device("cpu"), torch.float32, stop_asked=asked.is_set)
    began: list[float] = []

    def stop() -> None:
        began.append(time.monotonic())
        asked.set()

    timer = threading.Timer(0.3, stop)
    timer.start()
    with pytest.raises(StopAskedError):
        load(NOWHERE, config, runtime, Pauses(first_s=30)).caption([Request(picture(), "")] * 3)
    assert time.monotonic() - began[0] < 1
    assert stub.asked  # it did wait for the server


def test_a_stop_before_the_first_question_asks_nothing(stub: StubServer) -> None:
    with pytest.raises(StopAskedError):
        captioner_of(config_of(stub.url), stop_asked=lambda: True).caption([Request(picture(), "")])
    assert stub.questions == []
