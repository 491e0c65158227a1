"""The captioner that asks a server: what goes out, what comes back, and everything that may go wrong on the way."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image

from captioners.base import Captioner, Request, Runtime, StopAskedError
from captioners.config import CaptionConfig
from captioners.server import load
from captioners.server_client import Client, Pauses, models, run
from captioners.server_endpoint import Endpoint, checked_url
from captioners.server_messages import question, read_answer, without_thoughts, would_send
from tests import stub_server
from tests.stub_server import COLOURS, StubServer, answer, break_off, drip, hang, raw, status
from trainers.errors import AtelierError, ConfigError

QUICK = Pauses(first_s=0.001, longest_s=0.01)
NOWHERE = Path("/nowhere/at/all")
KEY = "sk-a-very-secret-key"
VARIABLE = "ATELIER_TEST_KEY"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    with StubServer() as server:
        yield server


def config_of(url: str, **changes: dict[str, Any]) -> CaptionConfig:
    values: dict[str, Any] = {
        "captioner": {"name": "server"},
        "generate": {"temperature": 0.5, "top_p": 0.9, "top_k": 0, "beams": 1, "max_tokens": 77},
        "server": {"url": url, "model": "stub", "retries": 2, "timeout_s": 5.0, "key_env": VARIABLE},
    }
    for section, more in changes.items():
        values[section] = values.get(section, {}) | more
    return CaptionConfig.model_validate(values)


def captioner_of(config: CaptionConfig, stop_asked: Any = lambda: False) -> Captioner:
    return load(NOWHERE, config, Runtime(torch.device("cpu"), torch.float32, stop_asked=stop_asked), QUICK)


def picture(colour: str = "red", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, COLOURS[colour])


def ask(config: CaptionConfig, *colours: str) -> list[Any]:
    return captioner_of(config).caption([Request(picture(colour), "Describe it.", 7) for colour in colours or ("red",)])


def test_the_right_picture_gets_the_right_answer(stub: StubServer) -> None:
    # answers come in another order than the questions
    stub.script = [answer(wait_s=0.2), answer(wait_s=0.1), answer()]
    results = ask(config_of(stub.url, server={"concurrency": 3}), "red", "green", "blue", "yellow")
    assert [one.text.split()[1] for one in results] == ["red", "green", "blue", "yellow"]
    assert all(one.fault == "" and not one.truncated for one in results)


def test_the_question_holds_prompt_system_and_settings(stub: StubServer) -> None:
    config = config_of(stub.url, prompt={"system": "Be brief."}, generate={"top_k": 20})
    captioner_of(config).caption([Request(picture(), "What is\nit?", 2**40 + 5)])
    (asked,) = stub.questions
    system, user = asked.body["messages"]
    assert asked.path == "/v1/chat/completions"
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"][0] == {"type": "text", "text": "What is\nit?"}
    settings = {name: asked.body[name] for name in ("model", "temperature", "top_p", "top_k", "max_tokens", "seed")}
    assert settings == {
        "model": "stub",
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 20,
        "max_tokens": 77,
        "seed": 5,
    }
    assert "Authorization" not in asked.headers


def test_what_is_not_set_is_not_sent(stub: StubServer) -> None:
    ask(config_of(stub.url))
    assert [one["role"] for one in stub.questions[0].body["messages"]] == ["user"]
    assert "top_k" not in stub.questions[0].body


def test_half_of_a_surrogate_pair_in_a_name_is_left_out(stub: StubServer) -> None:
    captioner_of(config_of(stub.url)).caption([Request(picture(), "file \udcff.png")])
    assert stub.questions[0].body["messages"][0]["content"][0]["text"] == "file .png"


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ((400, 100), (128, 32)),
        ((100, 400), (32, 128)),
        ((1000, 1), (128, 1)),
        ((128, 90), (128, 90)),
        ((10, 20), (10, 20)),
    ],
)
def test_pictures_are_made_smaller_and_never_larger(
    stub: StubServer, size: tuple[int, int], sent: tuple[int, int]
) -> None:
    config = config_of(stub.url, server={"max_side": 128})
    (result,) = captioner_of(config).caption([Request(picture("blue", size), "")])
    assert result.text == f"A blue picture of {sent[0]}x{sent[1]}."


def test_any_mode_of_a_picture_goes_out_as_rgb(stub: StubServer) -> None:
    grey = Image.new("L", (8, 8), 255)
    assert captioner_of(config_of(stub.url)).caption([Request(grey, "")])[0].text == "A white picture of 8x8."


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


def test_as_many_questions_are_open_as_the_config_says(stub: StubServer) -> None:
    stub.usual = answer(wait_s=0.1)
    ask(config_of(stub.url, server={"concurrency": 3}), *["red"] * 9)
    assert stub.most_open == 3 and len(stub.questions) == 9


def test_a_text_that_was_cut_off_says_so(stub: StubServer) -> None:
    stub.script = [answer("A cat sits. It", finish="length")]
    (result,) = ask(config_of(stub.url))
    assert (result.text, result.truncated, result.fault) == ("A cat sits. It", True, "")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>It is a cat.</think>\n\nA cat.", "A cat."),
        ("<THINK>\nOne\n</THINK>A <thinking>two</thinking>cat.", "A cat."),
        ("It may be a cat.\n</think>A cat.", "A cat."),  # the template begins the thoughts
        ("<think>Is it", ""),
        ("A cat. <think>Is it", "A cat."),
        (" A cat.\nA dog. ", "A cat.\nA dog."),
    ],
)
def test_thoughts_are_no_part_of_the_caption(text: str, left: str) -> None:
    assert without_thoughts(text) == left


@pytest.mark.parametrize(
    "act",
    [
        answer("<think>It could be", finish="length"),
        answer("", finish="length", reasoning_content="It could be"),
        answer("<think>It is a cat.</think>"),
    ],
)
def test_nothing_but_thoughts_is_an_empty_caption_with_a_remedy(stub: StubServer, act: Any) -> None:
    stub.script = [act]
    (result,) = ask(config_of(stub.url))
    assert (result.text, result.fault) == ("", "empty") and "generate.max_tokens" in result.why


@pytest.mark.parametrize(
    ("act", "fault"),
    [
        (answer("", refusal="I can't do that."), "refused"),
        (answer("A ", finish="content_filter"), "refused"),
        (answer("I'm sorry, but I can't help with that."), "refused"),
        (status(400, {"error": {"message": "The prompt was filtered", "code": "content_filter"}}), "refused"),
        (status(403, {"error": {"message": "flagged by moderation"}}), "refused"),
        (answer(""), "empty"),
        (answer(" \n"), "empty"),
        (answer("!!!!"), "empty"),
        (answer("a cat " * 9), "repeats"),
    ],
)
def test_a_text_that_is_no_caption_has_a_fault(stub: StubServer, act: Any, fault: str) -> None:
    stub.script = [act]
    (result,) = ask(config_of(stub.url))
    assert result.fault == fault and len(stub.questions) == 1


def test_an_answer_in_parts_is_put_together() -> None:
    parts = [{"type": "text", "text": "A "}, {"type": "other"}, {"type": "text", "text": "cat."}]
    assert read_answer({"choices": [{"message": {"content": parts}}]}).text == "A cat."


@pytest.mark.parametrize(
    "body", [None, 3, "", [], {}, {"choices": None}, {"choices": [1]}, {"choices": [{"message": "A cat."}]}]
)
def test_what_is_no_answer_is_refused(body: Any) -> None:
    with pytest.raises(ValueError, match="no answer"):
        read_answer(body)


@pytest.mark.parametrize("name", ["max_tokens", "temperature"])
def test_a_setting_that_the_model_does_not_take_is_left_out_from_then_on(stub: StubServer, name: str) -> None:
    no = status(400, {"error": {"message": "no", "param": name, "code": "unsupported_parameter"}})
    stub.usual = lambda handler, asked: (no if name in asked.body else answer())(handler, asked)
    results = ask(config_of(stub.url, server={"concurrency": 2}), "red", "green", "blue")
    assert [one.text.split()[1] for one in results] == ["red", "green", "blue"]
    assert 1 <= sum(name in one.body for one in stub.questions) <= 2  # those that were open at once
    assert stub.questions[-1].body.get("max_completion_tokens") == (77 if name == "max_tokens" else None)


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


# --- address and model ---


@pytest.mark.parametrize(
    "url", ["http://a/v1", "http://a/v1/", " http://a/v1/chat/completions ", "http://a/v1/chat/completions/"]
)
def test_an_address_is_found_as_people_write_it(url: str) -> None:
    assert checked_url(url) == "http://a/v1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "127.0.0.1:1234/v1",
        "ftp://a/v1",
        "http://",
        "/v1",
        "http://me:secret@a/v1",
        "http://a/v1?key=secret",
        "http://a:b/",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(NOWHERE, config_of(url), Runtime(torch.device("cpu"), torch.float32))
    assert raised.value.field == "server.url" and "secret" not in str(raised.value)


def test_models_are_listed_as_the_server_has_them(stub: StubServer) -> None:
    stub.models = ("b", "a")
    assert models(f"{stub.url}/") == ["b", "a"]


def test_the_only_model_is_taken(stub: StubServer) -> None:
    stub.models = ("the one",)
    ask(config_of(stub.url, server={"model": ""}))
    assert stub.questions[0].body["model"] == "the one"


def test_a_named_model_needs_no_list(stub: StubServer) -> None:
    stub.models = status(404)
    assert ask(config_of(stub.url))[0].text and len(stub.asked) == 1


@pytest.mark.parametrize(("names", "words"), [(("a", "b"), "a, b"), ((), "no model")])
def test_a_choice_of_models_is_left_to_the_person(stub: StubServer, names: tuple[str, ...], words: str) -> None:
    stub.models = names
    with pytest.raises(ConfigError, match=words) as raised:
        ask(config_of(stub.url, server={"model": ""}))
    assert raised.value.field == "server.model"


@pytest.mark.parametrize(
    "act", [raw(b"<html>"), raw(b"{}"), raw(b'{"data": [3]}'), status(500), status(400), status(404), break_off]
)
def test_a_list_of_models_that_is_none_is_an_error(stub: StubServer, act: Any) -> None:
    stub.models = act
    with pytest.raises(AtelierError):
        models(stub.url)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert ask(config_of(stub.url))[0].text
    assert Endpoint.of("http://localhost:1").is_this_machine and Endpoint.of("http://[::1]:1").is_this_machine
    assert not Endpoint.of("https://api.example.com/v1").is_this_machine


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


# --- nothing sent ---


def test_would_send_tells_the_cost_and_sends_nothing(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    config = config_of(stub.url, prompt={"system": "Be brief."}, server={"max_side": 112})
    sent = would_send(config, Request(picture("red", (224, 112)), "12345678"))
    ask(config)
    assert sent.pop("bytes") > 100
    assert sent == {
        "url": stub.url,
        "model": "stub",
        "system": "Be brief.",
        "prompt": "12345678",
        "width": 112,
        "height": 56,
        "max_tokens": 77,
        "estimated_tokens": 8 + 5,  # 112 x 56 / 28^2, and 17 signs / 4
    }
    assert len(stub.asked) == 1 and KEY not in str(sent)


def test_a_dry_run_says_what_it_would_ask_and_sends_nothing(stub: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpx.AsyncClient, "send", None)
    config = config_of(stub.url, server={"model": "", "cost_free": True})
    captioner = captioner_of(config)
    (result,) = captioner.caption([Request(picture("red", (2048, 1366)), "Describe\nit. " + "Please. " * 40)])
    assert result.text.startswith(f"would ask (the server's only model) at {stub.url}: \"Describe it. Please.")
    assert " with a 1024x683 JPEG of " in result.text and result.text.endswith(" kB") and "\n" not in result.text
    assert result.fault == "" and stub.asked == []


def test_the_stub_sees_colours() -> None:
    assert all(stub_server.describe(picture(name)).split()[1] == name for name in COLOURS)
