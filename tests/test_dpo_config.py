"""Settings of preference training: what they become, what excludes what, and what of them is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.ui.texts import texts
from tests.headers import write_header
from tests.machines import CARD_24, resolved
from tests.pair_files import draw_pairs, labelled_set, write
from trainers import catalog, fitting, resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError, DataError
from trainers.parameters import by_path
from trainers.preferences.training_pairs import read_training_pairs


def dpo(**sections: dict[str, Any]) -> dict[str, Any]:
    objective = {"kind": "dpo", **sections.pop("objective", {})}
    return {"model": {"base": "flux-dev"}, "objective": objective, **sections}


# --------------------------------------------------------------------------- what it becomes


def test_the_rate_of_pairs_is_a_tenth_unless_it_is_given() -> None:
    assert resolved(dpo(), CARD_24).optimizer.learning_rate == pytest.approx(1e-5)
    assert resolved(dpo(objective={"kind": "sft"}), CARD_24).optimizer.learning_rate == pytest.approx(1e-4)
    assert resolved(dpo(optimizer={"learning_rate": 3e-4}), CARD_24).optimizer.learning_rate == 3e-4


def test_resolving_twice_changes_nothing() -> None:
    once = resolved(dpo(objective={"pairs": "some/pairs.train.jsonl"}), CARD_24)
    assert Path(once.objective.pairs).is_absolute()
    assert resolve.resolve(once, CARD_24) == once == resolve.validate(resolve.parse_toml(resolve.dump(once)))


def test_a_set_is_found_by_its_name_and_names_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path))
    labelled_set(tmp_path / "preferences/cats", 3)
    config = resolved(dpo(objective={"pairs": "cats"}), CARD_24)
    assert config.objective.pairs == str(tmp_path / "preferences/cats")
    assert config.run.name == "cats-dpo-flux-dev"
    file = resolved(dpo(objective={"pairs": str(tmp_path / "preferences/cats/export/pairs-1.train.jsonl")}), CARD_24)
    assert file.run.name == "cats-dpo-flux-dev"
    assert resolved(dpo(objective={"pairs": "/some/mine.train.jsonl"}), CARD_24).run.name == "mine-dpo-flux-dev"


def test_a_run_is_pinned_to_the_votes_of_its_start(tmp_path: Path) -> None:
    prefset = labelled_set(tmp_path / "cats", 3)
    config = resolved(dpo(objective={"pairs": str(prefset.folder)}), CARD_24)
    pinned = resolve.pinned(config)
    file = Path(pinned.objective.pairs)
    assert file.parent == prefset.export_dir and len(read_training_pairs(file)) == 3
    before = file.read_bytes()
    prefset.votes.undo("vote 0", "ann", tombstone_id="taken back", ts=0.0)
    assert resolve.pinned(pinned) == pinned and file.read_bytes() == before
    assert resolve.pinned(config).objective.pairs != pinned.objective.pairs
    assert resolve.pinned(resolved({"model": {"base": "flux-dev"}}, CARD_24)).objective.pairs == ""


def test_a_set_without_votes_cannot_be_pinned(tmp_path: Path) -> None:
    prefset = labelled_set(tmp_path / "set", 2, decided=False)
    with pytest.raises(DataError, match="no pair that is decided"):
        resolve.pinned(resolved(dpo(objective={"pairs": str(prefset.folder)}), CARD_24))


def lora_of_sdxl(folder: Path) -> Path:
    layer = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    shapes = {f"{layer}.lora_down.weight": (4, 2048), f"{layer}.lora_up.weight": (640, 4), f"{layer}.alpha": (1,)}
    return write_header(folder / "style.safetensors", shapes)


def test_a_lora_of_another_family_cannot_be_built_on(tmp_path: Path) -> None:
    lora = str(lora_of_sdxl(tmp_path))
    with pytest.raises(ConfigError, match=r"objective\.sft_lora: style\.safetensors is a LoRA for Stable Diffusion XL"):
        resolved(dpo(objective={"sft_lora": lora}), CARD_24)
    config = resolved({**dpo(objective={"sft_lora": lora}), "model": {"base": "sdxl"}}, CARD_24)
    assert config.objective.sft_lora == lora


# --------------------------------------------------------------------------- what excludes what

CLASHES: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "dropout": ("adapter.dropout", {"adapter": {"dropout": 0.1}}),
    "detail": ("data.crop", {"data": {"crop": "detail"}}),
    "frozen": ("objective.reference", {"objective": {"reference": "frozen"}}),
    "two loras": ("objective.sft_lora", {"objective": {"sft_lora": "a"}, "adapter": {"resume_from": "b"}}),
    "packed": ("objective.sft_lora", {"objective": {"sft_lora": "a"}, "memory": {"quantize": "fp8"}}),
}


@pytest.mark.parametrize("name", CLASHES)
def test_what_excludes_each_other_is_refused_with_the_remedy(name: str) -> None:
    field, sections = CLASHES[name]
    (fault,) = fitting.unfit(resolve.validate(dpo(**sections)), catalog.FAMILIES["flux"])
    assert fault.field == field and fault.hint
    said = f"{fault.message} {fault.hint}"
    assert texts("zh").reason(said) != said


def test_a_frozen_reference_goes_with_a_lora_that_is_continued() -> None:
    values = dpo(objective={"reference": "frozen"}, adapter={"resume_from": "a.safetensors"})
    assert fitting.unfit(resolve.validate(values), catalog.FAMILIES["flux"]) == []


def test_plain_training_merges_no_lora() -> None:
    values = {"model": {"base": "flux-dev"}, "objective": {"sft_lora": "a.safetensors"}}
    (fault,) = fitting.unfit(resolve.validate(values), catalog.FAMILIES["flux"])
    assert fault.field == "objective.sft_lora" and "adapter.resume_from" in fault.hint


@pytest.mark.parametrize("family", catalog.FAMILIES)
def test_every_family_is_trained_on_pairs_and_resolves(family: str) -> None:
    assert "dpo" in catalog.FAMILIES[family].objectives
    config = resolved({**dpo(), "model": {"base": catalog.FAMILIES[family].default_model}}, CARD_24)
    assert isinstance(config, TrainConfig) and config.objective.kind == "dpo"


# --------------------------------------------------------------------------- what is read


def test_the_table_of_objectives_names_parameters_and_reads_none_for_both() -> None:
    plain, pairs = (set(paths) for _, paths in fitting.OF_OBJECTIVE.values())
    assert plain | pairs | fitting.OF_LOSS.keys() <= by_path().keys() and not plain & pairs
    assert fitting.OF_LOSS.keys() <= pairs
    losses = set(by_path()["objective.preference_loss"].choices)
    assert all(set(of) < losses for of in fitting.OF_LOSS.values())


@pytest.mark.parametrize(
    ("objective", "unread"),
    [
        ({"kind": "sft", "beta": 1.0}, ["objective.beta"]),
        ({"kind": "dpo", "beta": 1.0, "huber_c": 0.5}, ["objective.huber_c"]),
        ({"kind": "dpo", "dmpo_alpha": 0.1}, ["objective.dmpo_alpha"]),
        ({"kind": "dpo", "dmpo_alpha": 0.1, "preference_loss": "dmpo"}, []),
        ({"kind": "dpo", "sdpo_mu": 0.1}, ["objective.sdpo_mu"]),
        ({"kind": "dpo", "sdpo_mu": 0.1, "sdpo": True}, []),
        (
            {"kind": "dpo", "sdpo_mu": 0.1, "sdpo": True, "label_smoothing": 0.1, "preference_loss": "kto"},
            ["objective.label_smoothing", "objective.sdpo", "objective.sdpo_mu"],
        ),
    ],
)
def test_what_is_set_and_not_read_is_known(objective: dict[str, Any], unread: list[str]) -> None:
    assert sorted(fitting.unread(resolve.validate({"objective": objective}))) == unread


def test_pairs_files_keep_their_rows_when_the_set_moves(tmp_path: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 2)
    write(tmp_path / "set", rows)
    (tmp_path / "set").rename(tmp_path / "moved")
    read = read_training_pairs(tmp_path / "moved/export/pairs.train.jsonl")
    assert [row.prompt for row in read] == [row.prompt for row in rows]
    assert all(Path(row.chosen).is_file() and Path(row.rejected).is_file() for row in read)
