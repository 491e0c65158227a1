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
    modules = [f"{name.replace('.', '/')}.py" for name in LIGHT_MODULES]
    run_tool("mypy", "launch.py", "app", *modules)
