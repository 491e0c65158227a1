"""The captioner that asks a server: the questions and pictures that go out, and the answers that come back."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import torch
from PIL import Image

from captioners.base import Request, Runtime
from captioners.server import load
from captioners.server_client import models
from captioners.server_endpoint import checked_url
from captioners.server_messages import read_answer, without_thoughts, would_send
from tests import stub_server
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
from tests.stub_server import COLOURS, StubServer, answer, break_off, raw, status
from trainers.errors import AtelierError, ConfigError

_no_key = pytest.fixture(autouse=True)(without_key)
stub = pytest.fixture(running_stub)


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
