"""Which files of a hub repository a run needs: weights in one precision, configurations, tokenizers."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path

WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
HALF = re.compile(
    r"(diffusion_pytorch_model|model)(\.fp16)?(-\d+-of-\d+)?(\.fp16)?\.safetensors(\.index\.fp16\.json|\.index\.json)?"
)
PICKLES = re.compile(r"(diffusion_pytorch_model|pytorch_model)(-\d+-of-\d+)?\.bin(\.index\.json)?")
SETTINGS = ("config.json", "scheduler_config.json", "tokenizer*", "vocab*", "merges.txt", "spiece.model", "special_*")


def wanted(names: Iterable[str], folders: tuple[str, ...], *, half: bool, pickles: bool = False) -> list[str]:
    """The files of a repository that its components need, and model_index.json.

    folders: of components, "" for a repository of one; half: a file in 16 bits is enough; pickles: taken where a
    component has nothing else.
    """
    names = list(names)
    chosen = [name for name in names if name == "model_index.json"]
    for folder in folders:
        prefix = f"{folder}/" if folder else ""
        inside = [name for name in names if name.startswith(prefix) and "/" not in name.removeprefix(prefix)]
        files = {name: name.removeprefix(prefix) for name in inside}
        chosen += [name for name, file in files.items() if any(fnmatch.fnmatch(file, one) for one in SETTINGS)]
        chosen += _weights(files, half, pickles)
    return list(dict.fromkeys(chosen))


def _weights(files: dict[str, str], half: bool, pickles: bool) -> list[str]:
    plain = [name for name, file in files.items() if WEIGHTS.fullmatch(file)]
    halves = [name for name, file in files.items() if ".fp16" in file and HALF.fullmatch(file)]
    if halves and (half or not plain):
        return halves
    if plain or not pickles:
        return plain
    return [name for name, file in files.items() if PICKLES.fullmatch(file)]


def is_complete(folder: Path, parts: tuple[str, ...]) -> bool:
    """Every part that the model's index names lies there with its settings and with whole weights, if it has any."""
    return all(_is_whole(folder / part) for part in parts)


def _is_whole(part: Path) -> bool:
    if not part.is_dir():
        return False
    if not (part / "config.json").is_file():  # tokenizers and schedulers have no weights
        return any(part.iterdir())
    names = {file.name for file in part.iterdir()}
    shards = [name for name in names if re.search(r"-\d+-of-\d+", name)]
    if shards:
        return any(sum(_set_of(other) == _set_of(one) for other in shards) == _count(one) for one in shards)
    return any(name.endswith((".safetensors", ".bin")) for name in names)


def _set_of(shard: str) -> str:
    return re.sub(r"-\d+-of-", "-of-", shard)


def _count(shard: str) -> int:
    return int(re.findall(r"-of-(\d+)", shard)[0])
