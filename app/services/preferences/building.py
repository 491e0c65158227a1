"""Pairs from scores as the page asks for them: counted while a slider moves, written when they are right."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

from app.services.preferences.drafts import Drafts
from app.services.preferences.sets import Sets
from trainers.preferences.pairing import Rule, Which, build_pairs, rebuild
from trainers.preferences.prefset import Pair, Prefset

KIND = "rule"  # of the drafts
KINDS: tuple[Which, ...] = get_args(Which)

Record = dict[str, Any]


class Building:
    """Safe from any thread. Raises DataError for a set that is not there, ConfigError for a rule that cannot be."""

    def __init__(self, sets: Sets, drafts: Drafts) -> None:
        self._sets, self._drafts = sets, drafts

    def preview(self, name: str, changes: Mapping[str, Any]) -> Record:
        """What a rule comes to; nothing is written but the rule, which the page finds again.

        {rule, scorers, kinds: ways to pair that can be asked for, pairs, winners, ties, unscored}.
        """
        with self._sets.opened(name) as prefset:
            rule = self._rule(name, prefset, changes)
            scorers = prefset.scorers()
            found = build_pairs(prefset, rule) if scorers or rule.pairs == "random" else []
            rivals = any(len(prefset.pictures_of(prompt_id)) > 2 for prompt_id in prefset.prompts)
        if changes:
            self._drafts.save(name, KIND, {KIND: _plain(rule)})
        return {
            "rule": _plain(rule) | {"weights": {scorer: rule.weights.get(scorer, 1.0) for scorer in scorers}},
            "scorers": scorers,
            "kinds": [kind for kind in KINDS if kind == "random" or scorers],
            "rivals": rivals,
            **_counts(found),
        }

    def build(self, name: str, changes: Mapping[str, Any]) -> Record:
        """Write the pairs of a rule; votes on pairs that there were before count as before. {pairs, winners, ties}."""
        with self._sets.opened(name) as prefset:
            rule = self._rule(name, prefset, changes)
            return _counts(rebuild(prefset, rule))

    def _rule(self, name: str, prefset: Prefset, changes: Mapping[str, Any]) -> Rule:
        """The kept rule with some changes. Scorers that it knows and the set does not are left out."""
        kept = self._drafts.load(name, KIND).get(KIND, {})
        names = {one.name for one in dataclasses.fields(Rule)}
        values = {key: value for key, value in {**kept, **changes}.items() if key in names}
        weights = {**kept.get("weights", {}), **changes.get("weights", {})}
        values["weights"] = {scorer: weights[scorer] for scorer in prefset.scorers() if scorer in weights}
        if not prefset.scorers():
            values["pairs"] = "random"
        return Rule(**values)


def _plain(rule: Rule) -> Record:
    return {**dataclasses.asdict(rule), "weights": dict(rule.weights)}


def _counts(pairs: list[Pair]) -> Record:
    autos = [pair.auto.winner if pair.auto else "" for pair in pairs]
    ties, unscored = autos.count("tie"), autos.count("")
    return {"pairs": len(pairs), "winners": len(pairs) - ties - unscored, "ties": ties, "unscored": unscored}
