"""The scorer of the sandbox: how much of its prompt a scene shows, read by rule. Light: no network looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from PIL import Image

from trainers.preferences.rewards.base import Files, Runtime
from trainers.sandbox import scenes
from trainers.sandbox.scenes import Reading

NAME = "sandbox"


def load(files: Files, runtime: Runtime, version: str) -> SceneScorer:
    """See `rewards.base.Load`; it has no files."""
    return SceneScorer(NAME, version, "prompt")


class SceneScorer:
    """rule: what is looked at, of RULES."""

    def __init__(self, name: str, version: str, rule: str) -> None:
        self.name, self.version, self._judge = name, version, RULES[rule]

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        """None for a prompt that says nothing of a scene."""
        return [self._judge(scenes.read(image), prompt) for image, prompt in zip(images, prompts, strict=True)]


def adherence(seen: Reading, prompt: str) -> float | None:
    """Share of what the prompt says of shape, colour, place and background that the picture shows, in [0, 1]."""
    said = {
        "shape": _named(prompt, scenes.SHAPES),
        "colour": _named(prompt, scenes.COLOURS),
        "place": _named(prompt, scenes.PLACES),
        "background": _named(prompt, scenes.BACKGROUNDS),
    }
    right = [getattr(seen, part) == word for part, word in said.items() if word]
    return sum(right) / len(right) if right else None


def _named(prompt: str, words: Iterable[str]) -> str:
    """The one of the words that the prompt holds, "" for none."""
    held = set(prompt.lower().replace(",", " ").split())
    return next((word for word in words if word in held), "")


def _height(seen: Reading, prompt: str) -> float | None:
    """How far up the object is, in [0, 1]; prompts leave it open. None where there is no object."""
    return None if seen.y is None else 1 - seen.y / scenes.SIZE


def _opposite(judge: Callable[[Reading, str], float | None]) -> Callable[[Reading, str], float | None]:
    def opposite(seen: Reading, prompt: str) -> float | None:
        value = judge(seen, prompt)
        return None if value is None else 1 - value

    return opposite


# with rules that are wrong on purpose, to see whether scores that mislead are noticed
RULES: dict[str, Callable[[Reading, str], float | None]] = {
    "prompt": adherence,
    "higher": _height,
    "lower": _opposite(_height),
    "contrary": _opposite(adherence),
}
