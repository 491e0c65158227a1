"""Preference sets from a terminal: `python launch.py pairs WHAT ...`; `pairs --help` lists what there is."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from trainers import paths, settings
from trainers.cli import Reading, dispatch
from trainers.errors import EXIT_DONE, ConfigError
from trainers.machine import detect
from trainers.preferences import overview, preflight, resolve
from trainers.preferences.config import CONFIGS, AnyConfig, JobKind
from trainers.preferences.deriving import Terms
from trainers.preferences.exporting import FORMATS, export
from trainers.preferences.formats.incoming import Reading as ImportReading
from trainers.preferences.importing import import_into
from trainers.preferences.pairing import Rule, rebuild
from trainers.preferences.prefset import Prefset
from trainers.preferences.progress import Progress
from trainers.preferences.report import is_comparison, read_report, reports_at, sentence
from trainers.preferences.summary import summarise
from trainers.rundir import RunDir

NAMED = 20  # faults of an import, and missing pictures, that are listed

T = TypeVar("T")


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code follows `trainers.errors`."""
    return dispatch(_parser(), argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.py")
    help = "preference sets: pictures, scores, pairs of them, and what people say of these"
    pairs = parser.add_subparsers(required=True, metavar="COMMAND").add_parser("pairs", help=help, description=help)
    commands = pairs.add_subparsers(required=True, metavar="WHAT")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        return added

    def wishes(added: argparse.ArgumentParser, help: str) -> None:
        added.add_argument("wishes", nargs="*", metavar="key=value", help=help)

    generate = command("generate", _generate, "draw several pictures of each prompt into a set; what is there stays")
    wishes(generate, "SET, then as in prompts.file=FILE per_prompt=4; all keys are in docs/generating_settings.md")
    score = command("score", _score, "have scorers look at the pictures of a set; `pairs scorers` lists them")
    score.add_argument("set", metavar="SET")
    wishes(score, "names of scorers, then as in batch_size=4 again=true; all keys are in docs/scoring_settings.md")
    build = command("build", _build, "make pairs of a set's scores; earlier scores and votes stay")
    build.add_argument("set", metavar="SET")
    wishes(build, f"weights of scorers, as in hpsv2.1=1 clip=0.5, and {', '.join(_names(Rule, 'weights'))}")
    command("stats", _stats, "what a set holds, and how far its votes can be trusted").add_argument(
        "set", metavar="SET"
    )
    out = command("export", _export, "write what a set says, for training or for other programs")
    out.add_argument("set", metavar="SET")
    out.add_argument("--format", default="train", choices=tuple(FORMATS))
    out.add_argument("--out", type=Path, metavar="FILE_OR_FOLDER", help="default: in SET/export")
    wishes(out, f"as in sources=votes,scores; {', '.join(_names(Terms))}")
    bring = command("import", _import, "take over preferences of other programs")
    bring.add_argument("source", type=Path, metavar="SOURCE")
    bring.add_argument("--set", required=True, metavar="SET", help="added to, or made")
    wishes(bring, ", ".join(_names(ImportReading)))
    compare = command("compare", _compare, "show whether a trained adapter draws what scorers and people prefer")
    compare.add_argument("policy", metavar="LORA_OR_RUN", help="what was trained; or a comparison, to go on with it")
    wishes(compare, "as in set.folder=proof prompts.file=FILE; all keys are in docs/comparing_settings.md")
    report = command("report", _report, "the numbers of a comparison as they are now, with the votes that came since")
    report.add_argument("place", metavar="RUN_OR_SET")
    command("scorers", _scorers, "table of scorers")
    return parser


# --------------------------------------------------------------------------- jobs


def _generate(args: argparse.Namespace) -> int:
    names = [word for word in args.wishes if "=" not in word]
    if len(names) > 1:
        raise ConfigError(names[1], "this is not of the form key=value.", "Give one SET, then key=value.")
    return _job("generate", {"set": {"folder": names[0]}} if names else {}, _without(args.wishes, names))


def _score(args: argparse.Namespace) -> int:
    names = [word for word in args.wishes if "=" not in word]
    named = {"scorers": {"names": names}} if names else {}
    return _job("score", {"set": {"folder": args.set}, **named}, _without(args.wishes, names))


def _compare(args: argparse.Namespace) -> int:
    begun = RunDir(paths.locate(args.policy))
    if is_comparison(begun):
        if args.wishes:
            raise ConfigError(args.wishes[0], f"{begun.path} has its settings already.", "Go on with it without any.")
        return work_on(begun)
    return _job("compare", {"policy": {"file": args.policy}}, args.wishes)


def _without(words: list[str], names: list[str]) -> list[str]:
    return [word for word in words if word not in names]


def _job(kind: JobKind, named: dict[str, Any], wishes: list[str]) -> int:
    """Check a job, give it a folder, and do it in this process."""
    machine = detect()
    values = resolve.override(CONFIGS[kind], named, wishes)
    config: AnyConfig = resolve.resolve(settings.validate(values, CONFIGS[kind]), machine)
    reading = Reading()
    try:
        forecast = preflight.check(config, machine, reading)
    finally:
        reading.close()
    if forecast.pictures:
        print(forecast.sentence(), file=sys.stderr)
    run = RunDir(resolve.run_folder(config))
    try:
        run.create(settings.dump(config))
    except FileExistsError as error:
        hint = f"Go on with it: python launch.py resume {run.path}. Or give run.name another name."
        raise ConfigError("run.name", f"{run.path} holds a run.", hint) from error
    return work_on(run)


def work_on(run: RunDir) -> int:
    """Do a job in this process, or go on with it, with a progress bar."""
    from trainers.preferences.worker import work

    progress = Progress()
    try:
        code = work(run, watch=progress)
    finally:
        progress.close()
    progress.tell(run)
    if code == EXIT_DONE and (found := read_report(run)):
        _print(found)
    return code


def _print(report: dict[str, Any]) -> None:
    for line in overview.proof(report):
        print(line)


def _report(args: argparse.Namespace) -> int:
    for report in reports_at(args.place):
        print(sentence(report))
        _print(report)
    return EXIT_DONE


# --------------------------------------------------------------------------- sets


def _opened(name: str) -> Prefset:
    return Prefset(resolve.set_folder(name))


def _build(args: argparse.Namespace) -> int:
    given = _pairs_of(args.wishes)
    rule = _filled(Rule, {key: value for key, value in given.items() if key in _names(Rule, "weights")})
    weights = {key: _number(key, value) for key, value in given.items() if key not in _names(Rule, "weights")}
    pairs = rebuild(_opened(args.set), dataclasses.replace(rule, weights=weights))
    ties = sum(pair.auto is not None and pair.auto.winner == "tie" for pair in pairs)
    without = sum(pair.auto is None for pair in pairs)
    told = [f"{len(pairs)} pairs"] + ([f"{ties} of them ties"] if ties else [])
    print(", ".join(told + ([f"{without} without scores"] if without else [])))
    return EXIT_DONE


def _stats(args: argparse.Namespace) -> int:
    for line in overview.statistics(summarise(_opened(args.set))):
        print(line)
    return EXIT_DONE


def _export(args: argparse.Namespace) -> int:
    terms = _filled(Terms, _pairs_of(args.wishes))
    out = paths.absolute(str(args.out)) if args.out else None
    came = export(_opened(args.set), args.format, out, terms)
    _list("missing", came.missing)
    print(f"{came.rows} rows", file=sys.stderr)
    print(came.path)
    return EXIT_DONE


def _import(args: argparse.Namespace) -> int:
    reading = _filled(ImportReading, _pairs_of(args.wishes))
    folder = resolve.set_folder(args.set)
    came = import_into(folder, paths.absolute(str(args.source)), reading)
    _list("left out", came.faults)
    counts = {name: getattr(came, name) for name in ("prompts", "pictures", "pairs", "votes", "scores")}
    print(f"{came.format}: added {', '.join(f'{count} {name}' for name, count in counts.items())}", file=sys.stderr)
    print(folder)
    return EXIT_DONE


def _list(what: str, lines: tuple[str, ...]) -> None:
    for line in lines[:NAMED]:
        print(f"{what}: {line}", file=sys.stderr)
    if len(lines) > NAMED:
        print(f"{what}: {len(lines) - NAMED} more", file=sys.stderr)


def _scorers(args: argparse.Namespace) -> int:
    for line in overview.table(detect()):
        print(line)
    return EXIT_DONE


# --------------------------------------------------------------------------- key=value


def _names(record: type[Any], *without: str) -> list[str]:
    return [one.name for one in dataclasses.fields(record) if one.name not in without]


def _pairs_of(wishes: list[str]) -> dict[str, str]:
    unclear = next((wish for wish in wishes if "=" not in wish), None)
    if unclear is not None:
        raise ConfigError(unclear, "this is not of the form key=value.")
    return {key.strip(): value.strip() for key, _, value in (wish.partition("=") for wish in wishes)}


def _filled(record: type[T], given: Mapping[str, str]) -> T:
    """The dataclass with the fields that were given as text. Raises ConfigError for what it has not or cannot take."""
    if unknown := sorted(set(given) - set(_names(record))):
        raise ConfigError(unknown[0], "there is no such setting.", f"There are {', '.join(_names(record))}.")
    values: dict[str, Any] = dict(given)
    if "sources" in values:
        values["sources"] = tuple(part.strip() for part in values["sources"].split(","))
    try:
        return TypeAdapter(record).validate_python(values)
    except ValidationError as error:
        detail = error.errors()[0]
        key = str(detail["loc"][0]) if detail["loc"] else ""
        raise ConfigError(key, f"{given.get(key, '')!r} cannot be used.", f"{detail['msg']}.") from error


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(key, f"{text!r} is no number.", "Weights are written as in hpsv2.1=1.") from error


if __name__ == "__main__":
    sys.exit(main())
