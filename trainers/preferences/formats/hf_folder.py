"""A folder as Hugging Face's `datasets` loads it: pictures, a metadata.jsonl for each split, and a card. Light.

FOLDER/  README.md  train/metadata.jsonl  train/images/  test/metadata.jsonl  test/images/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from trainers.preferences.formats.incoming import Incoming
from trainers.preferences.formats.jsonl import facts, is_jsonl, read_jsonl
from trainers.preferences.training_pairs import TrainingPair

METADATA = "metadata.jsonl"
SPLITS = {"train": "train", "held_out": "test"}
MARK = "train/metadata.jsonl"

CARD = """---
task_categories:
- text-to-image
tags:
- preference
---

# Preferences between pictures

{pairs} pairs of {prompts} prompts, of which {test} pairs are in the split `test`. No prompt is in both splits.

| column | what it is |
|---|---|
| `prompt` | what both pictures were made for |
| `chosen`, `rejected` | the picture that people, or where `source` says so scores, preferred, and the other |
| `weight` | how much the pair counts, in (0, 1]: 2 p - 1 |
| `n_votes`, `p_chosen` | people who preferred one of the two, and the share p of them that is for the chosen one |
| `source` | votes, scores, or real: a real picture against a generated one |

```python
from datasets import load_dataset

pairs = load_dataset("imagefolder", data_dir="THIS FOLDER")
```
"""


def write_hf(pairs: Iterable[TrainingPair], folder: Path) -> tuple[int, list[str]]:
    """The number of pairs, and the pictures that are not there, whose pairs are left out. Raises OSError.

    The files are copied byte by byte, under names that follow from their content.
    """
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    missing: dict[str, None] = {}
    prompts = set()
    for pair in pairs:
        if not pair.is_paired:
            continue
        where = folder / SPLITS[pair.split]
        try:
            names = {f"{side}_file_name": _copied(Path(getattr(pair, side)), where) for side in ("chosen", "rejected")}
        except FileNotFoundError as error:
            missing[str(error.filename)] = None
            continue
        lines[pair.split].append(json.dumps({**names, "prompt": pair.prompt, **facts(pair)}, ensure_ascii=False) + "\n")
        prompts.add(pair.prompt)
    for split, found in lines.items():
        if found or split == "train":
            (folder / SPLITS[split]).mkdir(exist_ok=True)
            (folder / SPLITS[split] / METADATA).write_text("".join(found), encoding="utf-8", newline="\n")
    count = sum(map(len, lines.values()))
    card = CARD.format(pairs=count, prompts=len(prompts), test=len(lines["held_out"]))
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return count, list(missing)


def _copied(picture: Path, folder: Path) -> str:
    """The name of the copy, from the metadata's folder."""
    data = picture.read_bytes()
    name = f"images/{hashlib.sha256(data).hexdigest()[:32]}{picture.suffix.lower()}"
    target = folder / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return name


def metadata_files(folder: Path) -> list[Path]:
    """Those that list pairs: of the folder itself and of the folders in it, train first."""
    found = [*folder.glob(METADATA), *folder.glob(f"*/{METADATA}")]
    return sorted((path for path in found if is_jsonl(path)), key=lambda path: (path.parent.name != "train", path))


def read_hf(folder: Path, incoming: Incoming) -> None:
    """Raises OSError."""
    for path in metadata_files(folder):
        read_jsonl(path, incoming)
