"""Files that list pictures with their captions: csv, lines of JSON, JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trainers.data.text import TextError, lines_of, read_text

TableKind = Literal["imagefolder", "diffsynth", "json"]

NAMED_AS_TABLE = re.compile(r"(metadata|captions?)[^/]*\.(csv|tsv|jsonl)", re.IGNORECASE)
NAMED_AS_CAPTIONS = re.compile(r"(meta|caption|prompt)[^/]*\.json", re.IGNORECASE)
FILE_KEYS: dict[str, TableKind] = {
    "file_name": "imagefolder",
    "image": "diffsynth",
    "video": "diffsynth",
    "image_path": "diffsynth",
    "video_path": "diffsynth",
    "filename": "imagefolder",
    "file": "imagefolder",
    "path": "imagefolder",
}
TEXT_KEYS = ("text", "caption", "prompt", "captions")
MAX_CELL = 2**24  # letters; csv's own limit of 2**17 is short for a cell that holds many captions
MAX_JSON_BYTES = 512 * 2**20
HALF_LETTER = re.compile("[\ud800-\udfff]")  # JSON can write half of a pair, which no encoder takes
FIRST_ROWS = 20  # a table whose first rows are all broken is none


def may_be_table(name: str) -> bool:
    """Whether a file of this name is looked into for captions."""
    return NAMED_AS_TABLE.fullmatch(name) is not None or name.lower().endswith(".json")


class Row(NamedTuple):
    """What a table says about one file. number: as people count it, the header of a csv is row 1."""

    number: int
    file: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that have a text, and a line for each that cannot be used, as in "metadata.csv, row 7: no file name"."""

    kind: TableKind
    rows: list[Row]
    faults: list[str]


class _BadRow(ValueError):
    """A row that cannot be used; the message says why."""


Record = tuple[int, dict[str, Any] | _BadRow]


def read_table(path: Path, name: str) -> Table | None:
    """The rows of a csv or jsonl; None when its columns do not say that it lists pictures and captions.

    name: how faults call it. A file that is no text is a table of one fault.
    """
    try:
        text = read_text(path, "it")
    except (TextError, OSError) as error:
        return Table("imagefolder", [], [f"{name}: {_cause(error)}"])
    found = _json_lines(text) if path.suffix.lower() == ".jsonl" else _cells(text)
    if not found:
        return None
    file_key, text_key, records = found
    return _table(FILE_KEYS[file_key], _rows(records, name, file_key, text_key))


def _cause(error: TextError | OSError) -> str:
    return error.reason if isinstance(error, TextError) else (error.strerror or str(error)).lower()


def _table(kind: TableKind, found: Iterable[Row | str]) -> Table:
    table = Table(kind, [], [])
    for one in found:
        if isinstance(one, str):
            table.faults.append(one)
        else:
            table.rows.append(one)
    return table


def _rows(records: Iterable[Record], name: str, file_key: str, text_key: str) -> Iterator[Row | str]:
    """A row for each record with a text, a fault for each that is broken. One without a text says nothing."""
    for number, record in records:
        try:
            if isinstance(record, _BadRow):
                raise record
            file, lines = record.get(file_key), _lines(record.get(text_key))
            if not isinstance(file, str) or not (file := file.strip()):
                raise _BadRow("no file name")
        except _BadRow as fault:
            yield f"{name}, row {number}: {fault}"
        else:
            if lines:
                yield Row(number, file, lines)


def _lines(text: Any) -> tuple[str, ...]:
    """The captions of a cell: its lines, or those of a list of texts. Raises _BadRow for what is no text."""
    texts = [] if text is None else text if isinstance(text, list) else [text]
    if not all(isinstance(one, str) for one in texts):
        raise _BadRow("its caption is not a text")
    if any(HALF_LETTER.search(one) for one in texts):
        raise _BadRow("its caption has a broken letter")
    return tuple(line for one in texts for line in lines_of(one))


# csv


def _cells(text: str) -> tuple[str, str, Iterator[Record]] | None:
    """The two columns and the records of a csv, whatever separates its cells."""
    csv.field_size_limit(MAX_CELL)
    for delimiter in ",;\t":
        # not splitlines: it also cuts at separators that a caption may hold
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        try:
            header = [cell.strip().lower() for cell in next(reader, [])]
        except csv.Error:
            continue
        if columns := _columns(header):
            return *columns, _csv_records(reader, header, delimiter, columns[1])
    return None


def _columns(names: Iterable[str]) -> tuple[str, str] | None:
    names = set(names)
    files = [key for key in FILE_KEYS if key in names]
    texts = [key for key in TEXT_KEYS if key in names]
    return (files[0], texts[0]) if files and texts else None


def _csv_records(reader: Any, header: list[str], delimiter: str, text_key: str) -> Iterator[Record]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if cells:
                yield number, dict(zip(header, _fitted(cells, header, delimiter, text_key), strict=True))
        except csv.Error as error:
            yield number, _BadRow(_quotes(error))
        except _BadRow as fault:
            yield number, fault


def _fitted(cells: list[str], header: list[str], delimiter: str, text_key: str) -> list[str]:
    """As many cells as columns. A caption with commas that nobody put into quotes is put together again."""
    width = len(header)
    if len(cells) > width and header[-1] == text_key:
        return [*cells[: width - 1], delimiter.join(cells[width - 1 :])]
    if len(cells) > width and any(cell.strip() for cell in cells[width:]):
        raise _BadRow(f"{len(cells)} cells for {width} columns")
    return [*cells[:width], *[""] * (width - len(cells))]


def _quotes(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quotation mark is never closed"
    if "expected after" in str(error):
        return "quotation marks inside a cell must be doubled"
    return str(error)


# JSON


def _json_lines(text: str) -> tuple[str, str, Iterator[Record]] | None:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    first = (_json_record(line) for _, line in lines[:FIRST_ROWS])
    known = (columns for record in first if isinstance(record, dict) and (columns := _columns(record)))
    columns = next(known, None)
    return (*columns, ((number, _json_record(line)) for number, line in lines)) if columns else None


def _json_record(line: str) -> dict[str, Any] | _BadRow:
    try:
        record = json.loads(line)
    except ValueError:
        return _BadRow("not JSON")
    return record if isinstance(record, dict) else _BadRow("not a record of a file and a text")


def read_captions(path: Path, name: str) -> Table | None:
    """The texts of a JSON that maps names of pictures to captions, or lists records; None when it is something else.

    Only the caller can tell whether the names are pictures. A broken file is a fault if its name promises captions.
    """
    promised = NAMED_AS_CAPTIONS.fullmatch(path.name) is not None
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise TextError(f"it is larger than {MAX_JSON_BYTES // 2**20} MB; keep captions as lines of JSON (.jsonl)")
        content = json.loads(read_text(path, "it"))
    except (TextError, OSError) as error:
        return Table("json", [], [f"{name}: {_cause(error)}"]) if promised else None
    except (ValueError, RecursionError) as error:
        return Table("json", [], [f"{name}: it is not JSON ({error})"]) if promised else None
    if isinstance(content, dict):
        return _table("json", _mapped(content))
    return _listed(content, name) if isinstance(content, list) else None


def _mapped(content: dict[str, Any]) -> Iterator[Row]:
    for number, (key, value) in enumerate(content.items(), start=1):
        try:
            lines = _described(value) if isinstance(value, dict) else _lines(value)
        except _BadRow:  # a settings file has numbers where captions have texts
            continue
        if lines:
            yield Row(number, key, lines)


def _described(record: dict[str, Any]) -> tuple[str, ...]:
    """The captions of a record; kohya's has tags too, which follow the caption."""
    text = next((record[key] for key in TEXT_KEYS if record.get(key)), None)
    lines, tags = _lines(text), record.get("tags")
    if isinstance(tags, list) and all(isinstance(tag, str) for tag in tags):
        tags = ", ".join(tags)
    if not isinstance(tags, str) or not (tags := " ".join(tags.split())):
        return lines
    return tuple(f"{line}, {tags}" for line in lines) or (tags,)


def _listed(content: list[Any], name: str) -> Table | None:
    records = [(number, one) for number, one in enumerate(content, start=1) if isinstance(one, dict)]
    keys = next((key for key in FILE_KEYS if records and key in records[0][1]), None)
    if not keys:
        return None
    table = Table("json", [], [])
    for number, record in records:
        try:
            lines = _described(record)
        except _BadRow as fault:
            table.faults.append(f"{name}, record {number}: {fault}")
            continue
        if lines and isinstance(file := record.get(keys), str) and file.strip():
            table.rows.append(Row(number, file.strip(), lines))
    return table
