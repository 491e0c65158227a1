"""What the check says of preference pairs: every fault at its field, with its number and its remedy."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from app.services.pictures import Scans, StillScanning
from app.ui.texts import texts
from tests.checks import codes, config_of, found, lay_out
from tests.machines import CARD_24, LAPTOP
from tests.pair_files import draw_pairs, recoloured, write
from trainers import plan, preflight
from trainers.config import TrainConfig
from trainers.errors import ConfigErrors
from trainers.preferences.prefset import Prefset
from trainers.preferences.training_pairs import TrainingPair


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder and a base model."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return lay_out(tmp_path)


def dpo(place: Path, pairs: Path | str, **sections: dict[str, Any]) -> TrainConfig:
    objective = {"kind": "dpo", "pairs": str(pairs), **sections.pop("objective", {})}
    data = {"folder": "", **sections.pop("data", {})}
    return config_of(place, {"objective": objective, "data": data, **sections})


def check(
    place: Path, rows: list[TrainingPair] | Path | str, machine: Any = CARD_24, **sections: dict[str, Any]
) -> preflight.Report:
    pairs = write(place / "set", rows) if isinstance(rows, list) else rows
    return preflight.check(dpo(place, pairs, **sections), machine)


def test_good_pairs_have_no_problems_and_no_warnings_and_need_no_folder(place: Path) -> None:
    report = check(place, draw_pairs(place / "set", 10, held_out=2))
    assert codes(report) == ["pairs", "pictures", "pair_epoch", "model"]
    assert found(report, "pairs").message == "8 pairs of 8 prompts to train on, 2 pairs held out."
    assert found(report, "pictures").message == "20 pictures at 64 px in 1 size (64x64: 20)."
    assert "each pair about 1.2 times" in found(report, "pair_epoch").message, "10 steps of 1 pair, of 8"
    assert report.pairs and report.scan is None and report.plan and report.plan.pictures == 20


def test_pairs_that_are_not_given_or_not_there_are_problems_at_their_field(place: Path) -> None:
    (place / "empty.jsonl").write_text("")
    (place / "no_pairs.jsonl").write_text(json.dumps({"prompt": "x"}) + "\n")
    (place / "heavy.jsonl").write_text(json.dumps({"prompt": "x", "chosen": "a", "rejected": "b", "weight": 2}) + "\n")
    Prefset.create(place / "nothing decided")
    expected = {
        "": "no preference pairs are given",
        str(place / "gone"): "no file",
        str(place / "empty.jsonl"): "holds no pairs",
        str(place / "no_pairs.jsonl"): "line 1 is no pair",
        str(place / "heavy.jsonl"): "weight of 2",
        str(place / "pictures"): "holds no preference set",
        str(place / "nothing decided"): "no pair that is decided",
    }
    for pairs, words in expected.items():
        (problem,) = [one for one in check(place, pairs).findings if one.level == "problem"]
        assert problem.field == "objective.pairs" and words in problem.message and problem.hint, pairs
        assert texts("zh").finding(problem)[0] != problem.message, pairs


def test_a_pair_with_a_bad_picture_is_named_and_left_out(place: Path) -> None:
    rows = draw_pairs(place / "set", 5, held_out=1)
    Path(rows[0].rejected).unlink()
    Path(rows[1].chosen).write_bytes(b"")
    warning = found(check(place, rows), "broken_pairs")
    assert warning.level == "warning" and warning.message.startswith("2 pairs left out")
    assert "0-down.png: no such file" in warning.message and "1-up.png: the file is empty" in warning.message
    assert "1-up.png: 文件是空的" in texts("zh").finding(warning)[0]
    assert "2 pairs of 2 prompts" in found(check(place, rows), "pairs").message


def test_nothing_that_can_be_used_is_a_problem(place: Path) -> None:
    rows = draw_pairs(place / "set", 2)
    for row in rows:
        Path(row.chosen).unlink()
    report = check(place, rows)
    assert found(report, "all_pairs_broken").level == "problem" and report.plan is None
    with pytest.raises(ConfigErrors, match="none of the 2 pairs can be used"):
        report.raise_problems()


def test_pairs_that_are_all_held_out_are_a_problem(place: Path) -> None:
    assert found(check(place, draw_pairs(place / "set", 2, held_out=2)), "all_held_out").level == "problem"


def test_without_held_out_pairs_a_share_is_offered(place: Path) -> None:
    rows = draw_pairs(place / "set", 10)
    warning = found(check(place, rows), "none_held_out")
    assert warning.fix and warning.fix.values == {"validation.fraction": 0.1}
    report = check(place, rows, validation={"fraction": 0.1})
    assert found(report, "pairs").message == "9 pairs of 9 prompts to train on, 1 pair held out."


def test_a_prompt_on_both_sides_is_told(place: Path) -> None:
    rows = draw_pairs(place / "set", 4, held_out=1)
    other = dataclasses.replace(rows[-1], chosen=rows[0].chosen, split="train")
    assert found(check(place, [*rows, other]), "divided_prompts").message.startswith("1 prompt on both sides")


def test_single_pictures_are_for_kto(place: Path) -> None:
    rows = draw_pairs(place / "set", 4, held_out=1)
    singles = [TrainingPair("a red circle", "", row.rejected) for row in rows[:2]]
    warning = found(check(place, [*rows, *singles]), "unpaired")
    assert warning.message.startswith("2 pictures without partner") and "kto" in warning.hint
    kto = {"objective": {"preference_loss": "kto"}, "schedule": {"batch_size": 4}}
    report = check(place, [*rows, *singles], **kto)
    assert found(report, "liked_pictures").message == "3 pictures liked and 5 not, of 4 prompts; 1 pair held out."
    assert found(check(place, singles, **kto), "one_sided").level == "problem"
    assert "kto_alone" in codes(check(place, rows, objective={"preference_loss": "kto"}))


def test_shapes_that_do_not_match_are_told(place: Path) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    wide = recoloured(rows[0].rejected, "wide.png", (160, 64), "red")
    rows[0] = dataclasses.replace(rows[0], rejected=wide)
    assert found(check(place, rows), "pairs_cut").message.startswith("1 pair of which one picture loses more than 30%")
    assert found(check(place, rows, data={"resolution": 256}), "small_pictures")


def test_long_prompts_are_named(place: Path) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    rows[0] = dataclasses.replace(rows[0], prompt="wuzzle {a|b} " * 600)
    assert "1 prompt longer than" in found(check(place, rows), "long_prompts").message


def test_real_pairs_are_missed_only_where_they_are_asked_for(place: Path) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    assert found(check(place, rows, objective={"real_ratio": 0.2}), "no_real_pairs")
    rows[0] = dataclasses.replace(rows[0], source="real")
    assert "no_real_pairs" not in codes(check(place, rows, objective={"real_ratio": 0.2}))


# --------------------------------------------------------------------------- settings


def test_settings_that_the_objective_does_not_read_are_named(place: Path) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    sections = {"captions": {"shuffle": True}, "objective": {"preservation": 0.5}, "data": {"mask": "alpha"}}
    warning = found(check(place, rows, **sections), "unread_options")
    assert all(path in warning.message for path in ("captions.shuffle", "objective.preservation", "data.mask"))
    plain = preflight.check(config_of(place, {"objective": {"pairs": "x", "beta": 100.0}}), CARD_24)
    assert found(plain, "unread_options").message.endswith("does not read objective.pairs, objective.beta.")


@pytest.mark.parametrize(("beta", "code"), [(100.0, "beta_low"), (2000.0, ""), (50_000.0, "beta_high")])
def test_a_beta_outside_what_was_published_is_told_for_real_models(place: Path, beta: float, code: str) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    told = {"beta_low", "beta_high"} & set(codes(check(place, rows, objective={"beta": beta})))
    assert told == ({code} if code else set())
    sandbox = check(
        place, rows, LAPTOP, objective={"beta": beta}, model={"base": "sandbox"}, memory={"quantize": "none"}
    )
    assert not {"beta_low", "beta_high", "pair_rate"} & set(codes(sandbox))


def test_a_learning_rate_of_plain_training_is_too_high_for_pairs(place: Path) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    warning = found(check(place, rows, optimizer={"learning_rate": 1e-4}), "pair_rate")
    assert warning.fix and warning.fix.values == {"optimizer.learning_rate": "auto"}
    assert "pair_rate" not in codes(check(place, rows))


def test_a_lora_to_build_on_must_be_there(place: Path) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    report = check(place, rows, objective={"sft_lora": str(place / "gone.safetensors")}, memory={"quantize": "none"})
    assert found(report, "no_sft_lora").level == "problem"


# --------------------------------------------------------------------------- plan


def forecast(place: Path, machine: Any = CARD_24, **objective: Any) -> plan.Plan:
    values = {"objective": objective, "schedule": {"max_steps": 100, "batch_size": 2}}
    return plan.forecast(config_of(place, values), machine, 100, batches=10)


def test_a_step_of_pairs_takes_longer_than_one_of_as_many_pictures(place: Path) -> None:
    """FLUX with checkpointing: 6 passes a picture, and 2 of the reference; a pair is two pictures."""
    plain, pairs = forecast(place), forecast(place, kind="dpo")
    fixed = plan.FIXED_STEP_S["cuda"] + plan.LAYER_STEP_S["cuda"] * 57
    assert (pairs.seconds_per_step - fixed) / (plain.seconds_per_step - fixed) == pytest.approx(2 * 8 / 6)
    kto = forecast(place, kind="dpo", preference_loss="kto")
    assert (kto.seconds_per_step - fixed) / (plain.seconds_per_step - fixed) == pytest.approx(8 / 6)


def test_a_pair_needs_the_memory_of_two_pictures(place: Path) -> None:
    two_pairs = config_of(place, {"objective": {"kind": "dpo"}, "schedule": {"batch_size": 2}})
    four = config_of(place, {"schedule": {"batch_size": 4}})
    needed = {plan.forecast(one, CARD_24, 100).memory_gib for one in (two_pairs, four)}
    assert len(needed) == 1
    assert forecast(place, kind="dpo", preference_loss="kto").memory_gib == forecast(place).memory_gib


# --------------------------------------------------------------------------- the app


def test_the_app_reads_pairs_in_the_background_and_sees_what_changes(place: Path) -> None:
    rows = draw_pairs(place / "set", 3, held_out=1)
    pairs, index = write(place / "set", rows), place / "index"
    scans = Scans()
    with pytest.raises(StillScanning):
        scans.pair_scanner(0.0)(pairs, index, None)
    scan = scans.pair_scanner(10.0)
    first = scan(pairs, index, None)
    assert len(first.pictures) == 6 and scan(pairs, index, None) is first
    Path(rows[0].chosen).unlink()
    assert len(scan(pairs, index, None).pictures) == 5
    write(place / "set", rows[1:])
    assert len(scan(pairs, index, None).rows) == 2
