"""The drawing of a set's pictures, as a story. What is in the set is never drawn again, and never touched."""

from __future__ import annotations

import time
from pathlib import Path

from trainers.events import Emit, PhaseChanged, PicturesMade
from trainers.preferences import plan
from trainers.preferences.config import GenerateConfig
from trainers.preferences.halving import Outcome, StopAsked
from trainers.preferences.painter import Painter
from trainers.preferences.plan import Wanted
from trainers.preferences.prefset import Prefset
from trainers.preferences.prompts import read_prompts
from trainers.preferences.recipe import Recipe, recipe_of, worn
from trainers.rundir import RunDir
from trainers.weights.hub import Progress


def work(run: RunDir, config: GenerateConfig, emit: Emit, stop_asked: StopAsked, download: Progress) -> Outcome:
    """Draw what the set lacks. config: resolved; download: hears of a base that is downloaded. Raises AtelierError."""
    prefset = Prefset.create(Path(config.set.folder))
    recipe = recipe_of(config, worn(config.adapter.file, config.adapter.strength))
    todo = plan.remembered(run)
    if todo is None:
        todo = _todo(config, prefset, recipe)
        plan.remember(run, todo)
    painter = Painter(config, recipe, prefset, emit, download)
    painter.take_in(todo)
    done = len(todo) - len(plan.missing(prefset, todo))
    emit(PhaseChanged("generating", "", done, len(todo)))
    size, stopped = int(config.pictures.batch_size), False
    for first in range(0, len(todo), size):
        if stopped := stop_asked():
            break
        begun = time.monotonic()
        if made := painter.draw(todo[first:], size):
            done += len(made)
            emit(PicturesMade(done, len(todo), round(time.monotonic() - begun, 4), tuple(made)))
    return Outcome(done, stopped and done < len(todo), _summary(done, len(todo), prefset))


def _todo(config: GenerateConfig, prefset: Prefset, recipe: Recipe) -> list[Wanted]:
    texts = read_prompts(config.prompts)
    prompts = prefset.add_prompts((text, config.prompts.negative) for text in texts)
    asked = plan.wanted(prompts, config.pictures.per_prompt, config.pictures.seed, recipe.key)
    return plan.missing(prefset, list(asked))


def _summary(done: int, total: int, prefset: Prefset) -> str:
    there = f"the set has {len(prefset.pictures)} pictures of {len(prefset.prompts)} prompts"
    return f"drawn {done} of {total}; {there}" if total else f"nothing was missing; {there}"
