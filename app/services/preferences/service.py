"""What the page may ask of preference sets. Safe to call from any thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.jobs.store import Store
from app.jobs.supervisor import Supervisor
from app.monitoring.metrics import Metrics
from app.services.gallery import Gallery
from app.services.library import ModelCard
from app.services.preferences import results, training
from app.services.preferences.building import Building
from app.services.preferences.cards import cards
from app.services.preferences.drafts import Drafts
from app.services.preferences.imports import Imports
from app.services.preferences.jobs import Jobs
from app.services.preferences.offers import Offers
from app.services.preferences.proof import Proof
from app.services.preferences.sets import Sets
from app.services.preferences.shelf import Shelf
from app.services.preferences.voting import Voting
from trainers.machine import Machine

Record = dict[str, Any]


class Preferences:
    """Sets, jobs on them, votes, and what follows from them. Methods raise AtelierError with the remedy."""

    def __init__(
        self,
        data_dir: Path,
        machine: Machine,
        gallery: Gallery,
        jobs: tuple[Store, Supervisor, Metrics],
        models: Callable[[], list[ModelCard]],
    ) -> None:
        self._machine, self._store = machine, jobs[0]
        self.sets = Sets(data_dir / "preferences")
        self.voting = Voting(self.sets)
        self.shelf = Shelf(self.sets, data_dir / "cache" / "thumbs")
        self.drafts = Drafts(data_dir / "settings" / "preferences.json")
        self.offers = Offers(self._store.all, models, gallery)
        self.building = Building(self.sets, self.drafts)
        self.imports = Imports(self.sets)
        self.jobs = Jobs(data_dir, machine, self.sets, jobs)
        self._proof = Proof(self.sets, self.shelf)

    def scorers(self) -> list[Record]:
        """The scorers as cards; see `cards.cards`."""
        return cards(self._machine)

    def status(self, name: str) -> Record:
        """A set at a glance: `Shelf.open`, and {jobs: kind -> newest, comparisons: [[run, win rate, judged]]}."""
        found = self._proof.comparisons(self.jobs.rows("compare", name))
        told = [[one["run"], one["result"]["win_rate"], one["result"]["n"]] for one in found]
        return {**self.shelf.open(name), "jobs": self.jobs.newest(name), "comparisons": told}

    def label_link(self, name: str) -> str:
        """The way to the page where the set can only be labelled."""
        return self.voting.label_link(name)

    def results(self, name: str, *, use_scores: bool) -> Record:
        return results.look(self.sets, name, use_scores=use_scores)

    def export(self, name: str, format: str, *, use_scores: bool) -> Record:
        return results.write(self.sets, name, format, use_scores=use_scores)

    def training(self, name: str, *, use_scores: bool) -> Record:
        """Dotted path -> value of what training on the set changes in the draft."""
        return training.settings(self.sets, name, use_scores=use_scores)

    def proof(self, name: str) -> Record:
        """{comparisons: see `Proof.comparisons`, held_out: prompts that training never saw}."""
        found = self._proof.comparisons(self.jobs.rows("compare", name))
        return {"comparisons": found, "held_out": results.held_out_prompts(self.sets, name)}

    def samples(self, run_id: str) -> list[Record]:
        return self._proof.samples(self._store.get(run_id))
