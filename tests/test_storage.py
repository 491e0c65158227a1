"""The cache on disk: what it takes, and that pruning takes only what nobody wanted."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import torch

from app.services.files import thumbnail
from tests.checks import add_picture
from trainers import cli
from trainers.data import storage
from trainers.data.cache import TensorCache
from trainers.data.folder import scan_folder
from trainers.data.zips import unpacked

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


def age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * DAY_S,) * 2)


def test_usage_says_what_pruning_would_free(tmp_path: Path) -> None:
    for key, days in {"aa01": 0, "bb02": 10, "cc03": 40}.items():
        put(tmp_path, key, idle_days=days)
    thumb = tmp_path / "thumbs" / "a.webp"
    thumb.parent.mkdir()
    thumb.write_bytes(b"small")
    age(thumb, 40)
    limits = (30.0, 7.0, 0.0)
    told = [sum((one.freed[n] for one in storage.usage(tmp_path, limits)), storage.Freed()) for n in range(3)]
    assert [freed.files for freed in told] == [2, 3, 4]
    pruned = storage.Freed()
    for days, freed in zip(limits, told, strict=True):
        pruned += storage.prune(tmp_path, days)
        assert pruned == freed
    assert storage.usage(tmp_path) == []


def test_a_zip_is_kept_or_goes_as_a_whole(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("a.png", "b.png", "a.txt"):
            packed.writestr(f"10_dog/{name}", b"x" * 10)
    folder = unpacked(archive, tmp_path / "zips")
    age(folder / "a.png", 90)  # its own time says nothing
    assert storage.prune(tmp_path, 30) == storage.Freed() and len(list(folder.iterdir())) == 3
    (root,) = (tmp_path / "zips").iterdir()
    age(root, 90)
    unpacked(archive, tmp_path / "zips")  # a run asks for it
    assert storage.prune(tmp_path, 30) == storage.Freed()
    age(root, 90)
    assert storage.prune(tmp_path, 30) == storage.Freed(3, 30)
    assert not root.exists()


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    folder = tmp_path / "latents" / "encoder" / "aa"
    folder.mkdir(parents=True)
    growing, dead = folder / ".aa01.safetensors.x7", folder / ".aa02.safetensors.x8"
    for file in (growing, dead):
        file.write_bytes(b"half")
    age(dead, 2)
    assert storage.prune(tmp_path, 0).files == 1
    assert growing.is_file() and not dead.exists()


def test_an_index_and_a_thumbnail_that_are_used_count_as_wanted(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    add_picture(pictures / "a.png")
    cache = tmp_path / "cache"

    def use() -> list[Path]:
        scan_folder(pictures, ".txt", cache / "index")
        return [*(cache / "index").glob("*"), thumbnail(pictures / "a.png", cache / "thumbs")]

    for file in (found := use()):
        age(file, 90)
    assert use() == found and len(found) == 2
    assert storage.prune(cache, 30) == storage.Freed()


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
