"""Packages that only some captioners need, and how to get them. Light."""

from __future__ import annotations

import importlib.util

ONNXRUNTIME, BITSANDBYTES = "onnxruntime", "bitsandbytes"
FILES = {ONNXRUNTIME: "requirements-tagger.txt", BITSANDBYTES: "requirements-quantize.txt"}


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def remedy(package: str) -> str:
    """The line that installs a package, as a sentence."""
    return f"Install it with: .venv/bin/python -m pip install -r {FILES[package]}"
