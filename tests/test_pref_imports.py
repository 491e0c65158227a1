"""Imports: everything that can be read, nothing from outside, and no crash."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.format_sets import labelled_set, tree
from tests.pictures import STRANGERS, encoded, scene
from tests.preference_pictures import names, png
from trainers.errors import DataError
from trainers.preferences.deriving import training_pairs
from trainers.preferences.formats.incoming import Imported, Reading
from trainers.preferences.formats.pickapic import parquet
from trainers.preferences.importing import import_into
from trainers.preferences.prefset import Prefset, image_id_of

KNOWN = ("cat", "dog", "fox", "owl", "hen", "cow", "photo")


@pytest.fixture
def prefset(tmp_path: Path) -> Prefset:
    return labelled_set(tmp_path / "set")


# ---------------------------------------------------------------------- imports


def write_jsonl(folder: Path, *records: Mapping[str, Any] | str, name: str = "pairs.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def draw(folder: Path, *given: str) -> None:
    for name in given:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(Path(name).name))


def rows_of(folder: Path) -> list[tuple[str, str]]:
    return [names(row, KNOWN) for row in training_pairs(Prefset(folder))]


def test_a_foreign_file_of_pairs_is_one_vote_each(tmp_path: Path) -> None:
    draw(tmp_path / "in", "cat", "dog")
    path = write_jsonl(tmp_path / "in", {"prompt": "an animal", "chosen": "cat.png", "rejected": "dog.png"})
    result = import_into(tmp_path / "set", path, Reading(annotator="anna"))
    assert result == Imported("jsonl", prompts=1, pictures=2, pairs=1, votes=1)
    prefset = Prefset(tmp_path / "set")
    assert [vote.annotator for vote in prefset.votes.standing()] == ["anna"]
    assert [pair.origin for pair in prefset.pairs.values()] == ["import"]
    assert rows_of(tmp_path / "set") == [("cat", "dog")]


def test_a_file_that_changed_its_mind_is_followed_back_and_forth(tmp_path: Path) -> None:
    draw(tmp_path / "in", "cat", "dog")
    for winner, loser in (("cat", "dog"), ("dog", "cat"), ("cat", "dog")):
        record = {"prompt": "an animal", "chosen": f"{winner}.png", "rejected": f"{loser}.png"}
        import_into(tmp_path / "set", write_jsonl(tmp_path / "in", record))
        assert rows_of(tmp_path / "set") == [(winner, loser)]


def test_an_imported_vote_that_was_taken_back_stays_so(tmp_path: Path) -> None:
    draw(tmp_path / "in", "cat", "dog")
    path = write_jsonl(tmp_path / "in", {"prompt": "an animal", "chosen": "cat.png", "rejected": "dog.png"})
    import_into(tmp_path / "set", path)
    log = Prefset(tmp_path / "set").votes
    assert log.undo(log.standing()[0].vote_id, "import", tombstone_id="t", ts=1.0)
    assert import_into(tmp_path / "set", path).votes == 0 and rows_of(tmp_path / "set") == []


def test_importing_into_a_set_keeps_what_is_there(prefset: Prefset, tmp_path: Path) -> None:
    before = {name: (prefset.folder / f"{name}.jsonl").read_bytes() for name in ("prompts", "images", "pairs", "votes")}
    draw(tmp_path / "in", "cat", "dog")
    record = {"prompt": "ein Tier, 動物", "chosen": "cat.png", "rejected": "dog.png"}
    result = import_into(prefset.folder, write_jsonl(tmp_path / "in", record))
    assert (result.prompts, result.pictures, result.pairs, result.votes) == (0, 0, 0, 1)
    for name, content in before.items():
        assert (prefset.folder / f"{name}.jsonl").read_bytes().startswith(content)
    assert Prefset(prefset.folder).pairs == prefset.pairs  # with what the scores say


def test_folders_of_chosen_and_rejected_match_by_name(tmp_path: Path) -> None:
    source = tmp_path / "in"
    draw(source, "chosen/cat", "chosen/deep/fox", "chosen/hen", "rejected/cow")
    (source / "rejected" / "cat.jpg").write_bytes(encoded(scene(), "JPEG"))
    (source / "rejected" / "deep").mkdir()
    (source / "rejected" / "deep" / "fox.webp").write_bytes(encoded(scene(), "WEBP"))
    (source / "chosen" / "cat.txt").write_text("a cat\n", encoding="utf-8")
    (source / "rejected" / "deep" / "fox.txt").write_text("a fox", encoding="utf-8")
    result = import_into(tmp_path / "set", source)
    assert (result.format, result.pairs, result.votes) == ("folders", 2, 2)
    assert result.faults == ("cow: no picture of this name in chosen/", "hen: no picture of this name in rejected/")
    rows = training_pairs(Prefset(tmp_path / "set"))
    assert sorted(row.prompt for row in rows) == ["a cat", "a fox"]
    assert {Path(row.chosen).read_bytes() for row in rows} == {png("cat"), png("fox")}
    assert {Path(row.rejected).suffix for row in rows} == {".jpg", ".webp"}


def test_a_pair_of_folders_without_a_caption_is_named(tmp_path: Path) -> None:
    draw(tmp_path / "in", "chosen/cat", "rejected/cat")
    (tmp_path / "in" / "rejected" / "cat.png").write_bytes(png("dog"))
    assert import_into(tmp_path / "set", tmp_path / "in").faults == (
        "cat: no caption (cat.txt) in chosen/ or rejected/",
    )


def parquet_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow, writer = parquet()
    writer.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def pick(prompt: str, one: bytes, other: bytes, label: float | None, **more: Any) -> dict[str, Any]:
    labels = {"label_0": label, "label_1": None if label is None else 1 - label}
    return {"caption": prompt, "jpg_0": one, "jpg_1": other, **labels} | more


def test_pickapic_rows_that_cannot_be_are_named(tmp_path: Path) -> None:
    cat, dog = png("cat"), png("dog")
    ids = {"image_0_uid": "x", "image_1_uid": "y"}
    rows = [
        pick("right", cat, dog, 0.0, best_image_uid="y", user_id=7, **ids),
        pick("two words", cat, dog, 1.0, best_image_uid="y", user_id=7, **ids),
        pick("same", cat, cat, 1.0),
        pick("", cat, dog, 1.0),
        pick("broken", b"no picture", dog, 1.0),
        pick("cut off", cat[:-20], dog, 1.0),
        pick("no label", cat, dog, None),
        pick("strange", cat, dog, 0.25),
    ]
    result = import_into(tmp_path / "set", parquet_of(tmp_path / "data.parquet", rows))
    assert rows_of(tmp_path / "set") == [("dog", "cat")]
    assert (result.pairs, result.votes) == (4, 1)  # those without a usable label are pairs to look at
    assert [fault.split(":")[0] for fault in result.faults] == [f"data.parquet, row {n}" for n in (2, 3, 4, 5, 6, 8)]
    assert "name different pictures" in result.faults[0] and "the same" in result.faults[1]
    assert "no prompt" in result.faults[2] and "it is a text" in result.faults[3] and "cut off" in result.faults[4]


def test_a_folder_of_parquet_files_is_read_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "in" / "data").mkdir(parents=True)
    parquet_of(tmp_path / "in" / "data" / "train-0.parquet", [pick("one", png("cat"), png("dog"), 1.0)])
    parquet_of(
        tmp_path / "in" / "data" / "train-1.parquet", [pick("two", png("fox"), {"bytes": png("owl")}["bytes"], 0.0)]
    )
    (tmp_path / "in" / "data" / "train-2.parquet").write_bytes(b"PAR1 and nothing more")
    result = import_into(tmp_path / "set", tmp_path / "in")
    assert rows_of(tmp_path / "set") == [("cat", "dog"), ("owl", "fox")]
    assert len(result.faults) == 1 and result.faults[0].startswith("train-2.parquet: it is damaged")


# ---------------------------------------------------------------------- what must not be read


OUTSIDE: Mapping[str, Callable[[Path], str]] = {
    "dots": lambda secret: f"../{secret.name}",
    "absolute": str,
    "dots within": lambda secret: f"sub/../../{secret.name}",
    "link": lambda secret: "link.png",
    "backslashes": lambda secret: f"..\\{secret.name}",
}


@pytest.mark.parametrize("way", list(OUTSIDE))
def test_nothing_outside_of_the_source_is_read(tmp_path: Path, way: str) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png("dog"))
    draw(tmp_path / "in", "cat")
    (tmp_path / "in" / "sub").mkdir()
    (tmp_path / "in" / "link.png").symlink_to(secret)
    record = {"prompt": "an animal", "chosen": OUTSIDE[way](secret), "rejected": "cat.png"}
    result = import_into(tmp_path / "set", write_jsonl(tmp_path / "in", record))
    assert len(result.faults) == 1 and result.pairs == 0
    assert png("dog") not in tree(tmp_path / "set").values()


def test_absolute_paths_are_read_when_allowed(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", "cat", "dog")
    paths = {
        side: str(tmp_path / "elsewhere" / f"{name}.png") for side, name in (("chosen", "cat"), ("rejected", "dog"))
    }
    path = write_jsonl(tmp_path / "in", {"prompt": "an animal", **paths})
    assert "allow absolute paths" in import_into(tmp_path / "set", path).faults[0]
    assert import_into(tmp_path / "set", path, Reading(absolute=True)).pairs == 1
    assert rows_of(tmp_path / "set") == [("cat", "dog")]


def test_pictures_can_stay_where_they_are(tmp_path: Path) -> None:
    draw(tmp_path / "in", "cat", "dog")
    path = write_jsonl(tmp_path / "in", {"prompt": "an animal", "chosen": "cat.png", "rejected": "dog.png"})
    import_into(tmp_path / "set", path, Reading(copy=False))
    prefset = Prefset(tmp_path / "set")
    assert list(prefset.images_dir.iterdir()) == []
    assert {(picture.path, picture.source) for picture in prefset.pictures.values()} == {
        (os.path.realpath(tmp_path / "in" / f"{name}.png"), "external") for name in ("cat", "dog")
    }
    assert rows_of(tmp_path / "set") == [("cat", "dog")]


@pytest.mark.parametrize("root", ["/media/anna/out/pictures/", "C:\\out\\pictures\\"])
def test_pictures_that_lay_in_another_place_are_found(tmp_path: Path, root: str) -> None:
    draw(tmp_path / "in", "pictures/cat", "pictures/dog")
    record = {"prompt": "an animal", "chosen": f"{root}cat.png", "rejected": f"{root}dog.png"}
    import_into(tmp_path / "set", write_jsonl(tmp_path / "in", record))
    assert rows_of(tmp_path / "set") == [("cat", "dog")]


BROKEN: Mapping[str, Mapping[str, Any] | str] = {
    "no JSON": "{",
    "no record": "[1]",
    "no text": '"\\ud800"',
    "no prompt": {"chosen": "cat.png", "rejected": "dog.png"},
    "prompt of numbers": {"prompt": [1], "chosen": "cat.png", "rejected": "dog.png"},
    "half a letter": '{"prompt": "\\ud800", "chosen": "cat.png", "rejected": "dog.png"}',
    "half a name": '{"prompt": "x", "chosen": "\\ud800.png", "rejected": "dog.png"}',
    "nothing rejected": {"prompt": "x", "chosen": "cat.png"},
    "conversation": {"prompt": "x", "chosen": [{"role": "user"}], "rejected": "dog.png"},
    "not there": {"prompt": "x", "chosen": "gone.png", "rejected": "dog.png"},
    "a folder": {"prompt": "x", "chosen": ".", "rejected": "dog.png"},
    "nul": {"prompt": "x", "chosen": "a\0b", "rejected": "dog.png"},
    "long": {"prompt": "x", "chosen": "a" * 5000, "rejected": "dog.png"},
    "same": {"prompt": "x", "chosen": "dog.png", "rejected": "dog.png"},
    "people": {"prompt": "x", "chosen": "cat.png", "rejected": "dog.png", "n_votes": 10**9},
    "share": {"prompt": "x", "chosen": "cat.png", "rejected": "dog.png", "p_chosen": "most"},
    "huge share": '{"prompt": "x", "chosen": "cat.png", "rejected": "dog.png", "p_chosen": 1' + "0" * 400 + "}",
    "nan": '{"prompt": "x", "chosen": "cat.png", "rejected": "dog.png", "weight": NaN, "source": "scores"}',
    **{name: {"prompt": "x", "chosen": name, "rejected": "dog.png"} for name in STRANGERS},
}


def test_broken_lines_are_named_and_stop_nothing(tmp_path: Path) -> None:
    draw(tmp_path / "in", "cat", "dog")
    for name, (content, _) in STRANGERS.items():
        (tmp_path / "in" / name).write_bytes(content)
    good = {"prompt": "an animal", "chosen": "cat.png", "rejected": "dog.png"}
    result = import_into(
        tmp_path / "set", write_jsonl(tmp_path / "in", good, *BROKEN.values(), good | {"prompt": "last"})
    )
    named = [int(fault.split(":")[0].removeprefix("pairs.jsonl, line ")) for fault in result.faults]
    assert sorted(named) == list(range(2, len(BROKEN) + 2))
    assert [row.prompt for row in training_pairs(Prefset(tmp_path / "set"))] == ["an animal", "last"]


@pytest.mark.parametrize(
    "record",
    [
        {"dpo_pair": {"chosen": ["cat.png"], "rejected": {}}},
        {
            "dpo_pair": {"chosen": "cat.png", "rejected": "dog.png", "margin": float("nan")},
            "meta": {"steps": float("nan")},
        },
        {
            "generated_image_paths": [None, 3, {}, ["x"], "cat.png"],
            "gen_rewards": [None, {"path": []}, {"path": "cat.png"}],
        },
        {"generated_image_paths": "cat.png", "real_image_path": 7, "real_reward": [[]]},
        {
            "generated_image_paths": ["cat.png"],
            "gen_rewards": [{"path": "cat.png", "scores": {"x": 10**400, "y": "z"}}],
        },
    ],
)
def test_broken_records_of_scored_json_stop_nothing(tmp_path: Path, record: dict[str, Any]) -> None:
    draw(tmp_path / "in", "cat", "dog")
    good = {
        "caption": "good",
        "dpo_pair": {"chosen": "cat.png", "rejected": "dog.png"},
        "annotation_status": "confirmed",
    }
    (tmp_path / "in" / "dataset_scored.json").write_text(json.dumps([good, {"caption": "bad"} | record, 3]))
    result = import_into(tmp_path / "set", tmp_path / "in")
    assert "dataset_scored.json, record 3: not a record of JSON" in result.faults
    assert rows_of(tmp_path / "set") == [("cat", "dog")]


@pytest.mark.parametrize("name", ["notes.txt", "pairs.jsonl", "list.json", "data.parquet", "empty"])
def test_what_holds_no_preferences_is_refused_with_what_would(tmp_path: Path, name: str) -> None:
    source = tmp_path / "in" / name
    source.parent.mkdir()
    source.mkdir() if name == "empty" else source.write_text('{"text": "hello"}\n')
    with pytest.raises(DataError, match="holds no preferences") as raised:
        import_into(tmp_path / "set", source)
    assert "chosen" in raised.value.hint
    assert not (tmp_path / "set").exists()
    with pytest.raises(DataError, match="There is no"):
        import_into(tmp_path / "set", tmp_path / "nowhere")


def test_a_set_of_another_picture_under_the_same_name_is_not_merged(prefset: Prefset, tmp_path: Path) -> None:
    prefset.path(image_id_of(png("owl"))).write_bytes(png("another"))
    result = import_into(tmp_path / "merged", prefset.folder)
    assert any("has changed" in fault for fault in result.faults)
    assert rows_of(tmp_path / "merged") == [names(row, KNOWN) for row in training_pairs(prefset)[:1]]


def test_results_are_plain_data(prefset: Prefset, tmp_path: Path) -> None:
    result = import_into(tmp_path / "copy", prefset.folder)
    assert json.loads(json.dumps(dataclasses.asdict(result)))["votes"] == 5
