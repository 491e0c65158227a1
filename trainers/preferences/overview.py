"""The table of scorers, and a set's statistics, for a terminal. Light."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from trainers.machine import Machine
from trainers.preferences.agreement import Share
from trainers.preferences.catalog import SCORERS, ScorerSpec
from trainers.preferences.rewards import sandbox
from trainers.preferences.scorers import is_here, missing_package
from trainers.preferences.summary import Annotator, Summary

WIDTH = 120
HEADINGS = ("judged by", "policy", "95 % interval", "pairs", "won, tied, lost", "n. a.", "p", "difference")
VERDICTS = "{:24} {:>7} {:>14} {:>6} {:>16} {:>5} {:>8}  {}"
COLUMNS = "{:18} {:22} {:14} {:>9} {:>6} {:>14}  {}"


def table(machine: Machine) -> Iterator[str]:
    """Of each scorer two lines or more: its figures, and what to know of it; then the notes."""
    yield COLUMNS.format("scorer", "judges", "licence", "download", "GB", "usual scores", "here")
    bytes_each = 4.0 if machine.device == "cpu" else 2.0
    for name, spec in SCORERS.items():
        memory = f"{spec.memory_gib(bytes_each):.1f}" if spec.params else "-"
        usual = f"{spec.low:g} to {spec.high:g}"
        here = "yes" if is_here(name) else "no"
        yield COLUMNS.format(name, _judges(spec), spec.licence, _download(spec), memory, usual, here)
        about = [f"{spec.title}. {spec.note}", missing_package(name)]
        yield from textwrap.wrap(" ".join(about), WIDTH, initial_indent="    ", subsequent_indent="    ")
    yield ""
    yield f"GB: peak of memory on {machine.device}. here: on this machine already; others are downloaded at first use."
    yield f"{sandbox.NAME} has rules of its own: {', '.join(f'{sandbox.NAME}:{rule}' for rule in sandbox.RULES)}."
    yield "Weights that lie elsewhere are named in scorers.weights. Next: python launch.py pairs score SET NAME"


def _judges(spec: ScorerSpec) -> str:
    return spec.judges if spec.reads_prompt else f"{spec.judges}, no prompt"


def _download(spec: ScorerSpec) -> str:
    return f"{spec.download_gib:.1f} GB" if spec.download_gib else "built in"


def statistics(summary: Summary) -> Iterator[str]:
    """What a set holds and how far its votes can be trusted."""
    yield f"{summary.prompts} prompts, {summary.pictures} pictures, {summary.pairs} pairs, {summary.answered} answered"
    yield (
        f"{summary.votes} votes: {summary.decided} decided, {summary.ties} ties, {summary.both_bad} both bad; "
        f"{summary.skips} skipped, {summary.repeats} shown again"
    )
    if summary.per_minute:
        yield f"votes a minute: {summary.per_minute:.1f}"
    for one in summary.annotators:
        yield f"  {_of_annotator(one)}"
    if summary.consistency.n:
        yield f"the same answer again: {_share(summary.consistency)}"
    if summary.position.n:
        position = summary.position
        yield f"left won {position.left} of {position.n} (p = {position.p:.3f} if the side does not matter)"
    for both in summary.overlaps:
        yield f"{both.one} and {both.other}: {both.n} pairs in common, Cohen's kappa {_number(both.kappa)}"
    if summary.fleiss is not None:
        yield f"Fleiss' kappa: {summary.fleiss:.2f}"
    for scorer, share in summary.scorers.items():
        yield f"{scorer} agrees with people: {_share(share)}"
    if summary.label_smoothing is not None:
        yield f"measured error rate: {summary.label_smoothing:.3f}, for objective.label_smoothing"


def _of_annotator(one: Annotator) -> str:
    speed = f", {one.per_minute:.1f} a minute" if one.per_minute else ""
    fast = f", {one.fast} faster than 0.4 s" if one.fast else ""
    return f"{one.name}: {one.votes} votes, {one.skips} skipped{speed}{fast}"


def _share(share: Share) -> str:
    """As in "83 % of 40 (68 to 92)"."""
    if share.share is None:
        return "nothing to compare"
    return f"{share.share:.0%} of {share.n} ({share.low:.0%} to {share.high:.0%})"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


# --------------------------------------------------------------------------- a comparison


def proof(report: Mapping[str, Any]) -> Iterator[str]:
    """A comparison as a table, with what is to be known of it, and where its pictures lie. report: see `report`."""
    yield VERDICTS.format(*HEADINGS)
    if report["by"] == "scorers" and len(report["scorers"]) > 1:
        yield _verdict("all scorers", report)
    for name, found in report["scorers"].items():
        yield _verdict(name, found)
    if human := report["human"]:
        yield _verdict("people", human)
        for name, found in human["annotators"].items():
            yield _verdict(f"  {name}", found)
    yield from _notes(report)
    yield f"Pictures and pairs, to be labelled blindly: {report['set']}"


def _verdict(name: str, found: Mapping[str, Any]) -> str:
    none = found.get("not_applicable", "")
    if found["win_rate"] is None:
        return VERDICTS.format(name, "-", "", 0, "", none, "", "").rstrip()
    share, interval = f"{100 * found['win_rate']:.0f} %", f"{100 * found['low']:.0f} to {100 * found['high']:.0f} %"
    counts, p = f"{found['wins']}, {found['ties']}, {found['losses']}", f"{found['p']:.2g}"
    return VERDICTS.format(name, share, interval, found["n"], counts, none, p, _difference(found)).rstrip()


def _difference(found: Mapping[str, Any]) -> str:
    """As in "+0.031 (+0.012 to +0.05)"."""
    if found.get("mean_difference") is None:
        return ""
    if found["difference_low"] is None:
        return f"{found['mean_difference']:+.3g}"
    return f"{found['mean_difference']:+.3g} ({found['difference_low']:+.3g} to {found['difference_high']:+.3g})"


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    models = f"{report['policy']} against {report['reference'] or 'the base alone'}"
    same = f", {report['identical']} of them of the same picture twice" if report["identical"] else ""
    yield f"{models}: {report['pairs']} pairs of {report['prompts']} prompts{same}."
    if report["trained_on"] is None:
        yield "Nothing is known of the prompts that it was trained on."
    else:
        yield f"Of the prompts {report['trained_on']} were trained on, {report['held_out']} held out for validation."
    if adherence := report["adherence"]:
        both = " and ".join(f"{role} {100 * adherence[role]:.1f} %" for role in ("reference", "policy"))
        yield f"Drawn as the prompt says: {both}, of {adherence['n']} pairs."
    if report["human"] and report["human"]["both_bad"]:
        yield f"People found both bad in {report['human']['both_bad']} pairs, which count as ties."
