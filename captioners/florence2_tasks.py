"""What Florence-2 can be asked: tasks by the names of `prompt.task`, and tags made of the objects it finds. Light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TASK_TOKENS: Mapping[str, str] = {
    "more_detailed": "<MORE_DETAILED_CAPTION>",
    "detailed": "<DETAILED_CAPTION>",
    "caption": "<CAPTION>",
    "tags": "<GENERATE_TAGS>",
    "mixed": "<MIXED_CAPTION>",
    "mixed_plus": "<MIXED_CAPTION_PLUS>",
    "analyze": "<ANALYZE>",
}
# the model as Microsoft trained it has no task for tags: what it finds in the picture is named instead
LABEL_TASKS = ("<OD>", "<DENSE_REGION_CAPTION>")


@dataclass(frozen=True)
class Label:
    """An object that was found. area: of its box, in pixels."""

    name: str
    area: float


def questions_of(prompt: str, writes_tags: bool) -> list[str]:
    """The tasks that answer a prompt, each a question of its own: one, or for tags several that find objects.

    writes_tags: the model has a task for tags. Empty for a prompt that is no task: the model follows no words.
    """
    prompt = prompt.strip()
    if prompt == TASK_TOKENS["tags"] and not writes_tags:
        return list(LABEL_TASKS)
    return [prompt] if prompt in (*TASK_TOKENS.values(), *LABEL_TASKS) else []


def tags_from(labels: Sequence[Label]) -> str:
    """Names of what was found, each once: first what is there most often, then what is largest."""
    found: dict[str, list[Label]] = {}
    for label in labels:
        name = label.name.strip(" .,")
        if name:
            found.setdefault(name.casefold(), []).append(Label(name, label.area))
    # sorted() keeps the order of finding among equals
    ranked = sorted(found.values(), key=lambda same: (-len(same), -max(one.area for one in same)))
    return ", ".join(same[0].name for same in ranked)
