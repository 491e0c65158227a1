"""Scorers by the names that jobs know: those of the catalog, and the sandbox with a rule, as in sandbox:higher."""

from __future__ import annotations

from dataclasses import dataclass

from trainers.errors import ConfigError
from trainers.preferences import scorers
from trainers.preferences.catalog import ScorerSpec
from trainers.preferences.config import Scorers
from trainers.preferences.rewards import sandbox
from trainers.preferences.rewards.base import Files, Runtime, Scorer
from trainers.weights.hub import Progress


def catalog_name(name: str) -> str:
    """The name without its rule."""
    return name.partition(":")[0]


def spec_of(name: str) -> ScorerSpec:
    """Raises ConfigError for a name that no scorer has."""
    return scorers.spec_of(catalog_name(name))


def check_name(name: str) -> None:
    """Raises ConfigError for a name that no scorer has, and for a rule that there is not."""
    base, colon, rule = name.partition(":")
    spec_of(base)
    if colon and (base != sandbox.NAME or rule not in sandbox.RULES):
        known = ", ".join(f"{sandbox.NAME}:{one}" for one in sandbox.RULES)
        raise ConfigError("scorers.names", f"There is no scorer {name!r}.", f"Of the sandbox there are {known}.")


@dataclass(frozen=True)
class Judge:
    """A scorer that can be loaded."""

    name: str
    files: Files
    runtime: Runtime

    @property
    def version(self) -> str:
        """What it will call itself."""
        return scorers.version_of(catalog_name(self.name), self.files, self.runtime.precision)

    def load(self) -> Scorer:
        """Reads the weights, once. Raises AtelierError with the remedy."""
        base, _, rule = self.name.partition(":")
        if rule:
            return sandbox.SceneScorer(self.name, self.version, rule)
        return scorers.open_scorer(base, self.files, self.runtime)


def judges_of(part: Scorers, threads: int, download: Progress) -> list[Judge]:
    """The scorers of a job, with their weights on this machine. Raises AtelierError when they cannot be had."""
    given = scorers.given_places(part.weights)
    assert part.precision != "auto", "the config is resolved"
    runtime = Runtime(part.device, part.precision, threads)
    found = []
    for name in part.names:
        base = catalog_name(name)
        scorers.require_package(base)
        found.append(Judge(name, scorers.fetch(base, given.get(base), download), runtime))
    return found
