"""Who may import whom: reads syntax trees, runs nothing.

An import is eager when it happens as the module itself is imported: not in a function, not under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("trainers", "captioners", "app")
HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate")
DATABASE = ("sqlite3", "sqlalchemy")

# Importable without torch, and fast: the app, the command line and the checks before a run use them.
LIGHT_MODULES = (
    "captioners.catalog",
    "captioners.cli",
    "captioners.config",
    "captioners.download",
    "captioners.faults",
    "captioners.florence2_tasks",
    "captioners.folders",
    "captioners.job",
    "captioners.joycaption_prompts",
    "captioners.overview",
    "captioners.packages",
    "captioners.plan",
    "captioners.policy",
    "captioners.preflight",
    "captioners.prompts",
    "captioners.resolve",
    "captioners.scribe",
    "captioners.server_client",
    "captioners.server_endpoint",
    "captioners.server_errors",
    "captioners.server_messages",
    "captioners.tag_lists",
    "captioners.tags",
    "captioners.tries",
    "captioners.weights",
    "captioners.written",
    "trainers.boundary",
    "trainers.catalog",
    "trainers.cli",
    "trainers.config",
    "trainers.config.data",
    "trainers.config.model",
    "trainers.config.outcome",
    "trainers.config.section",
    "trainers.config.training",
    "trainers.data.buckets",
    "trainers.data.captions",
    "trainers.data.clips",
    "trainers.data.colours",
    "trainers.data.decode",
    "trainers.data.detail",
    "trainers.data.edits",
    "trainers.data.ends",
    "trainers.data.epoch",
    "trainers.data.examine",
    "trainers.data.folder",
    "trainers.data.index",
    "trainers.data.kinds",
    "trainers.data.layouts",
    "trainers.data.lengths",
    "trainers.data.likeness",
    "trainers.data.lookup",
    "trainers.data.operations",
    "trainers.data.pair_samples",
    "trainers.data.pair_scan",
    "trainers.data.remembered",
    "trainers.data.simpletuner",
    "trainers.data.sources",
    "trainers.data.storage",
    "trainers.data.tables",
    "trainers.data.tags",
    "trainers.data.text",
    "trainers.data.tokens",
    "trainers.data.walk",
    "trainers.data.wildcards",
    "trainers.data.zips",
    "trainers.errors",
    "trainers.events",
    "trainers.fitting",
    "trainers.lora.facts",
    "trainers.lora.keys",
    "trainers.lora.names",
    "trainers.lora.resume",
    "trainers.lora.scales",
    "trainers.machine",
    "trainers.overview",
    "trainers.parameters",
    "trainers.paths",
    "trainers.plan",
    "trainers.preferences.adapters",
    "trainers.preferences.agreement",
    "trainers.preferences.background",
    "trainers.preferences.bradley_terry",
    "trainers.preferences.catalog",
    "trainers.preferences.cli",
    "trainers.preferences.compare",
    "trainers.preferences.config",
    "trainers.preferences.deriving",
    "trainers.preferences.duels",
    "trainers.preferences.exporting",
    "trainers.preferences.formats.hf_folder",
    "trainers.preferences.formats.incoming",
    "trainers.preferences.formats.jsonl",
    "trainers.preferences.formats.merged",
    "trainers.preferences.formats.pickapic",
    "trainers.preferences.formats.places",
    "trainers.preferences.formats.scored",
    "trainers.preferences.formats.two_folders",
    "trainers.preferences.formats.whole",
    "trainers.preferences.halving",
    "trainers.preferences.importing",
    "trainers.preferences.judges",
    "trainers.preferences.lines",
    "trainers.preferences.overview",
    "trainers.preferences.pairing",
    "trainers.preferences.plan",
    "trainers.preferences.preflight",
    "trainers.preferences.prefset",
    "trainers.preferences.progress",
    "trainers.preferences.prompts",
    "trainers.preferences.queue",
    "trainers.preferences.ranking",
    "trainers.preferences.recipe",
    "trainers.preferences.report",
    "trainers.preferences.resolve",
    "trainers.preferences.rewards.anatomy",
    "trainers.preferences.rewards.anatomy_parts",
    "trainers.preferences.rewards.base",
    "trainers.preferences.rewards.hpsv3_prompt",
    "trainers.preferences.rewards.sandbox",
    "trainers.preferences.scorers",
    "trainers.preferences.scoring",
    "trainers.preferences.snapshot",
    "trainers.preferences.summary",
    "trainers.preferences.training_pairs",
    "trainers.preferences.verdicts",
    "trainers.preferences.votes",
    "trainers.preferences.win_rate",
    "trainers.preferences.worker",
    "trainers.preflight.copies",
    "trainers.preflight.finding",
    "trainers.preflight.folders",
    "trainers.preflight.model",
    "trainers.preflight.report",
    "trainers.preflight.room",
    "trainers.preflight.sizes",
    "trainers.preflight.texts",
    "trainers.preflight.words",
    "trainers.presets",
    "trainers.resolve",
    "trainers.rundir",
    "trainers.sandbox.scenes",
    "trainers.settings",
    "trainers.sheets",
    "trainers.trials",
    "trainers.weights.blobs",
    "trainers.weights.cached",
    "trainers.weights.denoisers",
    "trainers.weights.find",
    "trainers.weights.header",
    "trainers.weights.hub",
    "trainers.weights.identity",
    "trainers.weights.lora_kinds",
    "trainers.weights.parts",
    "trainers.weights.pickles",
    "trainers.weights.recognise",
    "trainers.weights.shapes",
    "trainers.weights.source",
    "trainers.weights.wanted",
)


@dataclass(frozen=True)
class Import:
    """name: dotted and absolute; of `from a import b` it is a.b, whatever b is."""

    name: str
    line: int
    eager: bool


@dataclass(frozen=True)
class Module:
    name: str
    tree: ast.Module
    imports: tuple[Import, ...]


Modules = Mapping[str, Module]


def parse(name: str, source: str, is_package: bool = False) -> Module:
    tree = ast.parse(source)
    package = name if is_package else name.rpartition(".")[0]
    return Module(name, tree, tuple(_imports(tree, package, eager=True)))


def project(root: Path) -> dict[str, Module]:
    """Every module of the program, by name."""
    modules = {}
    for path in [
        root / "launch.py",
        *(file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))),
    ]:
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = parse(name, path.read_text(encoding="utf-8"), is_package)
    return modules


def _imports(node: ast.AST, package: str, eager: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, eager) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            origin = _absolute(child, package)
            yield from (Import(f"{origin}.{alias.name}", child.lineno, eager) for alias in child.names)
        elif isinstance(child, ast.Call) and _is_import_call(child):
            yield Import(ast.literal_eval(child.args[0]), child.lineno, eager)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(ast.Module(child.body, []), package, eager=False)
            yield from _imports(ast.Module(child.orelse, []), package, eager)
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(child, package, eager and not is_function)


def _absolute(statement: ast.ImportFrom, package: str) -> str:
    if not statement.level:
        return statement.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - statement.level + 1]
    return ".".join([*base, *filter(None, [statement.module])])


def _is_import_call(call: ast.Call) -> bool:
    """import_module("x") and __import__("x"), with a literal name."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    literal = bool(call.args) and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    return name in ("import_module", "__import__") and literal


def is_in(name: str, parents: Iterable[str]) -> bool:
    """The dotted name is one of the parents or lies below one."""
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def forbidden(modules: Modules, scope: Iterable[str], banned: Iterable[str]) -> list[str]:
    """Imports of banned names, anywhere in the modules of the scope."""
    scope, banned = tuple(scope), tuple(banned)
    return [
        f"{module.name}:{found.line} imports {found.name}"
        for module in modules.values()
        if is_in(module.name, scope)
        for found in module.imports
        if is_in(found.name, banned)
    ]


def reached(modules: Modules, scope: Iterable[str], banned: Iterable[str]) -> list[str]:
    """Banned names that are imported as a module of the scope is imported, by it or by what it imports."""
    scope, banned = tuple(scope), tuple(banned)
    return [
        f"{' -> '.join(chain)}:{found.line} imports {found.name}"
        for name in modules
        if is_in(name, scope)
        for chain in eager_chains(modules, name).values()
        for found in modules[chain[-1]].imports
        if found.eager and is_in(found.name, banned)
    ]


def eager_chains(modules: Modules, start: str) -> dict[str, tuple[str, ...]]:
    """Modules that importing `start` imports, each with the shortest chain that leads there."""
    waiting = [(name,) for name in _with_parents(modules, start)]
    chains: dict[str, tuple[str, ...]] = {}
    for chain in waiting:
        if chain[-1] in chains:
            continue
        chains[chain[-1]] = chain
        for found in modules[chain[-1]].imports:
            if found.eager:
                waiting += [(*chain, name) for name in _with_parents(modules, found.name)]
    return chains


def _with_parents(modules: Modules, name: str) -> list[str]:
    """The project's modules that `import name` runs: the packages above, and the module itself."""
    parts = name.split(".")
    prefixes = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return [prefix for prefix in reversed(prefixes) if prefix in modules]


def strings(module: Module) -> Iterator[tuple[int, str]]:
    """(line, text) of every string that is not a docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def names_in_strings(modules: Modules, scope: Iterable[str], names: Iterable[str]) -> list[str]:
    """Strings that hold one of the names as a word, as "flux" and "flux-dev" do."""
    scope, word = tuple(scope), re.compile(rf"(?<![A-Za-z0-9])({'|'.join(map(re.escape, names))})(?![A-Za-z0-9])")
    return [
        f"{module.name}:{line} says {text!r}"
        for module in modules.values()
        if is_in(module.name, scope)
        for line, text in strings(module)
        if word.search(text)
    ]
