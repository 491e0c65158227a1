"""The pictures of a comparison: of each prompt, reference and policy from the same noise. Light."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from trainers.errors import AtelierError
from trainers.preferences import plan
from trainers.preferences.config import CompareConfig
from trainers.preferences.plan import Wanted
from trainers.preferences.prefset import Pair, Prefset, image_id_of, make_pair, pair_id_of
from trainers.preferences.prompts import read_prompts
from trainers.preferences.recipe import Recipe, recipe_of, worn
from trainers.rundir import RunDir

Role: TypeAlias = Literal["reference", "policy"]
ROLES: tuple[Role, ...] = get_args(Role)  # in the order in which they are drawn


@dataclass(frozen=True)
class Duel:
    """reference, policy: image ids; they are the same where the two models drew the same picture, byte by byte."""

    prompt_id: str
    reference: str
    policy: str

    @property
    def is_same(self) -> bool:
        return self.reference == self.policy

    @property
    def pair_id(self) -> str:
        return pair_id_of(self.reference, self.policy, self.prompt_id)

    @property
    def pair(self) -> Pair:
        """To label: a and b are in the order of the picture's hashes, which know nothing of the models."""
        return make_pair(self.reference, self.policy, self.prompt_id, "compare")


def recipes_of(config: CompareConfig) -> dict[Role, Recipe]:
    """config: resolved. Raises OSError, WeightsError."""
    return {
        "reference": recipe_of(config, worn(config.reference.file, 1.0)),
        "policy": recipe_of(config, worn(config.policy.file, 1.0)),
    }


def asked(
    run: RunDir, config: CompareConfig, prefset: Prefset, recipes: Mapping[Role, Recipe]
) -> dict[Role, list[Wanted]]:
    """What each of the two draws; written down when the job begins, and the same from then on.

    Raises AtelierError when a model is no longer the one that the job began with.
    """
    todo = plan.remembered(run)
    if todo is None:
        prompts = prefset.add_prompts((text, config.prompts.negative) for text in read_prompts(config.prompts))
        part = config.pictures
        todo = [one for role in ROLES for one in plan.wanted(prompts, part.per_prompt, part.seed, recipes[role].key)]
        plan.remember(run, todo)
    found = _by_role(todo)
    for role, wanted in found.items():
        if f"-{recipes[role].key}-" not in wanted[0].path:
            raise AtelierError(f"The {role} has changed since this comparison began.", "Start a new one.")
    return found


def duels_of(run: RunDir, prefset: Prefset) -> list[Duel]:
    """Those of which both pictures are drawn, in the order of the prompts; none before the job began."""
    todo = plan.remembered(run)
    return list(_duels(_by_role(todo), prefset)) if todo else []


def _by_role(todo: Sequence[Wanted]) -> dict[Role, list[Wanted]]:
    half = len(todo) // 2
    return {"reference": list(todo[:half]), "policy": list(todo[half:])}


def _duels(wanted: Mapping[Role, Sequence[Wanted]], prefset: Prefset) -> Iterator[Duel]:
    listed = {(id, one.path): one.image_id for id in prefset.prompts for one in prefset.pictures_of(id)}
    for pair in zip(*(wanted[role] for role in ROLES), strict=True):
        reference, policy = (_image_id(one, listed, prefset) for one in pair)
        if reference and policy:
            yield Duel(pair[0].prompt_id, reference, policy)


def _image_id(one: Wanted, listed: Mapping[tuple[str, str], str], prefset: Prefset) -> str:
    """ "" for a picture that is not there. Two files that are the same have one line in the set, that of the first."""
    if found := listed.get((one.prompt_id, one.path)):
        return found
    file = prefset.folder / one.path
    return image_id_of(file.read_bytes()) if file.is_file() else ""
