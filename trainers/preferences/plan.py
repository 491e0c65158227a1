"""Which pictures a job will draw: named by what they depend on, so that nothing is ever drawn twice. Light."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.preferences.prefset import Prefset, Prompt
from trainers.rundir import RunDir, all_records, write_atomic

MAX_SEED = 1 << 32


@dataclass(frozen=True)
class Wanted:
    """A picture to draw. path: of its file, relative to the set."""

    prompt_id: str
    prompt: str
    negative: str
    seed: int
    path: str


def seed_of(seed: int, prompt_id: str, index: int) -> int:
    """The noise of picture `index` of a prompt: the same whatever other prompts there are, and for every model."""
    digest = hashlib.blake2b(f"{seed}/{prompt_id}/{index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % MAX_SEED


def wanted(prompts: Sequence[Prompt], per_prompt: int, seed: int, key: str) -> Iterator[Wanted]:
    """Every picture that the set is to have, prompt by prompt. key: of the recipe."""
    for prompt in prompts:
        for index in range(per_prompt):
            own = seed_of(seed, prompt.prompt_id, index)
            path = f"images/{prompt.prompt_id}-{key}-{own:08x}.png"
            yield Wanted(prompt.prompt_id, prompt.prompt, prompt.negative, own, path)


def listed(prefset: Prefset) -> set[tuple[str, str]]:
    """(prompt id, path) of every picture of the set."""
    found = ((id, one.path) for id in prefset.prompts for one in prefset.pictures_of(id))
    return set(found)


def missing(prefset: Prefset, asked: Sequence[Wanted]) -> list[Wanted]:
    """Those that have no line in the set, or whose file is gone."""
    known = listed(prefset)
    return [one for one in asked if (one.prompt_id, one.path) not in known or not (prefset.folder / one.path).is_file()]


# --------------------------------------------------------------------------- what a job has to draw


def todo_file(run: RunDir) -> Path:
    return run.path / "todo.jsonl"


def remember(run: RunDir, todo: Sequence[Wanted]) -> None:
    """Write down what the job draws, before it draws: it goes on with this very list, in the very same batches."""
    lines = [json.dumps(dataclasses.asdict(one), ensure_ascii=False) + "\n" for one in todo]
    write_atomic(todo_file(run), "".join(lines).encode(errors="backslashreplace"))


def remembered(run: RunDir) -> list[Wanted] | None:
    """None for a job that has not begun."""
    if not todo_file(run).is_file():
        return None
    return [Wanted(**record) for record in all_records(todo_file(run))]


def batches(todo: Sequence[Wanted], size: int) -> Iterator[Sequence[Wanted]]:
    return (todo[first : first + size] for first in range(0, len(todo), size))
