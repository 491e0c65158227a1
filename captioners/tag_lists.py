"""The tags that a tagger knows, from the files beside its graph: selected_tags.csv or tag_mapping.json. Light."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from captioners.tags import Category, Tag
from trainers.errors import AtelierError

WD_FILE = "selected_tags.csv"
CL_FILE = "tag_mapping.json"
AGAIN = "Download the tagger again."
# Danbooru's numbers of categories; 9 is the taggers' own
NUMBERS: Mapping[str, Category] = {
    "0": "general",
    "1": "artist",
    "3": "copyright",
    "4": "character",
    "5": "meta",
    "9": "rating",
}


@dataclass(frozen=True)
class TagList:
    """tags: by the column of the graph's output. of_cl: of a CL tagger, whose file numbers the columns and need not
    name all of them; a WD tagger's file has a line for each."""

    path: Path
    tags: Mapping[int, Tag]
    of_cl: bool

    def check(self, columns: int) -> None:
        """columns: of the graph's output. Raises AtelierError when the tags are those of another graph."""
        last = max(self.tags)
        if last >= columns or (not self.of_cl and last + 1 != columns):
            raise AtelierError(
                f"{self.path} has {last + 1} tags, but the model beside it tells {columns}.",
                "Both files must be of the same model: download them again.",
            )


def read_tags(folder: Path) -> TagList:
    """Raises AtelierError for a file that is missing or damaged."""
    for name, read in ((WD_FILE, _of_csv), (CL_FILE, _of_json)):
        path = folder / name
        if path.is_file():
            try:
                tags = read(path)
            except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
                raise AtelierError(f"The tags in {path} cannot be read: {_reason(error)}.", AGAIN) from error
            if not tags:
                raise AtelierError(f"{path} has no tags.", AGAIN)
            return TagList(path, tags, of_cl=name == CL_FILE)
    raise AtelierError(
        f"{folder} has neither {WD_FILE} nor {CL_FILE}.", "Choose the folder of a tagger, with model.onnx in it."
    )


def _reason(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")


def _of_csv(path: Path) -> dict[int, Tag]:
    """A line for each column, with a head that names at least `name` and `category`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {place: Tag(_name(row["name"]), _by_number(row["category"])) for place, row in enumerate(_rows(file))}


def _rows(file: Any) -> list[dict[str, str]]:
    reader = csv.DictReader(file, strict=True)
    if missing := {"name", "category"}.difference(reader.fieldnames or ()):
        raise ValueError(f"its first line does not name {sorted(missing)[0]}")
    return list(reader)


def _by_number(number: str | None) -> Category:
    category = NUMBERS.get(number or "")
    if category is None:
        raise ValueError(f"there is no category {number}")
    return category


def _of_json(path: Path) -> dict[int, Tag]:
    """{column: {tag, category}}, or {idx_to_tag: {column: tag}, tag_to_category: {tag: category}}."""
    known = json.loads(path.read_text(encoding="utf-8-sig"))
    if "idx_to_tag" in known:
        categories = known["tag_to_category"]
        pairs = {column: (tag, categories[tag]) for column, tag in known["idx_to_tag"].items()}
    else:
        pairs = {column: (one["tag"], one["category"]) for column, one in known.items()}
    return {int(column): Tag(_name(tag), _by_word(category)) for column, (tag, category) in pairs.items()}


def _by_word(word: str) -> Category:
    for category in get_args(Category):
        if category == word.lower():
            return category  # type: ignore[no-any-return]
    raise ValueError(f"there is no category {word}")


def _name(name: str | None) -> str:
    if not name or not name.strip():
        raise ValueError("a tag has no name")
    return name.strip()
