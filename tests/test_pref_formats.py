"""Exports, and what goes round: it comes back the same, and nothing comes twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.format_sets import added, labelled_set, tree, votes_of
from tests.preference_pictures import add, add_pair, names, png, prefer, say
from trainers.errors import DataError, MissingPackageError
from trainers.preferences.deriving import Terms, training_pairs
from trainers.preferences.exporting import FORMATS, export
from trainers.preferences.formats import pickapic
from trainers.preferences.formats.pickapic import parquet
from trainers.preferences.importing import import_into
from trainers.preferences.prefset import Prefset, Score, image_id_of
from trainers.preferences.training_pairs import read_training_pairs

KNOWN = ("cat", "dog", "fox", "owl", "hen", "cow", "photo")


PICK_A_PIC = (
    *("are_different", "best_image_uid", "caption", "created_at", "has_label", "image_0_uid", "image_0_url"),
    *("image_1_uid", "image_1_url", "jpg_0", "jpg_1", "label_0", "label_1", "model_0", "model_1", "ranking_id"),
    *("user_id", "num_example_per_prompt"),
)


@pytest.fixture
def prefset(tmp_path: Path) -> Prefset:
    return labelled_set(tmp_path / "set")


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
