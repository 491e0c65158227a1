"""What captioners are asked: exact prompts, options, variables, and values that do not exist."""

from __future__ import annotations

import hashlib
import json

import pytest

from captioners import sandbox
from captioners.catalog import CAPTIONERS
from captioners.config import CaptionConfig, Prompt
from captioners.florence2_tasks import TASK_TOKENS
from captioners.prompts import CAPTION_TYPES, GENERAL, LENGTHS, OPTIONS, check_prompt, fill, prompt_for
from trainers.errors import ConfigError

BETA, ALPHA = "joycaption-beta-one", "joycaption-alpha-two"
PERSON = "If there is a person/character in the image you must refer to them as"


def asked(name: str, tags: str = "a cat", **prompt) -> str:
    config = CaptionConfig(prompt=Prompt.model_validate(prompt))
    return prompt_for(config, CAPTIONERS[name], tags=tags, name="IMG_1", directory="cats")


def fault(name: str, **prompt) -> ConfigError:
    config = CaptionConfig(prompt=Prompt.model_validate(prompt))
    with pytest.raises(ConfigError) as raised:
        check_prompt(config, CAPTIONERS[name])
    return raised.value


@pytest.mark.parametrize(
    ("dialect", "types", "options", "digest"),
    [
        ("beta", 12, 27, "80a60d578f8fa7f5e4dea7110ccc7c281aae615be64b76717ba021bfd2c23f97"),
        ("alpha", 9, 17, "0e446ca4e0f686dae2436b032d1899cd8001527b258c42d2ff4426a444e9c8a6"),
    ],
)
def test_joycaption_s_prompts_are_word_for_word_those_that_it_was_trained_on(dialect, types, options, digest):
    """The digests are of the tables in fpgaminer/joycaption: gradio-app/app.py, and README.md of Alpha Two's time."""
    assert (len(CAPTION_TYPES[dialect]), len(OPTIONS[dialect])) == (types, options)
    templates = [[name, list(three)] for name, three in CAPTION_TYPES[dialect].items()]
    text = json.dumps([templates, list(OPTIONS[dialect].values())])
    assert hashlib.sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize("dialect", CAPTION_TYPES)
def test_templates_hold_what_their_place_promises(dialect):
    for plain, counted, sized in CAPTION_TYPES[dialect].values():
        assert "{" not in plain
        assert counted.count("{word_count}") == 1 and counted.count("{") == 1
        assert sized.count("{length}") == 1 and sized.count("{") == 1
    assert [key for key, sentence in OPTIONS[dialect].items() if "{" in sentence] == ["name"]


def test_lengths_are_words_or_numbers():
    assert LENGTHS[:6] == ("any", "very short", "short", "medium-length", "long", "very long")
    assert [int(length) for length in LENGTHS[6:]] == list(range(20, 261, 10))


@pytest.mark.parametrize(
    ("name", "prompt", "text"),
    [
        (BETA, {}, "Write a long detailed description for this image."),
        (BETA, {"length": "any"}, "Write a detailed description for this image."),
        (BETA, {"length": "47"}, "Write a detailed description for this image in 47 words or less."),
        (ALPHA, {}, "Write a long descriptive caption for this image in a formal tone."),
        (ALPHA, {"length": "20"}, "Write a descriptive caption for this image in a formal tone within 20 words."),
        ("joycaption-alpha-two-folders", {"caption_type": "Booru tag list", "length": "short"},
         "Write a short list of Booru tags for this image."),
    ],
)  # fmt: skip
def test_type_and_length_make_the_question_of_the_version(name, prompt, text):
    assert asked(name, **prompt) == text


def test_options_are_keys_or_sentences_and_follow_in_order():
    text = asked(BETA, length="any", options=("pg", "Name the fish {directory}.", "lighting", "pg"))
    question = CAPTION_TYPES["beta"]["Descriptive"][0]
    table = OPTIONS["beta"]
    assert text == f"{question} {table['pg']} Name the fish cats. {table['lighting']}"


@pytest.mark.parametrize("options", [(), ("name",), (OPTIONS["beta"]["name"],), ("name", OPTIONS["beta"]["name"])])
def test_a_name_is_told_once_whether_its_option_was_chosen_or_not(options):
    text = asked(BETA, person="ohwx {name}", options=options)
    assert text == f"Write a long detailed description for this image. {PERSON} ohwx {{name}}."


def test_text_of_one_s_own_takes_the_place_of_everything():
    own = {"text": " Say it: {tags} ", "caption_type": "no such type", "options": ("pg",), "person": "Bo"}
    assert asked(BETA, **own) == "Say it: a cat"
    assert asked("qwen3-vl-4b", text="What? {name}") == "What? IMG_1"
    assert asked("blip-base", text="a photo of") == "a photo of"


def test_variables_are_filled_once_and_other_braces_stay():
    values = {"tags": "{name} {0}", "name": "IMG_1", "directory": "cats"}
    assert fill("{tags}", values) == "{name} {0}"
    assert fill(r"\{tags} {tags }{}{{name}} {nam} {", values) == "{tags} {tags }{}{IMG_1} {nam} {"
    assert fill(r"\\{name}", values) == "\\{name}"
    assert fill("{directory}/{name}", values) == "cats/IMG_1"


def test_each_kind_has_a_question_of_its_own():
    assert asked("sandbox") == sandbox.PROMPT
    assert asked("wd-vit") == asked("blip-base") == asked("blip2") == ""
    assert asked("qwen2.5-vl-3b") == GENERAL
    assert asked("florence2-base") == "<MORE_DETAILED_CAPTION>"
    assert asked("florence2-promptgen", task="mixed") == TASK_TOKENS["mixed"]


def test_a_server_is_told_the_name_with_any_question():
    assert asked("server", person="Bo") == f"{GENERAL} {PERSON} Bo."
    assert asked("server", person="Bo", text="What?") == f"What? {PERSON} Bo."
    assert asked("server", text="What?") == "What?"


@pytest.mark.parametrize(
    ("name", "prompt", "field", "hint"),
    [
        ("florence2-base", {"task": "mixed"}, "prompt.task", "more_detailed"),
        ("florence2-base", {"task": "captions"}, "prompt.task", "Did you mean 'caption'?"),
        (BETA, {"caption_type": "descriptve"}, "prompt.caption_type", "Did you mean 'Descriptive'?"),
        (BETA, {"caption_type": "Training Prompt"}, "prompt.caption_type", "'Stable Diffusion Prompt'"),
        (ALPHA, {"caption_type": "Straightforward"}, "prompt.caption_type", "Descriptive"),
        (BETA, {"length": "longer"}, "prompt.length", "20 to 260"),
        (BETA, {"length": "10"}, "prompt.length", "20 to 260"),
        (BETA, {"length": "-20"}, "prompt.length", "20 to 260"),
        (BETA, {"options": ("lightning",)}, "prompt.options", "Did you mean 'lighting'?"),
        (BETA, {"options": ("",)}, "prompt.options", "lighting"),
        (ALPHA, {"options": ("profanity",)}, "prompt.options", "lighting"),
        (BETA, {"options": ("name",)}, "prompt.options", "prompt.person"),
    ],
)
def test_a_value_that_does_not_exist_is_told_with_what_does(name, prompt, field, hint):
    raised = fault(name, **prompt)
    assert raised.field == field
    assert hint.strip("'") in raised.hint


def test_only_what_a_kind_reads_is_checked():
    nonsense = Prompt(task="nonsense", caption_type="nonsense", length="nonsense", options=("nonsense",))
    for spec in CAPTIONERS.values():
        if spec.kind not in ("florence2", "joycaption", "joycaption_folders"):
            check_prompt(CaptionConfig(prompt=nonsense), spec)
    check_prompt(CaptionConfig(prompt=Prompt(task="nonsense")), CAPTIONERS[BETA])
    check_prompt(CaptionConfig(prompt=Prompt(length="nonsense")), CAPTIONERS["florence2-base"])


@pytest.mark.parametrize("name", CAPTIONERS)
def test_every_captioner_has_a_prompt_by_default_that_passes_its_check(name):
    check_prompt(CaptionConfig(), CAPTIONERS[name])
    assert "{" not in asked(name)


@pytest.mark.parametrize("name", [name for name, spec in CAPTIONERS.items() if spec.kind == "florence2"])
def test_every_task_of_florence_2_has_a_token(name):
    assert all(asked(name, task=task).startswith("<") for task in CAPTIONERS[name].tasks)
