"""What each captioner is asked: the final text for one picture, and the checks of what it is made from. Light."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from captioners import sandbox
from captioners.catalog import CaptionerSpec
from captioners.config import CaptionConfig, Prompt
from captioners.florence2_tasks import TASK_TOKENS
from captioners.joycaption_prompts import (
    CAPTION_TYPES,
    FEWEST_WORDS,
    LENGTHS,
    MOST_WORDS,
    NAME_OPTION,
    OPTIONS,
    Dialect,
)
from trainers.errors import ConfigError

GENERAL = (
    "Write a detailed caption for this image in one paragraph: the main subject and how it looks, what it does, the "
    "setting, the light, the style and the point of view. Say only what can be seen. Begin with the subject itself, "
    'not with words such as "The image shows". Answer with the caption alone.'
)
_VARIABLE = re.compile(r"\\\{|\{(tags|name|directory)\}")


def check_prompt(config: CaptionConfig, spec: CaptionerSpec) -> None:
    """Raises ConfigError for a task, type, length or option that does not exist; looks at what this kind reads only."""
    prompt = config.prompt
    if spec.kind == "florence2":
        if prompt.task not in ("auto", *spec.tasks):
            raise ConfigError("prompt.task", f"there is no task {prompt.task!r}.", _near(prompt.task, spec.tasks))
    elif spec.kind in ("joycaption", "joycaption_folders") and not prompt.text.strip():
        _check_joycaption(prompt, spec.dialect)


def prompt_for(config: CaptionConfig, spec: CaptionerSpec, *, tags: str, name: str, directory: str) -> str:
    """The final text for one picture. tags: the caption that is there; name: of the file, without its ending.

    Text of one's own takes the place of everything else. Raises ConfigError as `check_prompt` does.
    """
    check_prompt(config, spec)
    prompt = config.prompt
    values = {"tags": tags, "name": name, "directory": directory}
    own = fill(prompt.text.strip(), values)
    if spec.kind == "wd":
        return ""
    if spec.kind == "sandbox":
        return sandbox.PROMPT
    if spec.kind == "florence2":
        return TASK_TOKENS[spec.tasks[0] if prompt.task == "auto" else prompt.task]
    if spec.kind in ("joycaption", "joycaption_folders"):
        return own or _joycaption(prompt, spec.dialect, values)
    if spec.kind == "qwen_vl":
        return own or GENERAL
    if spec.kind == "server":
        return " ".join([own or GENERAL, *_person(prompt)])
    return own


def fill(text: str, values: dict[str, str]) -> str:
    r"""Put values in for {tags}, {name} and {directory}; \{ is a plain brace, and other braces stay as they are.

    One pass, so that a caption with braces in it is not filled again; never str.format, which fails on them.
    """
    return _VARIABLE.sub(lambda found: values[found[1]] if found[1] else "{", text)


def _joycaption(prompt: Prompt, dialect: Dialect, values: dict[str, str]) -> str:
    plain, counted, sized = CAPTION_TYPES[dialect][prompt.caption_type]
    template = plain if prompt.length == "any" else counted if prompt.length.isdecimal() else sized
    question = template.replace("{word_count}", prompt.length).replace("{length}", prompt.length)
    table = OPTIONS[dialect]
    wishes = [table.get(option, option) for option in prompt.options]
    sentences = [wish if wish in table.values() else fill(wish, values) for wish in wishes]
    about = table[NAME_OPTION]
    others = [sentence for sentence in sentences if sentence != about]
    return " ".join(dict.fromkeys([question, *_person(prompt), *others]))


def _person(prompt: Prompt) -> list[str]:
    """The wish that a person is called by name, when there is a name."""
    person = prompt.person.strip()
    return [OPTIONS["beta"][NAME_OPTION].replace("{name}", person)] if person else []


def _check_joycaption(prompt: Prompt, dialect: Dialect) -> None:
    types, table = CAPTION_TYPES[dialect], OPTIONS[dialect]
    if prompt.caption_type not in types:
        message = f"there is no caption type {prompt.caption_type!r}."
        raise ConfigError("prompt.caption_type", message, _near(prompt.caption_type, types))
    words = int(prompt.length) if prompt.length.isdecimal() else 0
    if prompt.length not in LENGTHS and not FEWEST_WORDS <= words <= MOST_WORDS:
        names = [length for length in LENGTHS if not length.isdecimal()]
        hint = f"Give one of {', '.join(names)}, or a number of words from {FEWEST_WORDS} to {MOST_WORDS}."
        raise ConfigError("prompt.length", f"there is no length {prompt.length!r}.", hint)
    for option in prompt.options:
        if option not in table and len(option.split()) < 2:
            raise ConfigError("prompt.options", f"there is no option {option!r}.", _near(option, table))
        if option in (NAME_OPTION, table[NAME_OPTION]) and not prompt.person.strip():
            raise ConfigError("prompt.options", "the option name needs a name.", "Set prompt.person.")


def _near(name: str, known: Iterable[str]) -> str:
    """The nearest of the names that exist, in any case of letters, or all of them."""
    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), folded, 1)
    return f"Did you mean {folded[near[0]]!r}?" if near else f"Give one of: {', '.join(folded.values())}."


__all__ = ["CAPTION_TYPES", "LENGTHS", "OPTIONS", "check_prompt", "fill", "prompt_for"]
