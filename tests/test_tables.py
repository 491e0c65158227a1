"""Tables of captions as people and programs write them: each row counts, or is named as a fault."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from trainers.data.tables import Row, Table, read_captions, read_table


def table_of(folder: Path, content: str | bytes, name: str = "metadata.csv") -> Table | None:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(file, name) if file.suffix != ".json" else read_captions(file, name)


def rows_of(folder: Path, content: str | bytes, name: str = "metadata.csv") -> dict[str, tuple[str, ...]]:
    """The rows of a table without faults."""
    table = table_of(folder, content, name)
    assert table is not None
    assert table.faults == []
    return {row.file: row.lines for row in table.rows}


# --------------------------------------------------------------------------- csv


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_delimiter_encoding_and_line_end(tmp_path: Path, delimiter: str, codec: str, end: str) -> None:
    lines = [("file_name", "text"), ("一.png", "a dog"), ('"b,;.png"', '"a cat, 一只; ""猫"""')]
    content = end.join(delimiter.join(cells) for cells in lines) + end
    assert rows_of(tmp_path, content.encode(codec)) == {"一.png": ("a dog",), "b,;.png": ('a cat, 一只; "猫"',)}


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("file_name,text", "imagefolder"),
        ("text,file_name", "imagefolder"),
        ("File_Name, Caption", "imagefolder"),
        ("image,prompt", "diffsynth"),
        ("video,prompt", "diffsynth"),
        ("image_path,caption", "diffsynth"),
    ],
)
def test_the_columns_tell_the_kind(tmp_path: Path, header: str, kind: str) -> None:
    first, _ = header.split(",")
    table = table_of(tmp_path, f"{header}\n{'a dog,a.png' if first == 'text' else 'a.png,a dog'}\n")
    assert table == Table(kind, [Row(2, "a.png", ("a dog",))], [])


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "file_name,label\na.png,3\n", "text\na dog\n"])
def test_another_csv_is_no_table(tmp_path: Path, content: str) -> None:
    assert table_of(tmp_path, content) is None


def test_a_cell_of_several_lines_is_several_captions(tmp_path: Path) -> None:
    content = 'file_name,text\na.png,"a dog\n\n two dogs "\nb.png,a cat\n'
    assert rows_of(tmp_path, content) == {"a.png": ("a dog", "two dogs"), "b.png": ("a cat",)}


def test_a_cell_of_a_million_letters_is_read(tmp_path: Path) -> None:
    long = "dog " * 250_000
    assert rows_of(tmp_path, f"file_name,text\na.png,{long}\n") == {"a.png": (long.strip(),)}


def test_a_caption_with_commas_that_nobody_quoted_stays_whole(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "file_name,text\na.png,a dog, running,  fast\n") == {"a.png": ("a dog, running,  fast",)}


def test_a_row_without_text_says_nothing(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "file_name,text\na.png\nb.png, \n\nc.png,a cat\n") == {"c.png": ("a cat",)}


def test_a_separator_inside_a_cell_does_not_end_the_row(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "file_name,text\na.png,a\u2028dog\x0b!\n") == {"a.png": ("a\u2028dog\x0b!",)}


def test_broken_rows_are_named_and_the_others_count(tmp_path: Path) -> None:
    content = 'text,file_name\na dog,a.png\na cat,\nx,b.png,extra\n"he said "hi"",c.png\na bird,d.png\n"open,e.png\n'
    table = table_of(tmp_path, content)
    assert table is not None
    assert [(row.number, row.file) for row in table.rows] == [(2, "a.png"), (6, "d.png")]
    assert table.faults == [
        "metadata.csv, row 3: no file name",
        "metadata.csv, row 4: 3 cells for 2 columns",
        "metadata.csv, row 5: quotation marks inside a cell must be doubled",
        "metadata.csv, row 7: a quotation mark is never closed",
    ]


def test_a_table_that_is_no_text_is_a_fault_with_a_guess(tmp_path: Path) -> None:
    table = table_of(tmp_path, "file_name,text\na.png,一只狗在跑\n".encode("gbk"))
    assert table is not None
    assert (table.rows, table.faults) == ([], ["metadata.csv: it is not UTF-8 (perhaps GBK)"])


def test_a_table_that_is_gone_is_a_fault(tmp_path: Path) -> None:
    table = read_table(tmp_path / "metadata.csv", "metadata.csv")
    assert table is not None
    assert table.faults == ["metadata.csv: no such file or directory"]


def test_a_hundred_thousand_rows_take_less_than_a_second(tmp_path: Path) -> None:
    content = "file_name,text\n" + "".join(f'train/{n:06}.png,"a dog, number {n}"\n' for n in range(100_000))
    (tmp_path / "metadata.csv").write_text(content)
    started = time.process_time()
    table = read_table(tmp_path / "metadata.csv", "metadata.csv")
    assert time.process_time() - started < 1
    assert table is not None
    assert table.rows[-1] == Row(100_001, "train/099999.png", ("a dog, number 99999",))


# --------------------------------------------------------------------------- lines of JSON


def test_lines_of_json_with_texts_and_lists(tmp_path: Path) -> None:
    records = [
        {"file_name": "a.png", "text": "a dog"},
        {"file_name": "b.png", "text": ["a cat", "一只猫\nzwei"]},
        {"file_name": "c.png", "text": None},
    ]
    content = "\n\n".join(json.dumps(record) for record in records)
    assert rows_of(tmp_path, content, "metadata.jsonl") == {"a.png": ("a dog",), "b.png": ("a cat", "一只猫", "zwei")}


def test_broken_lines_are_named_and_the_others_count(tmp_path: Path) -> None:
    content = (
        '{"image": \n[1]\n{"image": "a.png", "prompt": "a dog"}\n{"prompt": "x"}\n{"image": "b.png", "prompt": 3}\n'
        '{"image": "c.png", "prompt": "a \\ud83d dog"}\n'
    )
    assert table_of(tmp_path, content, "metadata.jsonl") == Table(
        "diffsynth",
        [Row(3, "a.png", ("a dog",))],
        [
            "metadata.jsonl, row 1: not JSON",
            "metadata.jsonl, row 2: not a record of a file and a text",
            "metadata.jsonl, row 4: no file name",
            "metadata.jsonl, row 5: its caption is not a text",
            "metadata.jsonl, row 6: its caption has a broken letter",
        ],
    )


# --------------------------------------------------------------------------- JSON


def test_a_map_of_names_to_texts(tmp_path: Path) -> None:
    content = {"a": "a dog", "b.png": ["one", "two"], "steps": 30, "empty": ""}
    assert rows_of(tmp_path, json.dumps(content), "x.json") == {"a": ("a dog",), "b.png": ("one", "two")}


def test_kohya_records_have_captions_and_tags(tmp_path: Path) -> None:
    content = {
        "a": {"caption": "a dog", "tags": "1dog, grass", "train_resolution": [512, 512]},
        "b": {"tags": "1cat"},
        "c": {"caption": "a bird\ntwo birds", "tags": ["sky", "blue"]},
        "d": {"train_resolution": [512, 512]},
    }
    assert rows_of(tmp_path, json.dumps(content), "meta_cap.json") == {
        "a": ("a dog, 1dog, grass",),
        "b": ("1cat",),
        "c": ("a bird, sky, blue", "two birds, sky, blue"),
    }


def test_a_list_of_records(tmp_path: Path) -> None:
    content = [{"image": "a.png", "caption": "a dog"}, {"image": "b.png"}, {"image": "c.png", "caption": 3}]
    table = table_of(tmp_path, json.dumps(content), "captions.json")
    assert table is not None
    assert table.rows == [Row(1, "a.png", ("a dog",))]
    assert table.faults == ["captions.json, record 3: its caption is not a text"]


@pytest.mark.parametrize("content", ["3", "null", "[]", "[1, 2]", '[{"a": 1}]'])
def test_another_json_is_no_table(tmp_path: Path, content: str) -> None:
    assert table_of(tmp_path, content, "captions.json") is None


@pytest.mark.parametrize("content", ["{", "[" * 100_000, b"\xff\xfe\xfd"])
def test_a_broken_json_is_a_fault_only_if_its_name_promises_captions(tmp_path: Path, content: str | bytes) -> None:
    assert table_of(tmp_path, content, "workflow.json") is None
    table = table_of(tmp_path, content, "captions.json")
    assert table is not None
    assert len(table.faults) == 1
    assert table.faults[0].startswith("captions.json: it ")


def test_a_json_that_is_too_large_is_not_loaded(tmp_path: Path) -> None:
    with (tmp_path / "captions.json").open("wb") as file:
        file.truncate(513 * 2**20)
    table = read_captions(tmp_path / "captions.json", "captions.json")
    assert table is not None
    assert table.faults == ["captions.json: it is larger than 512 MB; keep captions as lines of JSON (.jsonl)"]
