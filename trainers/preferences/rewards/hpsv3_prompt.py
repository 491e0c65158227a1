"""What HPS v3 is asked about a picture: the words that it was trained with, read from its own package. Light."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

from trainers.errors import AtelierError, MissingPackageError

PACKAGE = "hpsv3"
WORDS = "dataset/data_collator_qwen.py"  # of the package; the file is read, never run
REWARD, IMAGE = "<|Reward|>", "<|image_pad|>"

_BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
_AFTER = "<|im_end|>\n<|im_start|>assistant\n"


@cache
def question() -> str:
    """The instruction, with {text_prompt} for the prompt, and the question with the reward token behind it.

    Raises MissingPackageError without the package, AtelierError for one that holds other texts.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        line = ".venv/bin/python -m pip install --no-deps -r requirements-hpsv3.txt"
        raise MissingPackageError(f"HPS v3 is asked in words of the package {PACKAGE}.", f"Install it with: {line}")
    texts = _texts(Path(spec.submodule_search_locations[0], WORDS))
    whole = texts.get("INSTRUCTION", "") + texts.get("prompt_with_special_token", "")
    if "{text_prompt}" not in whole or REWARD not in whole:
        message = f"This version of the package {PACKAGE} asks in another way."
        raise AtelierError(message, "Install the one of requirements-hpsv3.txt.")
    return whole


def _texts(file: Path) -> dict[str, str]:
    """The texts that a module gives names to."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except OSError:
        return {}
    return {
        line.targets[0].id: line.value.value
        for line in tree.body
        if isinstance(line, ast.Assign)
        and isinstance(line.targets[0], ast.Name)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    }


def chat(prompt: str, places: int) -> str:
    """The whole text for one picture, which takes so many places in it. Raises as `question` does."""
    # a prompt that holds one of the model's marks would end its turn, or take a place of the picture
    words = prompt.replace("<|", "< |").encode("utf-8", "replace").decode()
    return f"{_BEFORE}{IMAGE * places}<|vision_end|>{question().replace('{text_prompt}', words)}{_AFTER}"
