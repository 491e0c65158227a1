"""The table "Who may import whom", row by row, and that its checker can fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.import_rules import (
    DATABASE,
    HEAVY,
    LIGHT_MODULES,
    PACKAGES,
    Modules,
    eager_chains,
    forbidden,
    is_in,
    names_in_strings,
    parse,
    project,
    reached,
)
from trainers.catalog import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
FAMILY_MODULES = tuple(family.module for family in FAMILIES.values())
KNOWS_NO_FAMILY = ("trainers.loop", "trainers.objectives", "trainers.data", "app")


@pytest.fixture(scope="module")
def modules() -> Modules:
    return project(ROOT)


def small(**sources: str) -> Modules:
    """A project from source texts; a__b stands for the module a.b."""
    named = {name.replace("__", "."): source for name, source in sources.items()}
    packages = {name.rpartition(".")[0] for name in named} - {""}
    everything = {**{package: "" for package in packages}, **named}
    return {name: parse(name, source, name in packages) for name, source in everything.items()}


# The rows of the table


def test_what_learns_knows_nothing_of_the_app(modules: Modules) -> None:
    assert forbidden(modules, ["trainers", "captioners"], ["app", "gradio", *DATABASE]) == []


def test_light_code_never_imports_heavy_packages(modules: Modules) -> None:
    assert forbidden(modules, [*LIGHT_MODULES, "app"], HEAVY) == []


def test_light_code_reaches_no_heavy_package(modules: Modules) -> None:
    assert reached(modules, [*LIGHT_MODULES, "app"], HEAVY) == []


def test_every_light_module_exists(modules: Modules) -> None:
    assert [name for name in LIGHT_MODULES if name not in modules] == []


def test_services_jobs_and_monitoring_do_without_gradio(modules: Modules) -> None:
    scope = ["app.services", "app.jobs", "app.monitoring"]
    assert forbidden(modules, scope, ["gradio"]) + reached(modules, scope, ["gradio"]) == []


def test_the_page_leaves_database_and_processes_to_services(modules: Modules) -> None:
    assert forbidden(modules, ["app.ui"], [*DATABASE, "subprocess"]) == []


def test_loop_objectives_data_and_app_import_no_family(modules: Modules) -> None:
    assert forbidden(modules, KNOWS_NO_FAMILY, FAMILY_MODULES) == []


def test_loop_objectives_data_and_app_name_no_family(modules: Modules) -> None:
    pipelines = [name for family in FAMILIES.values() for name in family.pipelines]
    assert names_in_strings(modules, KNOWS_NO_FAMILY, [*FAMILIES, *pipelines]) == []


@pytest.mark.parametrize("family", FAMILY_MODULES)
def test_a_family_stands_alone(modules: Modules, family: str) -> None:
    others = [other for other in FAMILY_MODULES if other != family]
    assert family in modules
    assert forbidden(modules, [family], [*others, "trainers.loop", "trainers.objectives", "trainers.data"]) == []


def test_captioners_share_light_modules_only(modules: Modules) -> None:
    heavy = [name for name in modules if is_in(name, ["trainers"]) and name not in LIGHT_MODULES and "." in name]
    heavy_leaves = [name for name in heavy if not any(is_in(light, [name]) for light in LIGHT_MODULES)]
    assert heavy_leaves
    assert forbidden(modules, ["captioners"], heavy_leaves) == []


def test_the_launcher_needs_the_standard_library_only(modules: Modules) -> None:
    outside = [
        f"{name}:{found.line} imports {found.name}"
        for name in eager_chains(modules, "launch")
        for found in modules[name].imports
        if found.name.split(".")[0] not in sys.stdlib_module_names and not is_in(found.name, PACKAGES)
    ]
    assert outside == []


def test_the_app_starts_without_torch() -> None:
    code = "import sys, app.main; sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_no_file_names_a_path_of_the_machine_it_was_made_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in text_files(ROOT)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("path", ["/work/main", "cd /tmp/x", "'/home/ada/pictures'", "../shared/data"])
def test_machine_paths_are_recognised(path: str) -> None:
    assert MACHINE_PATH.search(path)


@pytest.mark.parametrize("path", ["https://example.org/work/", "./tmp/x", "~/work/x", "/network/x", "shared/data"])
def test_other_paths_are_no_machine_paths(path: str) -> None:
    assert not MACHINE_PATH.search(path)


MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|tmp|root|home/\w+)/|\.\./shared\b")
TEXT_SUFFIXES = {
    "",
    ".bat",
    ".command",
    ".css",
    ".html",
    ".ipynb",
    ".js",
    ".json",
    ".md",
    ".py",
    ".sh",
    ".toml",
    ".txt",
}


def text_files(root: Path) -> Iterator[Path]:
    """Texts of the program, without this file, environments, caches and what else is hidden. `.ci` counts."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name == ".ci" or not name.startswith((".", "__pycache__"))]
        paths = [Path(folder, name) for name in files if not name.startswith(".")]
        yield from (path for path in paths if path.suffix in TEXT_SUFFIXES and path != Path(__file__).resolve())


# The checker itself


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import torch.nn.functional as F",
        "from torch import nn",
        "from torch.nn import functional",
        "def later():\n    import torch",
        "import importlib\nimportlib.import_module('torch.cuda')",
        "try:\n    import torch\nexcept ImportError:\n    torch = None",
    ],
)
def test_checker_finds_every_form_of_import(source: str) -> None:
    assert len(forbidden(small(app__page=source), ["app"], ["torch"])) == 1


@pytest.mark.parametrize("source", ["import torchless", "from app import torch", "torch = 'torch'", "'import torch'"])
def test_checker_takes_no_other_name_for_a_banned_one(source: str) -> None:
    assert forbidden(small(app__page=source), ["app"], ["torch"]) == []


def test_checker_resolves_relative_imports() -> None:
    sources = small(trainers__families__a="from . import b\nfrom ..loop import train")
    banned = ["trainers.families.b", "trainers.loop"]
    assert len(forbidden(sources, ["trainers.families.a"], banned)) == 2


def test_checker_follows_imports_through_other_modules() -> None:
    sources = small(
        app__main="from trainers import middle", trainers__middle="import trainers.end", trainers__end="import torch"
    )
    assert reached(sources, ["app"], ["torch"]) == ["app.main -> trainers.middle -> trainers.end:1 imports torch"]


def test_checker_follows_the_package_of_an_imported_module() -> None:
    sources = {
        **small(app__main="import trainers.light", trainers__light=""),
        "trainers": parse("trainers", "import torch", True),
    }
    assert reached(sources, ["app"], ["torch"]) == ["app.main -> trainers:1 imports torch"]


@pytest.mark.parametrize(
    "source",
    [
        "def later():\n    from trainers import heavy",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trainers import heavy",
    ],
)
def test_checker_knows_what_is_imported_later_or_never(source: str) -> None:
    assert reached(small(app__main=source, trainers__heavy="import torch"), ["app"], ["torch"]) == []


@pytest.mark.parametrize(
    "source", ["x = 'flux'", "x = 'flux-dev-24gb'", "x = f'{y} flux'", "def f():\n    return {'flux': 1}"]
)
def test_checker_finds_names_in_strings(source: str) -> None:
    assert len(names_in_strings(small(app__page=source), ["app"], ["flux"])) == 1


@pytest.mark.parametrize(
    "source", ["'''About flux.'''", "def f():\n    '''As flux does.'''", "x = 'influx'", "flux = 1"]
)
def test_checker_leaves_prose_and_other_words_alone(source: str) -> None:
    assert names_in_strings(small(app__page=source), ["app"], ["flux"]) == []
