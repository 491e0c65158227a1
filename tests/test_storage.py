"""The cache on disk: what it takes, and that pruning takes only what nobody wanted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from trainers import cli
from trainers.data import storage
from trainers.data.cache import TensorCache

DAY_S = 86_400


def put(root: Path, key: str, *, idle_days: float = 0) -> Path:
    cache = TensorCache(root / "latents" / "encoder", ram_limit=0)
    cache.put(key, {"latents": torch.zeros(4)})
    file = next(root.rglob(f"{key}.safetensors"))
    os.utime(file, (time.time() - idle_days * DAY_S,) * 2)
    return file


def test_usage_counts_every_kind(tmp_path: Path) -> None:
    files = [put(tmp_path, "aa01", idle_days=3), put(tmp_path, "bb02", idle_days=9)]
    (used,) = storage.usage(tmp_path)
    assert (used.kind, used.files, used.bytes) == ("latents", 2, sum(file.stat().st_size for file in files))
    assert 2.9 < used.idle_days < 3.1


def test_prune_takes_what_was_not_wanted_and_leaves_the_rest(tmp_path: Path) -> None:
    new, old = put(tmp_path, "aa01"), put(tmp_path, "bb02", idle_days=40)
    size = old.stat().st_size
    assert storage.prune(tmp_path, 30) == storage.Freed(1, size)
    assert new.is_file() and not old.exists() and not old.parent.exists()
    assert storage.prune(tmp_path, 30) == storage.Freed(0, 0)


def test_what_a_run_asks_for_counts_as_wanted(tmp_path: Path) -> None:
    old = put(tmp_path, "aa01", idle_days=40)
    assert "aa01" in TensorCache(tmp_path / "latents" / "encoder")
    assert storage.prune(tmp_path, 30).files == 0 and old.is_file()


def test_prune_leaves_everything_else_in_the_folder(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    put(tmp_path, "aa01")
    assert storage.prune(tmp_path, 0).files == 1
    assert other.is_file() and not (tmp_path / "latents").exists()


def test_the_command_shows_and_prunes(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    put(tmp_path / "cache", "aa01", idle_days=40)
    assert cli.main(["cache"]) == 0
    assert "latents" in capsys.readouterr().out
    assert cli.main(["cache", "--prune", "30"]) == 0
    assert "1 file" in capsys.readouterr().out
    assert storage.usage(tmp_path / "cache") == []
