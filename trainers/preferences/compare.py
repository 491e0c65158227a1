"""The comparison of a trained model with its reference, as a story: draw, pair, score, count.

Both draw the same prompts from the same noise. What they drew stays in a set, where people can label it blindly.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainers.events import Emit, PhaseChanged, PicturesMade, Warned
from trainers.preferences import report, scoring
from trainers.preferences.background import Seen, seen
from trainers.preferences.config import CompareConfig, ScoreConfig
from trainers.preferences.duels import ROLES, Duel, Role, asked, duels_of, recipes_of
from trainers.preferences.halving import Outcome, StopAsked
from trainers.preferences.plan import Wanted
from trainers.preferences.prefset import Prefset
from trainers.preferences.recipe import Recipe
from trainers.preferences.rewards import sandbox
from trainers.rundir import RunDir
from trainers.weights.hub import Progress

FEW_PROMPTS = 10


def work(run: RunDir, config: CompareConfig, emit: Emit, stop_asked: StopAsked, download: Progress) -> Outcome:
    """Draw and score what is not there yet, and count. config: resolved. Raises AtelierError."""
    prefset = Prefset.create(Path(config.set.folder))
    recipes = recipes_of(config)
    wanted = asked(run, config, prefset, recipes)
    prompts = list(dict.fromkeys(one.prompt for one in wanted["policy"]))
    known = seen(config.policy.file, prompts)
    _warn(len(prompts), known, emit)
    drawn = Drawing(config, prefset, emit, stop_asked, download).run(wanted, recipes)
    if drawn.stopped:
        return drawn
    duels = duels_of(run, prefset)
    prefset.add_pairs(duel.pair for duel in duels if not duel.is_same and duel.pair_id not in prefset.pairs)
    scored = _score(run, config, duels, emit, stop_asked, download)
    if scored and scored.stopped:
        return scored
    prefset.refresh()
    found = report.write(run, config, prefset, known)
    return Outcome((scored or drawn).done, False, report.sentence(found))


def _warn(prompts: int, known: Seen, emit: Emit) -> None:
    if known.trained_on:
        message = f"{known.trained_on} of {prompts} prompts were trained on: they show memory, not what was learned."
        emit(Warned("compare_trained_prompts", message, "Leave the prompts empty to take those that were held out."))
    if prompts < FEW_PROMPTS:
        message = f"{prompts} prompt{'s' * (prompts != 1)} tell little of others: the interval will be wide."
        emit(Warned("compare_few_prompts", message, "A hundred or more make a proof."))


@dataclass
class Drawing:
    """One model after the other: both at once would fill the memory."""

    config: CompareConfig
    prefset: Prefset
    emit: Emit
    stop_asked: StopAsked
    download: Progress
    done: int = 0
    total: int = 0

    def run(self, wanted: Mapping[Role, Sequence[Wanted]], recipes: Mapping[Role, Recipe]) -> Outcome:
        every = [one for role in ROLES for one in wanted[role]]
        self.total = len(every)
        self.done = sum((self.prefset.folder / one.path).is_file() for one in every)
        self.emit(PhaseChanged("comparing", "", self.done, self.total))
        through = all(self._draw(role, wanted[role], recipes[role]) for role in ROLES)
        return Outcome(self.done, not through, f"drawn {self.done} of {self.total} pictures")

    def _draw(self, role: Role, todo: Sequence[Wanted], recipe: Recipe) -> bool:
        """False when it was stopped."""
        from trainers.preferences.painter import Painter

        painter = Painter(self.config, recipe, self.prefset, self.emit, self.download, role)
        painter.take_in(todo)
        size = int(self.config.pictures.batch_size)
        for first in range(0, len(todo), size):
            if self.stop_asked():
                return False
            begun = time.monotonic()
            if made := painter.draw(todo[first:], size):
                self.done += len(made)
                self.emit(PicturesMade(self.done, self.total, round(time.monotonic() - begun, 4), tuple(made)))
        painter.close()
        return True


def _score(
    run: RunDir, config: CompareConfig, duels: Sequence[Duel], emit: Emit, stop_asked: StopAsked, download: Progress
) -> Outcome | None:
    """None when there is nobody to judge."""
    names = judges(config)
    if not names:
        return None
    part = config.scorers.model_copy(update={"names": names})
    only = {image_id for duel in duels for image_id in (duel.reference, duel.policy)}
    as_score = ScoreConfig(run=config.run, set=config.set, scorers=part)
    return scoring.work(run, as_score, emit, stop_asked, download, only)


def judges(config: CompareConfig) -> tuple[str, ...]:
    """The scorers that were asked for; of the sandbox also how far each model does what prompts say."""
    added = (sandbox.NAME,) if config.model.base == "sandbox" else ()
    return tuple(dict.fromkeys([*config.scorers.names, *added]))
