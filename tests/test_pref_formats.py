"""Exports and imports: what goes round comes back the same, nothing twice, nothing from outside, no crash."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import STRANGERS, encoded, scene
from tests.preference_pictures import add, add_pair, names, png, prefer, say
from trainers.errors import DataError, MissingPackageError
from trainers.preferences.deriving import Terms, training_pairs
from trainers.preferences.exporting import FORMATS, export
from trainers.preferences.formats import pickapic
from trainers.preferences.formats.incoming import Imported, Reading
from trainers.preferences.formats.pickapic import parquet
from trainers.preferences.importing import import_into
from trainers.preferences.prefset import Auto, Prefset, Score, image_id_of
from trainers.preferences.training_pairs import read_training_pairs

KNOWN = ("cat", "dog", "fox", "owl", "hen", "cow", "photo")


PICK_A_PIC = (
    *("are_different", "best_image_uid", "caption", "created_at", "has_label", "image_0_uid", "image_0_url"),
    *("image_1_uid", "image_1_url", "jpg_0", "jpg_1", "label_0", "label_1", "model_0", "model_1", "ranking_id"),
    *("user_id", "num_example_per_prompt"),
)


@pytest.fixture
def prefset(tmp_path: Path) -> Prefset:
    """Three prompts: a clear winner against the scores, a majority with repeats, a pair that only scores have seen."""
    prefset = Prefset.create(tmp_path / "set")
    first = add_pair(prefset, "ein Tier, 動物", "cat", "dog", Auto("a", 0.75, 1.0))
    say(prefset, first, "b")
    second = add_pair(prefset, "a bird", "fox", "owl")
    for person in ("p1", "p2", "p3"):
        prefer(prefset, second, "owl", person)
    prefer(prefset, second, "fox", "p3", repeat=True)
    add_pair(prefset, "a farm", "hen", "cow", Auto("b", 1.5, 1.0))
    return prefset


def tree(path: Path) -> dict[str, bytes]:
    """The content of a file, or of all files of a folder."""
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {one.relative_to(path.parent).as_posix(): one.read_bytes() for one in files}


def added(result: Imported) -> int:
    return result.prompts + result.pictures + result.pairs + result.votes + result.scores


def votes_of(prefset: Prefset) -> int:
    return len(prefset.votes.standing())


# ---------------------------------------------------------------------- round trips


@pytest.mark.parametrize("format", list(FORMATS))
def test_export_import_export_is_identical(prefset: Prefset, tmp_path: Path, format: str) -> None:
    first = export(prefset, format)
    result = import_into(tmp_path / "copy", first.path)
    assert result.faults == () and result.pairs == 2
    again = export(Prefset(tmp_path / "copy"), format)
    assert tree(again.path) == tree(first.path)
    assert again.rows == first.rows > 0


@pytest.mark.parametrize("format", list(FORMATS))
def test_direction_survives_every_format(prefset: Prefset, tmp_path: Path, format: str) -> None:
    expected = sorted(names(row, KNOWN) for row in training_pairs(prefset))
    import_into(tmp_path / "copy", export(prefset, format).path)
    rows = training_pairs(Prefset(tmp_path / "copy"))
    assert sorted(names(row, KNOWN) for row in rows) == expected


@pytest.mark.parametrize("format", list(FORMATS))
def test_importing_twice_adds_nothing(prefset: Prefset, tmp_path: Path, format: str) -> None:
    path = export(prefset, format).path
    assert added(import_into(tmp_path / "copy", path)) > 0
    before = tree(tmp_path / "copy")
    assert added(import_into(tmp_path / "copy", path)) == 0
    assert tree(tmp_path / "copy") == before


def test_real_pictures_and_scored_pairs_go_round_in_training_pairs(prefset: Prefset, tmp_path: Path) -> None:
    add(prefset, "a bird", "photo", "real")
    terms = Terms(sources=("votes", "scores"))
    first = export(prefset, "train", terms=terms)
    import_into(tmp_path / "copy", first.path)
    copy = Prefset(tmp_path / "copy")
    rows, again = training_pairs(prefset, terms), training_pairs(copy, terms)
    key = [(row.prompt, names(row, KNOWN), row.n_votes, row.source, row.split) for row in rows]
    assert sorted(key[:3]) == sorted((r.prompt, names(r, KNOWN), r.n_votes, r.source, r.split) for r in again[:3])
    assert [row.weight for row in again[:3]] == pytest.approx([row.weight for row in rows[:3]])
    # pictures of the pairs that people decided come back as those of another program, which no real one is set against
    assert {row.source for row in rows} == {"votes", "scores", "real"}


def test_scores_and_settings_go_round_in_scored_json(prefset: Prefset, tmp_path: Path) -> None:
    gen = {"steps": 28, "cfg": 5.0, "sampler": "euler", "adapters": [{"path": "style.safetensors"}]}
    pair = add_pair(prefset, "a boat", "b1", "b2")
    add(prefset, "a boat", "b3", **gen)
    add(prefset, "a boat", "photo", "real")
    prefer(prefset, pair, "b1")
    for scorer, values in {
        "hpsv2.1": (0.25, 0.27, 0.3, 0.28),
        "anatomy": (4.0, None, 5.0, 3.0),
        "mine": (1, 2, 3, 4),
    }.items():
        prefset.add_scores(
            Score(image_id_of(png(name)), pair.prompt_id, scorer, "1", value)
            for name, value in zip(("b1", "b2", "b3", "photo"), values, strict=True)
        )
    first = export(prefset, "scored")
    record = json.loads(first.path.read_text(encoding="utf-8"))[-1]
    # 20 hps + anatomy: 20 * 0.3 + 5 = 11, 20 * 0.25 + 4 = 9, 20 * 0.27 = 5.4
    assert [one["scores"]["total_reward"] for one in record["gen_rewards"]] == pytest.approx([11, 9, 5.4])
    assert "anatomy_score" not in record["gen_rewards"][2]["scores"]
    assert record["real_reward"][0]["hps_score"] == 0.28
    import_into(tmp_path / "copy", first.path)
    assert tree(export(Prefset(tmp_path / "copy"), "scored").path) == tree(first.path)


def test_merging_brings_together_what_people_labelled_apart(prefset: Prefset, tmp_path: Path) -> None:
    shutil.copytree(prefset.folder, tmp_path / "theirs")
    theirs = Prefset(tmp_path / "theirs")
    pair = next(iter(theirs.pairs.values()))
    prefer(theirs, pair, "cat", "them")
    prefer(theirs, add_pair(theirs, "a boat", "hull", "sail"), "sail", "them")
    (undone,) = [vote for vote in theirs.votes.standing() if vote.annotator == "them" and vote.pair_id == pair.pair_id]
    theirs.votes.undo(undone.vote_id, "them", tombstone_id="t", ts=2.0)
    result = import_into(prefset.folder, theirs.folder)
    assert (result.format, result.prompts, result.pictures, result.pairs) == ("prefset.v1", 1, 2, 1)
    merged, together = Prefset(prefset.folder), Prefset(theirs.folder)
    assert {v.vote_id for v in merged.votes.events()} == {v.vote_id for v in together.votes.events()}
    assert merged.votes.standing() == together.votes.standing()
    assert merged.pairs == together.pairs and added(import_into(prefset.folder, theirs.folder)) == 0


# ---------------------------------------------------------------------- exports


def test_pickapic_has_the_columns_and_labels_of_the_dataset(prefset: Prefset) -> None:
    say(prefset, next(iter(prefset.pairs.values())), "tie", "17")
    pyarrow, parquet_of = parquet()
    table = parquet_of.read_table(export(prefset, "pickapic").path)
    assert table.schema.names == list(PICK_A_PIC)
    assert (
        table.schema.field("jpg_0").type == pyarrow.binary() and table.schema.field("user_id").type == pyarrow.int64()
    )
    rows = table.to_pylist()
    assert len(rows) == votes_of(prefset) == 6
    for row in rows:
        best = {1.0: row["image_0_uid"], 0.5: "tie", 0.0: row["image_1_uid"]}
        assert row["label_0"] + row["label_1"] == 1 and row["best_image_uid"] == best[row["label_0"]]
        assert image_id_of(row["jpg_0"]) == row["image_0_uid"] and image_id_of(row["jpg_1"]) == row["image_1_uid"]
    assert rows[-1]["user_id"] == 17 and rows[-1]["label_0"] == 0.5
    assert {row["num_example_per_prompt"] for row in rows} == {2, 4}
    assert len({row["ranking_id"] for row in rows}) == 6


def test_hugging_face_finds_pictures_beside_their_metadata(prefset: Prefset, tmp_path: Path) -> None:
    folder = export(prefset, "hf", tmp_path / "out", Terms(held_out=0.5)).path
    lines = {split: (folder / split / "metadata.jsonl").read_text(encoding="utf-8") for split in ("train", "test")}
    records = [(split, json.loads(line)) for split, text in lines.items() for line in text.splitlines()]
    assert len(records) == 2 and {split for split, _ in records} == {"train", "test"}
    for split, record in records:
        for side in ("chosen", "rejected"):  # columns NAME_file_name become pictures of the column NAME
            assert (folder / split / record[f"{side}_file_name"]).is_file()
    assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\n")
    assert export(prefset, "hf", folder, Terms(held_out=0.5)).path == folder


def test_a_folder_that_is_no_export_is_left_alone(prefset: Prefset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="no earlier export"):
        export(prefset, "hf", tmp_path / "mine")
    assert tree(tmp_path / "mine") == {"mine/thesis.txt": b"years of work"}


def test_trl_lines_hold_pairs_only(prefset: Prefset) -> None:
    say(prefset, add_pair(prefset, "a boat", "hull", "sail"), "both_bad")
    records = [json.loads(line) for line in export(prefset, "jsonl").path.read_text(encoding="utf-8").splitlines()]
    assert len(records) == 2
    assert all({"prompt", "chosen", "rejected", "weight"} <= record.keys() for record in records)
    assert len(read_training_pairs(export(prefset, "train").path)) == 4


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_set_without_votes_exports_nothing(tmp_path: Path, format: str) -> None:
    prefset = Prefset.create(tmp_path / "set")
    add_pair(prefset, "an animal", "cat", "dog")
    with pytest.raises(DataError) as raised:
        export(prefset, format)
    assert "Label" in raised.value.hint and tree(prefset.export_dir.parent / "export") == {}


def test_missing_pictures_are_named_and_never_replaced(prefset: Prefset) -> None:
    path = prefset.path(image_id_of(png("owl")))
    path.unlink()
    for format in ("hf", "pickapic"):
        result = export(prefset, format)
        assert result.rows == 1 and result.missing == (str(path),)
    assert str(path) in export(prefset, "train").missing


def test_an_unknown_format_is_refused_with_the_known_ones(prefset: Prefset) -> None:
    with pytest.raises(DataError, match="train, jsonl, pickapic, hf, scored"):
        export(prefset, "csv")


def test_parquet_without_its_package_names_the_install_line(prefset: Prefset, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(pickapic, "import_module", missing)
    with pytest.raises(MissingPackageError) as raised:
        export(prefset, "pickapic")
    assert "python -m pip install -r requirements-preferences.txt" in raised.value.hint
    assert tree(prefset.export_dir) == {}


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
