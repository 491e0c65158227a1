"""`python launch.py train` on preference pairs, from a labelled set to the file, and what the app starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from app.services.studio import Studio
from tests.machines import LAPTOP
from tests.pair_files import draw_pairs, labelled_set, recoloured, write
from tests.test_services import FAKE
from tests.tiny import MAKERS
from trainers import cli, resolve
from trainers.config import TrainConfig
from trainers.errors import EXIT_DONE, EXIT_USAGE
from trainers.preferences.prefset import Prefset
from trainers.preferences.training_pairs import TrainingPair
from trainers.rundir import RunDir, all_records

STEPS, PAIRS = 3, 6
TOML = """
[model]
base = "sandbox"
[adapter]
rank = 4
[objective]
kind = "dpo"
beta = 100.0
[optimizer]
learning_rate = 1e-3
[schedule]
max_steps = 3
batch_size = 2
[validation]
every_steps = 3
sigmas = 2
[sample]
every_steps = 0
[save]
every_steps = 2
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a labelled set named `scenes`, and a configuration."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    (tmp_path / "dpo.toml").write_text(TOML)
    labelled_set(tmp_path / "preferences/scenes", PAIRS)
    return tmp_path


def train(place: Path, name: str, *wishes: str) -> tuple[int, RunDir]:
    run = RunDir(place / "runs" / name)
    code = cli.main(["train", str(place / "dpo.toml"), f"run.name={name}", *wishes])
    return code, run


def config_of(run: RunDir) -> TrainConfig:
    return resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))


def events(run: RunDir, kind: str) -> list[dict]:
    return [record for record in all_records(run.events) if record["kind"] == kind]


def weights(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_a_labelled_set_becomes_a_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, run = train(place, "first", "objective.pairs=scenes")
    out, err = capsys.readouterr()
    assert code == EXIT_DONE and out.strip().splitlines()[-1] == str(run.path / "first.safetensors")
    assert "5 pairs of 5 prompts to train on, 1 pair held out." in err
    steps, measured = events(run, "step"), events(run, "validation_done")
    assert len(steps) == STEPS and [one["step"] for one in measured] == [0, STEPS]
    # nothing is learned yet at the first step: the margin is zero, and a tie is half right
    assert steps[0]["metrics"]["margin"] == 0.0 and steps[0]["metrics"]["accuracy"] == 0.5
    assert steps[0]["metrics"]["preference_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert {"winner_error", "loser_error", "drift", "gradient_factor"} <= steps[-1]["metrics"].keys()
    assert measured[0]["metrics"]["accuracy"] == 0.5 and measured[-1]["metrics"]["drift"] > 0
    with safe_open(run.path / "first.safetensors", framework="pt") as file:
        facts = file.metadata()
    assert facts["ss_num_train_images"] == str(PAIRS - 1) and "ss_tag_frequency" not in facts


def test_the_stored_config_has_a_file_that_no_vote_changes(place: Path) -> None:
    _, run = train(place, "pinned", "objective.pairs=scenes")
    pinned = Path(config_of(run).objective.pairs)
    assert pinned.is_file() and pinned.parent == place / "preferences/scenes/export"
    before = pinned.read_bytes()
    Prefset(place / "preferences/scenes").votes.undo("vote 0", "ann", tombstone_id="gone", ts=0.0)
    _, again = train(place, "again", f"objective.pairs={pinned}")
    assert pinned.read_bytes() == before
    one, other = weights(run.path / "pinned.safetensors"), weights(again.path / "again.safetensors")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(place: Path) -> None:
    _, run = train(place, "whole", "objective.pairs=scenes")
    before = weights(run.path / "whole.safetensors")
    (run.path / "whole.safetensors").unlink()
    (newest,) = [path for path in run.path.glob("checkpoints/*") if path.name.endswith("3")]
    newest.rename(place / "away")
    assert cli.main(["resume", str(run.path)]) == EXIT_DONE
    after = weights(run.path / "whole.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("loss", ["ipo", "hinge", "dmpo", "kto"])
def test_every_preference_loss_trains_through_the_command(place: Path, loss: str) -> None:
    rows = draw_pairs(place / "set", 4, held_out=1)
    single = TrainingPair("a red circle", "", rows[0].rejected, weight=0.5)
    pairs = write(place / "set", [*rows, single])
    code, run = train(place, loss, f"objective.pairs={pairs}", f"objective.preference_loss={loss}")
    assert code == EXIT_DONE and (run.path / f"{loss}.safetensors").is_file()
    assert all(math.isfinite(one["loss"]) for one in events(run, "step"))
    warned = [one["code"] for one in events(run, "warned")]
    assert ("unpaired" in warned) == (loss != "kto")


def test_a_broken_picture_is_told_and_its_pair_left_out(place: Path) -> None:
    rows = draw_pairs(place / "set", 4, held_out=1)
    Path(rows[0].chosen).unlink()
    code, run = train(place, "broken", f"objective.pairs={write(place / 'set', rows)}")
    assert code == EXIT_DONE
    (warning,) = [one for one in events(run, "warned") if one["code"] == "broken_pairs"]
    assert "0-up.png" in warning["message"]


def test_pictures_of_several_shapes_and_dropped_captions_train(place: Path) -> None:
    rows = draw_pairs(place / "set", 4, held_out=1)
    wide = recoloured(rows[0].chosen, "wide.png", (128, 64), "red")
    rows[0] = TrainingPair(rows[0].prompt, wide, rows[0].rejected, source="real")
    wishes = ("captions.dropout=0.5", "objective.real_ratio=0.5", "data.flip=true", "schedule.gradient_accumulation=2")
    code, _ = train(place, "mixed", f"objective.pairs={write(place / 'set', rows)}", *wishes)
    assert code == EXIT_DONE


@pytest.mark.parametrize("family", MAKERS)
def test_every_family_trains_on_pairs(place: Path, family: str) -> None:
    """The margin is zero at the first step, in flow and in eps models: the reference is the model as it was."""
    base, rows = MAKERS[family](place / "base"), draw_pairs(place / "set", 3, held_out=1)
    wishes = (f"model.base={base}", "data.resolution=64", "data.crop=random", "captions.dropout=0.5")
    code, run = train(place, family, f"objective.pairs={write(place / 'set', rows)}", *wishes)
    assert code == EXIT_DONE and (run.path / f"{family}.safetensors").is_file()
    first, *_, last = events(run, "step")
    assert first["metrics"]["margin"] == 0.0 and last["metrics"]["drift"] > 0


def test_trained_text_encoders_and_texts_that_are_read_as_they_come(place: Path) -> None:
    base, rows = MAKERS["sdxl"](place / "base"), draw_pairs(place / "set", 3, held_out=1)
    wishes = (f"model.base={base}", "data.resolution=64", "adapter.text_encoders=true", "data.cache_text=none")
    code, run = train(place, "words", f"objective.pairs={write(place / 'set', rows)}", *wishes)
    assert code == EXIT_DONE and events(run, "step")[0]["metrics"]["margin"] == 0.0


def test_check_says_what_is_wrong_before_anything_loads(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = str(place / "dpo.toml")
    assert cli.main(["check", toml]) == EXIT_USAGE
    assert "objective.pairs" in capsys.readouterr().err
    assert cli.main(["check", toml, "objective.pairs=scenes", "captions.shuffle=true"]) == EXIT_DONE
    out = capsys.readouterr().out
    assert "to train on" in out and "captions.shuffle" in out
    assert not list((place / "preferences/scenes/export").glob("*")), "a check writes nothing into the set"


# --------------------------------------------------------------------------- the app


@pytest.fixture
def studio(place: Path) -> Iterator[Studio]:
    made = Studio(place, machine=LAPTOP, worker_command=[*FAKE, "ok"])
    yield made
    made.close()


def test_the_app_starts_a_run_on_the_votes_of_now(studio: Studio, place: Path) -> None:
    values = resolve.parse_toml(TOML)
    values["objective"]["pairs"] = str(place / "preferences/scenes")
    preview = studio.preview(values)
    assert not preview.errors and preview.plan and preview.plan.pictures == 2 * PAIRS
    started = studio.start_run(values)
    assert not started.errors and started.run_id
    run = studio.run_dir(started.run_id)
    assert run and Path(config_of(run).objective.pairs).parent == place / "preferences/scenes/export"


def test_the_app_says_why_a_set_cannot_be_trained_on(studio: Studio, place: Path) -> None:
    labelled_set(place / "preferences/new", 2, decided=False)
    values = resolve.parse_toml(TOML)
    values["objective"]["pairs"] = str(place / "preferences/new")
    (error,) = studio.start_run(values).errors
    assert error.path == "objective.pairs" and "no pair that is decided" in error.message
