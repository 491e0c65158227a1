"""Parquet files with the columns of Pick-a-Pic v2: a row for each vote, the pictures inside. Light.

The columns are those of the dataset yuvalkirstain/pickapic_v2.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from trainers.errors import MissingPackageError
from trainers.preferences.formats.incoming import Incoming, sides_of
from trainers.preferences.formats.places import UnusableError
from trainers.preferences.prefset import Pair, Picture, Prefset
from trainers.preferences.votes import Choice, Vote

WANTED = ("caption", "jpg_0", "jpg_1", "label_0", "label_1")
ALSO_READ = ("best_image_uid", "image_0_uid", "image_1_uid", "model_0", "model_1", "has_label", "user_id", "created_at")
ROWS_AT_A_TIME = 16  # each with two pictures
INT64 = 2**63


def parquet() -> tuple[Any, Any]:
    """pyarrow and its reader of Parquet files. Raises MissingPackageError."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        hint = "Install it with: .venv/bin/python -m pip install -r requirements-preferences.txt"
        raise MissingPackageError("Parquet files need pyarrow.", hint) from error


# ---------------------------------------------------------------------- writing


def write_pickapic(prefset: Prefset, path: Path) -> tuple[int, list[str]]:
    """The number of rows, and the pictures that are not there, whose rows are left out.

    Both bad is a tie here, as there is no other word for it. The bytes of the pictures stay as they are, whatever the
    columns are called. Raises MissingPackageError, OSError.
    """
    pyarrow, parquet_of = parquet()
    schema, missing, written = _schema(pyarrow), dict[str, None](), 0
    votes = [vote for vote in prefset.votes.standing() if vote.choice != "skip" and vote.pair_id in prefset.pairs]
    votes = [vote for vote in votes if {_pair(prefset, vote).a, _pair(prefset, vote).b} <= prefset.pictures.keys()]
    sizes: dict[str, int] = {}
    for vote in votes:
        text = _text(prefset, vote)
        sizes[text] = sizes.get(text, 0) + 1
    with parquet_of.ParquetWriter(path, schema) as writer:
        for start in range(0, len(votes), ROWS_AT_A_TIME):
            rows = []
            for vote in votes[start : start + ROWS_AT_A_TIME]:
                try:
                    rows.append(_row(prefset, vote, sizes[_text(prefset, vote)]))
                except FileNotFoundError as error:
                    missing[str(error.filename)] = None
            if rows:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            written += len(rows)
    return written, list(missing)


def _pair(prefset: Prefset, vote: Vote) -> Pair:
    return prefset.pairs[vote.pair_id]


def _text(prefset: Prefset, vote: Vote) -> str:
    prompt = prefset.prompts.get(_pair(prefset, vote).prompt_id)
    return prompt.prompt if prompt else ""


def _schema(pyarrow: Any) -> Any:
    text, whole, real, truth = pyarrow.string(), pyarrow.int64(), pyarrow.float64(), pyarrow.bool_()
    return pyarrow.schema(
        [
            ("are_different", truth),
            ("best_image_uid", text),
            ("caption", text),
            ("created_at", pyarrow.timestamp("ns")),
            ("has_label", truth),
            ("image_0_uid", text),
            ("image_0_url", text),
            ("image_1_uid", text),
            ("image_1_url", text),
            ("jpg_0", pyarrow.binary()),
            ("jpg_1", pyarrow.binary()),
            ("label_0", real),
            ("label_1", real),
            ("model_0", text),
            ("model_1", text),
            ("ranking_id", whole),
            ("user_id", whole),
            ("num_example_per_prompt", whole),
        ]
    )


def _row(prefset: Prefset, vote: Vote, count: int) -> dict[str, Any]:
    """Picture 0 is the one that stood at the left."""
    pair = _pair(prefset, vote)
    ids = (pair.a, pair.b) if vote.left == "a" else (pair.b, pair.a)
    row: dict[str, Any] = {"caption": _text(prefset, vote), "has_label": True, "are_different": True}
    for number, image_id in enumerate(ids):
        wins = vote.choice in ("a", "b") and image_id == getattr(pair, vote.choice)
        row |= {
            f"jpg_{number}": prefset.path(image_id).read_bytes(),
            f"label_{number}": 0.5 if vote.choice in ("tie", "both_bad") else float(wins),
            f"image_{number}_uid": image_id,
            f"image_{number}_url": "",
            f"model_{number}": _model(prefset.pictures[image_id]),
        }
    row["best_image_uid"] = "tie" if row["label_0"] == 0.5 else ids[int(row["label_1"])]
    row["user_id"] = _as_int(vote.annotator)
    row["ranking_id"] = _hashed(row["caption"], pair.a, pair.b, str(row["user_id"]), str(vote.repeat))
    return row | {"created_at": round(vote.ts * 1e6) * 1000, "num_example_per_prompt": count}


def _model(picture: Picture) -> str:
    return str(picture.gen.get("base") or "")


def _as_int(annotator: str) -> int:
    """A name as the number that the column holds; one that is a number already stays."""
    if annotator.isascii() and annotator.isdigit() and str(int(annotator)) == annotator and int(annotator) < INT64:
        return int(annotator)
    return _hashed(annotator)


def _hashed(*texts: str) -> int:
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


# ---------------------------------------------------------------------- reading


def is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def read_pickapic(path: Path, incoming: Incoming) -> None:
    """Raises MissingPackageError, OSError."""
    pyarrow, parquet_of = parquet()
    try:
        with parquet_of.ParquetFile(path) as file:
            lacking = [name for name in WANTED if name not in file.schema_arrow.names]
            if lacking:
                incoming.fault(f"{path.name}: no column {', '.join(lacking)}, which Pick-a-Pic has")
                return
            for number, row in enumerate(_rows(file, pyarrow), 1):
                with incoming.row(f"{path.name}, row {number}"):
                    _take(row, incoming)
    except pyarrow.ArrowException as error:
        incoming.fault(f"{path.name}: it is damaged ({str(error).splitlines()[0].rstrip('.')})")


def _rows(file: Any, pyarrow: Any) -> Iterator[dict[str, Any]]:
    """created_at in microseconds since 1970, which Python has no type of its own for."""
    columns = [name for name in (*WANTED, *ALSO_READ) if name in file.schema_arrow.names]
    for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=columns):
        table = pyarrow.Table.from_batches([batch])
        if "created_at" in columns:
            place, times = table.schema.get_field_index("created_at"), table["created_at"]
            is_time = pyarrow.types.is_timestamp(times.type)
            stamps = times.cast(pyarrow.timestamp("us"), safe=False).cast(pyarrow.int64()) if is_time else None
            table = table.set_column(place, "created_at", stamps or pyarrow.nulls(len(table), pyarrow.int64()))
        yield from table.to_pylist()


def _take(row: Mapping[str, Any], incoming: Incoming) -> None:
    prompt_id = incoming.prompt(row["caption"])
    one, other = (_picture(row, number, prompt_id, incoming) for number in (0, 1))
    pair = incoming.pair(prompt_id, one, other)
    labels = _labels(row)
    if labels is None:
        return
    sides, user = sides_of(pair, one), row.get("user_id")
    choice: Choice = "tie" if labels[0] == 0.5 else sides[int(labels[1])]
    annotator = incoming.reading.annotator if user is None else str(user)
    incoming.vote(pair, choice, annotator, left=sides[0], ts=(row.get("created_at") or 0) / 1e6)


def _picture(row: Mapping[str, Any], number: int, prompt_id: str, incoming: Incoming) -> str:
    data = row[f"jpg_{number}"]
    if isinstance(data, dict):  # as the datasets library writes pictures
        data = data.get("bytes")
    if not data or not isinstance(data, bytes):
        raise UnusableError(f"jpg_{number} holds no picture")
    model = row.get(f"model_{number}")
    try:
        return incoming.picture_of(prompt_id, data, "external", {"base": str(model)} if model else {})
    except UnusableError as error:
        raise UnusableError(f"jpg_{number}: {str(error).removeprefix('the picture: ')}") from error


def _labels(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """None for a row without a label. Raises UnusableError where the row says two things."""
    labels = row["label_0"], row["label_1"]
    if row.get("has_label") is False or any(label is None or math.isnan(label) for label in labels):
        return None
    if labels not in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5)):
        raise UnusableError(f"its labels are {labels[0]} and {labels[1]}, not 1 and 0, 0 and 1, or 0.5 both")
    best = row.get("best_image_uid")
    expected = "tie" if labels[0] == 0.5 else row.get(f"image_{int(labels[1])}_uid")
    if best and expected and best != expected:
        raise UnusableError("its labels and best_image_uid name different pictures")
    return labels
