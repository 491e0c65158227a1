"""Faults that preference tools are known for, each shown to be absent from the way of a label and of a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.preference_pictures import add, add_pair, names, png, prefer, say, side
from trainers.preferences import snapshot
from trainers.preferences.deriving import Terms, training_pairs
from trainers.preferences.exporting import FORMATS, export
from trainers.preferences.formats import hf_folder, incoming, pickapic
from trainers.preferences.formats.pickapic import parquet
from trainers.preferences.importing import import_into
from trainers.preferences.prefset import Auto, Prefset, Score, image_id_of
from trainers.preferences.training_pairs import read_training_pairs

KNOWN = ("good", "poor", "other", "photo")


@pytest.fixture
def prefset(tmp_path: Path) -> Prefset:
    return Prefset.create(tmp_path / "set")


def planted_swap(prefset: Prefset) -> None:
    """The scores are for `poor`, the person says `good`."""
    pair = add_pair(prefset, "a castle", "good", "poor")
    auto = Auto(side(pair, "poor"), 1.25, 1.0)
    prefset.add_pairs([pair.__class__(pair.pair_id, pair.prompt_id, pair.a, pair.b, "auto", auto)])
    prefer(prefset, pair, "good")


def chosen_and_rejected(path: Path) -> list[tuple[str, str]]:
    """What training reads in a file of pairs."""
    return [names(row, KNOWN) for row in read_training_pairs(path)]


def scored(folder: Path, status: str | None, pair: dict[str, Any] | None = None, **more: Any) -> Path:
    """A file of one record, with two pictures, of which the scores prefer `poor`."""
    folder.mkdir(exist_ok=True)
    for name in ("good", "poor", "photo"):
        (folder / f"{name}.png").write_bytes(png(name))
    record: dict[str, Any] = {
        "caption": "a castle",
        "real_image_path": "photo.png",
        "generated_image_paths": ["poor.png", "good.png"],
        "dpo_pair": pair or {"chosen": "poor.png", "rejected": "good.png", "margin": 1.25},
    }
    record |= {"annotation_status": status} if status else {}
    (folder / "dataset_scored.json").write_text(json.dumps([record | more]))
    return folder / "dataset_scored.json"


# a file in which somebody answered "swapped": the paths are exchanged, and the margin is negated
SWAPPED = {"chosen": "good.png", "rejected": "poor.png", "margin": -1.25}


# ---------------------------------------------------------------------- labels that are turned round


def test_a_correction_is_trained_as_the_person_meant_it(prefset: Prefset) -> None:
    planted_swap(prefset)
    assert chosen_and_rejected(snapshot.pin(prefset.folder)) == [("good", "poor")]
    terms = Terms(sources=("votes", "scores"))
    assert chosen_and_rejected(export(prefset, "train", terms=terms).path) == [("good", "poor")]


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_correction_is_turned_once_however_often_it_goes_round(prefset: Prefset, tmp_path: Path, format: str) -> None:
    planted_swap(prefset)
    source = prefset
    for trip in range(3):
        import_into(tmp_path / f"trip {trip}", export(source, format).path)
        source = Prefset(tmp_path / f"trip {trip}")
        rows = chosen_and_rejected(snapshot.pin(source.folder))
        assert [row for row in rows if "photo" not in row] == [("good", "poor")]


def test_a_record_that_says_swapped_is_not_swapped_again(tmp_path: Path) -> None:
    import_into(tmp_path / "set", scored(tmp_path / "in", "swapped", SWAPPED))
    prefset = Prefset(tmp_path / "set")
    assert ("good", "poor") in chosen_and_rejected(snapshot.pin(prefset.folder))
    assert ("poor", "good") not in chosen_and_rejected(snapshot.pin(prefset.folder))
    (pair,) = prefset.pairs.values()
    assert pair.auto == Auto(side(pair, "poor"), 1.25, 1.0)  # what the scores had said is known still


def test_exported_records_need_no_swap(prefset: Prefset) -> None:
    planted_swap(prefset)
    (record,) = json.loads(export(prefset, "scored").path.read_text(encoding="utf-8"))
    assert record["annotation_status"] == "confirmed"
    chosen = prefset.export_dir / record["dpo_pair"]["chosen"]
    assert chosen.read_bytes() == png("good") and record["dpo_pair"]["margin"] == -1.25


@pytest.mark.parametrize(
    ("status", "pair", "expected"),
    [
        ("confirmed", None, [("poor", "good")]),
        ("swapped", SWAPPED, [("good", "poor")]),
        ("discarded", None, []),
        (None, None, []),
        ("unannotated", None, []),
    ],
)
def test_each_status_means_what_the_person_did(tmp_path: Path, status: str, pair: Any, expected: list) -> None:
    import_into(tmp_path / "set", scored(tmp_path / "in", status, pair))
    rows = training_pairs(Prefset(tmp_path / "set"), Terms(real=False))
    assert [names(row, KNOWN) for row in rows] == expected


def test_what_nobody_looked_at_is_a_label_of_the_scores_and_no_vote(tmp_path: Path) -> None:
    import_into(tmp_path / "set", scored(tmp_path / "in", None))
    prefset = Prefset(tmp_path / "set")
    assert prefset.votes.standing() == []
    rows = training_pairs(prefset, Terms(sources=("scores",), real=False))
    assert [(names(row, KNOWN), row.source) for row in rows] == [(("poor", "good"), "scores")]


def test_nothing_in_a_set_says_chosen_or_rejected(prefset: Prefset) -> None:
    planted_swap(prefset)
    snapshot.pin(prefset.folder)
    for path in prefset.folder.glob("*.jsonl"):
        assert not {"chosen", "rejected"} & {key for line in path.open() for key in json.loads(line)}


# ---------------------------------------------------------------------- going on deletes what was there


def test_importing_more_keeps_all_that_was_imported_before(tmp_path: Path) -> None:
    for number in range(3):
        folder = tmp_path / f"in {number}"
        folder.mkdir()
        (folder / "x.png").write_bytes(png(f"x{number}"))
        (folder / "y.png").write_bytes(png(f"y{number}"))
        line = json.dumps({"prompt": f"prompt {number}", "chosen": "x.png", "rejected": "y.png"})
        (folder / "pairs.jsonl").write_text(line + "\n")
        import_into(tmp_path / "set", folder)
    rows = training_pairs(Prefset(tmp_path / "set"))
    assert [row.prompt for row in rows] == ["prompt 0", "prompt 1", "prompt 2"]


def test_an_import_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scored(tmp_path / "in", "swapped", SWAPPED)

    def power_cut(self: incoming.Incoming, format: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(incoming.Incoming, "save", power_cut)
        with pytest.raises(KeyboardInterrupt):
            import_into(tmp_path / "set", path)
    assert import_into(tmp_path / "set", path).pictures == 3
    assert len(list((tmp_path / "set" / "images").iterdir())) == 3


# ---------------------------------------------------------------------- scores


@pytest.mark.parametrize("as_list", [True, False])
def test_rewards_of_the_real_picture_may_be_a_list_or_not(tmp_path: Path, as_list: bool) -> None:
    reward = {"total_reward": 9.0, "hps_score": 0.25, "anatomy_score": 4.0, "anatomy_details": {"body": 4.0}}
    import_into(tmp_path / "set", scored(tmp_path / "in", None, real_reward=[reward] if as_list else reward))
    prefset = Prefset(tmp_path / "set")
    found = {(score.scorer, score.v) for score in prefset.scores.values()}
    assert found == {("hpsv2.1", 0.25), ("anatomy", 4.0)}
    assert {score.image_id for score in prefset.scores.values()} == {image_id_of(png("photo"))}


def test_rewards_follow_their_picture_whatever_their_order(tmp_path: Path) -> None:
    rewards = [{"path": f"{name}.png", "scores": {"hps_score": v}} for name, v in (("good", 0.3), ("poor", 0.2))]
    import_into(tmp_path / "one", scored(tmp_path / "in", None, gen_rewards=rewards))
    beside = [{"hps_score": 0.2}, {"hps_score": 0.3}]  # in the order of generated_image_paths
    import_into(tmp_path / "two", scored(tmp_path / "in", None, generated_rewards=beside))
    for name in ("one", "two"):
        scores = Prefset(tmp_path / name).scores.values()
        assert {s.image_id: s.v for s in scores} == {image_id_of(png("good")): 0.3, image_id_of(png("poor")): 0.2}


def test_an_import_leaves_scores_of_the_set_alone(tmp_path: Path) -> None:
    rewards = [{"path": "good.png", "scores": {"hps_score": 0.3}}, {"path": "poor.png", "scores": {"hps_score": 0.2}}]
    path = scored(tmp_path / "in", None, gen_rewards=rewards)
    import_into(tmp_path / "set", path)
    prefset, made = Prefset(tmp_path / "set"), image_id_of(png("good"))
    prefset.add_scores([Score(made, next(iter(prefset.prompts)), "hpsv2.1", "2.1", 0.4)])
    assert import_into(tmp_path / "set", path).scores == 0
    assert [s.v for s in Prefset(tmp_path / "set").scores.values() if s.image_id == made] == [0.4]
    assert len((tmp_path / "set" / "scores.jsonl").read_text().splitlines()) == 3


def test_a_zero_that_stands_for_no_score_is_none(tmp_path: Path) -> None:
    rewards = [{"path": "good.png", "scores": {"hps_score": 0.0, "anatomy_score": 0.0, "total_reward": 0.0}}]
    import_into(tmp_path / "set", scored(tmp_path / "in", None, gen_rewards=rewards))
    assert [score.v for score in Prefset(tmp_path / "set").scores.values()] == [None, None]


def test_a_score_that_is_missing_is_left_out_of_exports(prefset: Prefset) -> None:
    planted_swap(prefset)
    (pair,) = prefset.pairs.values()
    prefset.add_scores([Score(pair.a, pair.prompt_id, "hpsv2.1", "1", None)])
    (record,) = json.loads(export(prefset, "scored").path.read_text(encoding="utf-8"))
    assert all(one["scores"] == {} for one in record["gen_rewards"])


# ---------------------------------------------------------------------- pictures


def test_a_damaged_picture_never_becomes_part_of_a_pair(tmp_path: Path) -> None:
    path = scored(tmp_path / "in", "confirmed")
    (tmp_path / "in" / "good.png").write_bytes(png("good")[:-30])
    result = import_into(tmp_path / "set", path)
    assert result.pairs == 0 and any("good.png" in fault and "cut off" in fault for fault in result.faults)
    assert sorted(one.suffix for one in (tmp_path / "set" / "images").iterdir()) == [".png", ".png"]  # poor and photo


def test_missing_pictures_are_counted_before_training(prefset: Prefset) -> None:
    planted_swap(prefset)
    prefset.path(image_id_of(png("poor"))).unlink()
    assert snapshot.summary(prefset.folder)["missing"] == 1


def test_pictures_are_never_encoded_again(prefset: Prefset, tmp_path: Path) -> None:
    """A JPEG of a generated picture would teach its blocks, so the bytes stay those of the PNG on every way."""
    planted_swap(prefset)
    original = {png("good"), png("poor")}
    folder = export(prefset, "hf").path
    assert {path.read_bytes() for path in folder.rglob("*.png")} == original
    _, parquet_of = parquet()
    (row,) = parquet_of.read_table(export(prefset, "pickapic").path).to_pylist()
    assert {row["jpg_0"], row["jpg_1"]} == original
    for format in FORMATS:
        import_into(tmp_path / format, export(prefset, format).path)
        assert {path.read_bytes() for path in (tmp_path / format / "images").iterdir()} == original


def test_the_seed_of_a_picture_stays_known(prefset: Prefset, tmp_path: Path) -> None:
    made = add(prefset, "a castle", "good", seed=1234, steps=28)
    import_into(tmp_path / "copy", prefset.folder)
    assert Prefset(tmp_path / "copy").pictures[made].gen == {"seed": 1234, "steps": 28}


# ---------------------------------------------------------------------- prompts


def test_prompts_are_trained_as_they_were_written(tmp_path: Path) -> None:
    """No template and no system prompt gets in, and a negative prompt never becomes part of the caption."""
    text = " <img>\n1girl, \u732b\u8033 (smile:1.2) "
    prefset = Prefset.create(tmp_path / "set")
    prefset.add_prompts([(text, "blurry")])
    pair = add_pair(prefset, text, "good", "poor")
    prefer(prefset, pair, "good")
    (row,) = read_training_pairs(snapshot.pin(prefset.folder))
    assert row.prompt == text
    import_into(tmp_path / "copy", export(prefset, "jsonl").path)
    assert [prompt.prompt for prompt in Prefset(tmp_path / "copy").prompts.values()] == [text]


# ---------------------------------------------------------------------- held out, and files in part


def test_pairs_are_held_out_by_themselves(prefset: Prefset) -> None:
    for number in range(60):
        prefer(prefset, add_pair(prefset, f"prompt {number}", f"x{number}", f"y{number}"), f"x{number}")
    counts = snapshot.summary(snapshot.pin(prefset.folder))
    assert 0 < counts["held_out"] < counts["pairs"] == 60


@pytest.mark.parametrize("format", list(FORMATS))
def test_an_export_that_fails_leaves_the_earlier_one(
    prefset: Prefset, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    planted_swap(prefset)
    path = export(prefset, format).path
    kept = {one: one.read_bytes() for one in prefset.export_dir.rglob("*") if one.is_file()}
    prefer(prefset, add_pair(prefset, "a tower", "other", "photo"), "other")

    def disk_full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainers.rundir.os.fsync", disk_full)
    monkeypatch.setattr(hf_folder, "_copied", disk_full)
    monkeypatch.setattr(pickapic, "_row", disk_full)
    with pytest.raises(OSError, match="No space"):
        export(prefset, format)
    assert {one: one.read_bytes() for one in prefset.export_dir.rglob("*") if one.is_file()} == kept
    assert path.exists()


def test_a_tie_is_no_pair_whoever_finds_it(prefset: Prefset) -> None:
    pair = add_pair(prefset, "a castle", "good", "poor", Auto("tie", 0.0, 0.5))
    assert training_pairs(prefset, Terms(sources=("votes", "scores"))) == []
    say(prefset, pair, "tie")
    assert training_pairs(prefset, Terms(sources=("votes", "scores"))) == []
