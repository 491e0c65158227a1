"""The linter and the type checker pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.import_rules import LIGHT_MODULES

ROOT = Path(__file__).resolve().parent.parent


def run_tool(*command: str) -> None:
    answer = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_ruff() -> None:
    run_tool("ruff", "check", ".")


def test_mypy_on_light_code() -> None:
    run_tool("mypy", "launch.py", "app", *map(_file, LIGHT_MODULES))


def _file(module: str) -> str:
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"
