"""What a comparison shows, in numbers: RUN/compare.json. Scores and votes are read each time anew. Light.

{policy, reference: names, "" for the base alone; set: folder; prompts, pairs, identical: pairs of the same picture
twice; trained_on, held_out: prompts that training used and kept, null where nothing is known; by: "scorers" | "people";
win_rate, low, high, n, wins, ties, losses, prompts_judged, p: of the policy, see `win_rate.Rate`; scorers: {name: the
same, and not_applicable, mean_difference, difference_low, difference_high, reference_mean, policy_mean}; human: the
same as above, and both_bad, annotators: {name: the same}, null without votes; adherence: {reference, policy, n,
difference_low, difference_high}, null where nobody read the prompts}
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers import paths, settings
from trainers.errors import AtelierError, ConfigError, DataError
from trainers.preferences.background import Seen
from trainers.preferences.config import CompareConfig
from trainers.preferences.duels import Duel, duels_of
from trainers.preferences.pairing import Rule, judge
from trainers.preferences.prefset import Prefset
from trainers.preferences.resolve import load, set_folder
from trainers.preferences.rewards import sandbox
from trainers.preferences.verdicts import Verdict, verdicts
from trainers.preferences.votes import Vote
from trainers.preferences.win_rate import Rate, mean, rate
from trainers.rundir import RunDir, write_atomic

FILE = "compare.json"
DIGITS = 6
SAME = 1e-9  # combined scores this near are the same: they are sums in different orders

Record = dict[str, Any]
Outcomes = dict[str, list[float]]  # by prompt id


def write(run: RunDir, config: CompareConfig, prefset: Prefset, known: Seen) -> Record:
    """Count, and keep what came of it."""
    found = build(run, config, prefset, known)
    write_atomic(run.path / FILE, json.dumps(found, ensure_ascii=False, indent=1))
    return found


def read_report(run: RunDir, prefset: Prefset | None = None) -> Record | None:
    """The numbers of a comparison as they are now; None while there are none.

    prefset: the comparison's set, if it is open already. Where the set is gone, the numbers as they were kept.
    """
    try:
        kept = json.loads((run.path / FILE).read_text(encoding="utf-8"))
        config = load(run.config.read_text(encoding="utf-8"))
    except (OSError, ValueError, AtelierError):
        return None
    if not isinstance(config, CompareConfig) or not isinstance(kept, dict):
        return None
    try:
        opened = prefset or Prefset(Path(config.set.folder))
    except DataError:
        return kept
    return build(run, config, opened, Seen(kept.get("trained_on"), kept.get("held_out")))


def is_comparison(run: RunDir) -> bool:
    """The folder holds one, whether it has ended or not. Raises ConfigError for a damaged config."""
    return run.config.is_file() and settings.read_toml(run.config.read_text(encoding="utf-8")).get("kind") == "compare"


def reports_at(place: str) -> list[Record]:
    """Of a run, or of all runs in the data folder that compared with pictures of a set, the oldest first.

    Raises ConfigError when there is none.
    """
    given = RunDir(paths.locate(place))
    runs = [given] if is_comparison(given) else list(_of_set(str(set_folder(place))))
    if found := [one for run in runs if (one := read_report(run))]:
        return found
    hint = "Give the run or the set of a comparison that has ended; `pairs compare` makes one."
    raise ConfigError("RUN_OR_SET", f"{place} holds no comparison with a result.", hint)


def _of_set(folder: str) -> Iterator[RunDir]:
    files = (paths.data_dir() / "runs").glob(f"*/{FILE}")
    for file in sorted(files, key=lambda one: one.stat().st_mtime):
        if json.loads(file.read_text(encoding="utf-8")).get("set") == folder:
            yield RunDir(file.parent)


def build(run: RunDir, config: CompareConfig, prefset: Prefset, known: Seen) -> Record:
    duels = duels_of(run, prefset)
    by_scorers = config.scorers.names
    human = _people(duels, prefset.votes.standing())
    overall = _told(rate(_combined(duels, prefset, by_scorers)))
    if human and not by_scorers:
        overall = {key: human[key] for key in overall}
    return {
        "policy": Path(config.policy.file).stem,
        "reference": Path(config.reference.file).stem,
        "set": str(prefset.folder),
        "prompts": len({duel.prompt_id for duel in duels}),
        "pairs": len(duels),
        "identical": sum(duel.is_same for duel in duels),
        **dataclasses.asdict(known),
        "by": "scorers" if by_scorers else "people",
        **overall,
        "scorers": {name: _of_scorer(name, duels, prefset) for name in by_scorers},
        "human": human,
        "adherence": _adherence(duels, prefset),
    }


def _told(found: Rate) -> Record:
    record = dataclasses.asdict(found)
    record["prompts_judged"] = record.pop("prompts")
    return _rounded(record)


def _rounded(record: Mapping[str, Any]) -> Record:
    return {key: round(value, DIGITS) if isinstance(value, float) else value for key, value in record.items()}


# --------------------------------------------------------------------------- scorers


@dataclasses.dataclass(frozen=True)
class Scored:
    """A duel that a scorer has judged."""

    prompt_id: str
    reference: float
    policy: float

    @property
    def outcome(self) -> float:
        return _outcome(self.policy - self.reference)


def _outcome(difference: float) -> float:
    return 0.5 if difference == 0 else float(difference > 0)


def _of_scorer(name: str, duels: Sequence[Duel], prefset: Prefset) -> Record:
    scored = list(_scored(name, duels, prefset))
    difference = mean(_by_prompt((one.prompt_id, one.policy - one.reference) for one in scored))
    means = {
        "mean_difference": difference.mean,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "reference_mean": _mean([one.reference for one in scored]),
        "policy_mean": _mean([one.policy for one in scored]),
    }
    found = rate(_by_prompt((one.prompt_id, one.outcome) for one in scored))
    none = sum(_has_no_opinion(name, duel, prefset) for duel in duels)
    return {**_told(found), "not_applicable": none, **_rounded(means)}


def _scored(name: str, duels: Sequence[Duel], prefset: Prefset) -> Iterator[Scored]:
    """Duels of which the scorer has judged both pictures, with the same weights."""
    for duel in duels:
        reference, policy = (
            prefset.scores.get((name, duel.prompt_id, image)) for image in (duel.reference, duel.policy)
        )
        if not reference or not policy or reference.version != policy.version:
            continue
        if reference.v is not None and policy.v is not None:
            yield Scored(duel.prompt_id, reference.v, policy.v)


def _has_no_opinion(name: str, duel: Duel, prefset: Prefset) -> bool:
    found = [prefset.scores.get((name, duel.prompt_id, image)) for image in (duel.reference, duel.policy)]
    return any(one is not None and one.v is None for one in found)


def _combined(duels: Sequence[Duel], prefset: Prefset, names: Sequence[str]) -> Outcomes:
    """By the combined score that pairs are made by, among the pictures of this comparison."""
    there = [name for name in prefset.scorers() if name in names]
    if not there:
        return {}
    rule = Rule(weights={name: float(name in there) for name in prefset.scorers()})
    among: dict[str, set[str]] = defaultdict(set)
    for duel in duels:
        among[duel.prompt_id] |= {duel.reference, duel.policy}
    judged = judge(prefset, rule, among)
    found: Outcomes = defaultdict(list)
    for duel in duels:
        combined = judged[duel.prompt_id].combined if duel.prompt_id in judged else {}
        if duel.is_same and any(True for name in there for _ in _scored(name, [duel], prefset)):
            found[duel.prompt_id].append(0.5)
        elif duel.reference in combined and duel.policy in combined:
            difference = combined[duel.policy] - combined[duel.reference]
            found[duel.prompt_id].append(_outcome(difference if abs(difference) > SAME else 0.0))
    return found


def _adherence(duels: Sequence[Duel], prefset: Prefset) -> Record | None:
    """Whether the models still draw what prompts say, where a rule can read it."""
    scored = list(_scored(sandbox.NAME, duels, prefset))
    if not scored:
        return None
    difference = mean(_by_prompt((one.prompt_id, one.policy - one.reference) for one in scored))
    return _rounded(
        {
            "reference": _mean([one.reference for one in scored]),
            "policy": _mean([one.policy for one in scored]),
            "n": len(scored),
            "difference_low": difference.low,
            "difference_high": difference.high,
        }
    )


def _by_prompt(values: Iterable[tuple[str, float]]) -> Outcomes:
    found: Outcomes = defaultdict(list)
    for prompt_id, value in values:
        found[prompt_id].append(value)
    return found


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


# --------------------------------------------------------------------------- people


def _people(duels: Sequence[Duel], standing: Sequence[Vote]) -> Record | None:
    """What the votes on the pairs say; where people are evenly divided, and where both are bad, it is a tie."""
    of_pair = {duel.pair_id: duel for duel in duels if not duel.is_same}
    votes = [vote for vote in standing if vote.pair_id in of_pair and vote.choice != "skip"]
    if not votes:
        return None
    said = verdicts(votes)
    names = sorted({vote.annotator for vote in votes})
    return {
        **_told(rate(_voted(of_pair, said))),
        "both_bad": sum(verdict.are_both_bad for verdict in said.values()),
        "annotators": {
            name: _told(rate(_voted(of_pair, verdicts(vote for vote in votes if vote.annotator == name))))
            for name in names
        },
    }


def _voted(of_pair: Mapping[str, Duel], said: Mapping[str, Verdict]) -> Outcomes:
    return _by_prompt((of_pair[id].prompt_id, _preferred(of_pair[id], verdict)) for id, verdict in said.items())


def _preferred(duel: Duel, verdict: Verdict) -> float:
    if verdict.are_both_bad:
        return 0.5
    for_policy = verdict.p_a if duel.pair.a == duel.policy else 1 - verdict.p_a
    return _outcome(for_policy - 0.5)


# --------------------------------------------------------------------------- in words


def sentence(report: Record) -> str:
    """As in "policy preferred in 78 % of 200 pairs (95 % interval 72 to 83 %)"."""
    if report["win_rate"] is None:
        return f"{report['pairs']} pairs, and nobody has judged them yet"
    share, low, high = (f"{100 * report[key]:.0f}" for key in ("win_rate", "low", "high"))
    return f"policy preferred in {share} % of {report['n']} pairs (95 % interval {low} to {high} %)"
