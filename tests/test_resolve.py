"""From a preset and wishes to the resolved config: nothing is lost, nothing is left open, faults are told early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines import CARD_24, LAPTOP, resolved
from tests.properties import properties
from trainers import resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.parameters import parameters
from trainers.paths import PRESETS

OLD_CARD = Machine(device="cuda", name="an old card", memory_gib=11.0, ram_gib=32.0, cores=8, bf16=False)


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


# --------------------------------------------------------------------------- resolve


@pytest.mark.parametrize("machine", [LAPTOP, CARD_24, OLD_CARD], ids=lambda machine: machine.name)
@pytest.mark.parametrize("base", ["sandbox", "flux-dev", "flux-schnell"])
def test_resolve_is_idempotent_and_leaves_only_what_pictures_and_weights_decide(base: str, machine: Machine) -> None:
    of_the_base = ["model.vae_precision", "model.prediction", "noise.shift", "noise.shift_kind", "noise.zero_snr"]
    of_pairs = ["objective.reference"]
    for text_encoders, more in ((True, []), (False, ["optimizer.text_encoder_learning_rate"])):
        config = resolved({"model": {"base": base}, "adapter": {"text_encoders": text_encoders}}, machine)
        assert resolve.resolve(config, machine) == config
        values = config.model_dump()
        open_ones = [p.path for p in parameters() if values[p.section][p.name] == "auto"]
        assert sorted(open_ones) == sorted([*of_the_base, *of_pairs, *more])


def test_text_encoders_learn_half_as_fast_unless_told() -> None:
    values: dict[str, Any] = {"adapter": {"text_encoders": True}, "optimizer": {"learning_rate": 0.002}}
    assert resolved(values).optimizer.text_encoder_learning_rate == 0.001
    values["optimizer"]["text_encoder_learning_rate"] = 0.5
    assert resolved(values).optimizer.text_encoder_learning_rate == 0.5


def test_resolve_keeps_what_was_given() -> None:
    given_values: dict[str, Any] = {
        "run": {"name": "mine", "output_dir": "/elsewhere", "threads": 3},
        "model": {"base": "flux-dev", "precision": "fp16"},
        "data": {"resolution": 512},
        "adapter": {"rank": 5, "alpha": 2.5, "targets": "context"},
        "noise": {"timestep_sampling": "uniform", "shift": 3.0},
        "optimizer": {"learning_rate": 0.5},
        "memory": {"gradient_checkpointing": "off"},
        "sample": {"steps": 3, "guidance": 7.0},
    }
    values = resolved(given_values, CARD_24).model_dump()
    for section, part in given_values.items():
        for key, value in part.items():
            assert values[section][key] == value, f"{section}.{key}"


@pytest.mark.parametrize(("machine", "precision"), [(LAPTOP, "fp32"), (CARD_24, "bf16"), (OLD_CARD, "fp16")])
def test_precision_is_what_the_machine_does_well(machine: Machine, precision: str) -> None:
    assert resolved({}, machine).model.precision == precision


def test_alpha_follows_a_given_rank() -> None:
    assert resolved({"adapter": {"rank": 24}}).adapter.alpha == 24.0


def test_checkpointing_is_for_large_models() -> None:
    assert resolved({"model": {"base": "flux-dev"}}).memory.gradient_checkpointing == "on"
    assert resolved({"model": {"base": "sandbox"}}).memory.gradient_checkpointing == "off"


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    config = resolved({"data": {"folder": "pictures"}, "model": {"base": "model"}, "run": {"output_dir": "out"}})
    assert config.data.folder == str(tmp_path / "pictures")
    assert config.model.base == str(tmp_path / "model")
    assert config.run.output_dir == str(tmp_path / "out")
    assert config.data.cache_dir == str(data_dir / "cache")


def test_names_and_ids_of_models_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for base in ("sandbox", "black-forest-labs/FLUX.1-dev"):
        assert resolved({"model": {"base": base}}).model.base == base
    assert resolved({"model": {"base": "someone/tuned", "family": "flux"}}).model.base == "someone/tuned"


def test_built_in_data_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolved({"data": {"folder": "presets"}}).data.folder == str(PRESETS)
    (tmp_path / "presets").mkdir()
    assert resolved({"data": {"folder": "presets"}}).data.folder == str(tmp_path / "presets"), "what is here wins"


def test_home_of_nobody_is_a_path_like_any_other() -> None:
    assert resolved({"data": {"folder": "~nobody-here/pictures"}}).data.folder.endswith("~nobody-here/pictures")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"captions": {"trigger": "wuzzle"}}, "wuzzle-sandbox"),
        ({"data": {"folder": "/pictures/my dog"}}, "my-dog-sandbox"),
        ({"captions": {"trigger": "我的 狗"}, "model": {"base": "flux-dev"}}, "我的-狗-flux-dev"),
        ({}, "sandbox"),
    ],
)
def test_automatic_name_says_what_and_on_what(values: dict[str, Any], name: str) -> None:
    assert resolved(values).run.name == name


def test_automatic_name_of_a_long_trigger_is_a_valid_name() -> None:
    name = resolved({"captions": {"trigger": "学" * 500}}).run.name
    assert resolve.validate({"run": {"name": name}}).run.name == name


def test_name_that_exists_gets_the_next_free_number_only_when_it_is_automatic(data_dir: Path) -> None:
    for taken in ("sandbox", "sandbox-2", "mine"):
        (data_dir / "runs" / taken).mkdir(parents=True)
    assert resolved({}).run.name == "sandbox-3"
    assert resolved({"run": {"name": "mine"}}).run.name == "mine"


@pytest.mark.parametrize(
    ("values", "field", "remedy"),
    [
        ({"data": {"resolution": 1000}, "model": {"base": "flux-dev"}}, "data.resolution", "Use 992 or 1008."),
        ({"adapter": {"targets": "everything"}}, "adapter.targets", "Sets: mmdit, all, all+ffs"),
        ({"model": {"family": "flax"}}, "model.family", "Families: flux, sd15, sdxl, sd3."),
        ({"model": {"base": "sandbx"}}, "model.base", "Did you mean sandbox?"),
    ],
)
def test_what_cannot_be_used_is_told_with_a_remedy(values: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(values)
    assert caught.value.field == field and remedy in caught.value.hint


def test_endings_of_layer_names_are_targets_too() -> None:
    assert resolved({"adapter": {"targets": "to_q, to_v,ff.net.2"}}).adapter.targets == "to_q,to_v,ff.net.2"


# --------------------------------------------------------------------------- dump, parse


@pytest.mark.parametrize("base", ["sandbox", "flux-dev"])
def test_dump_and_parse_give_the_same_config(base: str) -> None:
    config = resolved({"model": {"base": base}, "sample": {"prompts": ["a", "b"]}}, CARD_24)
    assert resolve.validate(resolve.parse_toml(resolve.dump(config))) == config


@properties
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)), st.floats(1e-12, 10), st.booleans())
def test_any_text_and_number_survives_the_file(prompts: list[str], rate: float, shuffle: bool) -> None:
    config = resolve.validate(
        {
            "sample": {"prompts": prompts},
            "captions": {"trigger": "".join(prompts), "shuffle": shuffle},
            "optimizer": {"learning_rate": rate},
        }
    )
    assert resolve.validate(resolve.parse_toml(resolve.dump(config))) == config


def test_broken_toml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"not valid TOML.*line 2"):
        resolve.parse_toml("[run]\nname = \n")


def test_toml_with_byte_order_mark_and_crlf_is_read(tmp_path: Path) -> None:
    file = tmp_path / "my preset.toml"
    file.write_bytes(b'\xef\xbb\xbftitle = "T"\r\n[adapter]\r\nrank = 3\r\n')
    assert resolve.validate(resolve.load(str(file))).adapter.rank == 3
    assert resolve.parse_toml("\ufeff[adapter]\nrank = 3")["adapter"] == {"rank": 3}


def test_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    file = tmp_path / "latin.toml"
    file.write_bytes('title = "é"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        resolve.load(str(file))


# --------------------------------------------------------------------------- presets


def test_own_preset_hides_a_built_in_one_of_the_same_name(data_dir: Path) -> None:
    assert resolve.load("sandbox")["model"]["base"] == "sandbox"
    (data_dir / "presets").mkdir(parents=True)
    (data_dir / "presets/sandbox.toml").write_text('title = "Mine"\n[model]\nbase = "flux-dev"\n')
    (data_dir / "presets/mine.toml").write_text("[adapter]\nrank = 2\n")
    assert resolve.load("sandbox") == {"model": {"base": "flux-dev"}, "schema_version": 1}
    assert {"mine", "sandbox", "flux-dev-24gb"} <= set(resolve.preset_names())


@pytest.mark.parametrize(
    ("name", "hint"),
    [("sandbix", "Did you mean sandbox?"), ("zzz", "Presets: "), ("../sandbox", "sandbox"), ("x" * 5000, "Presets: ")],
    ids=["near", "far", "path", "long"],
)
def test_unknown_preset_is_told_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="no preset or file") as caught:
        resolve.load(name)
    assert hint in caught.value.hint


# --------------------------------------------------------------------------- override


@pytest.mark.parametrize(
    ("wish", "section", "key", "value"),
    [
        ("adapter.rank=8", "adapter", "rank", 8),
        ("adapter.rank=auto", "adapter", "rank", "auto"),
        ("adapter.rank = 8 ", "adapter", "rank", 8),
        ("captions.trigger=my word", "captions", "trigger", "my word"),
        ("captions.trigger='my word'", "captions", "trigger", "my word"),
        ("captions.trigger=2024", "captions", "trigger", "2024"),
        ("captions.trigger=true", "captions", "trigger", "true"),
        ("captions.trigger=", "captions", "trigger", ""),
        (r"data.folder=C:\new\pictures", "data", "folder", r"C:\new\pictures"),
        ("data.folder=/a=b", "data", "folder", "/a=b"),
        ('sample.prompts=["a","b"]', "sample", "prompts", ["a", "b"]),
        ("sample.prompts=a red dog, sitting", "sample", "prompts", ["a red dog, sitting"]),
        ("sample.prompts=", "sample", "prompts", []),
        ("optimizer.learning_rate=1e-4", "optimizer", "learning_rate", 1e-4),
        ("captions.shuffle=true", "captions", "shuffle", True),
        ("memory.quantize=fp8", "memory", "quantize", "fp8"),
    ],
)
def test_wish_becomes_a_value(wish: str, section: str, key: str, value: object) -> None:
    merged = resolve.override({}, [wish])
    assert merged == {section: {key: value}}
    assert resolve.validate(merged).model_dump(mode="json")[section][key] == value


def test_later_wish_wins_and_the_given_values_are_not_touched() -> None:
    values = {"adapter": {"rank": 1, "alpha": 2.0}}
    merged = resolve.override(values, ["adapter.rank=8", "adapter.rank=9"])
    assert merged == {"adapter": {"rank": 9, "alpha": 2.0}}
    assert values == {"adapter": {"rank": 1, "alpha": 2.0}}


@pytest.mark.parametrize("wish", ["adapter.rank", "rank=8", "a.b.c=1", "=1", ""])
def test_wish_of_another_form_is_refused(wish: str) -> None:
    with pytest.raises(ConfigError, match=r"not of the form section\.key=value"):
        resolve.override({}, [wish])


def test_unknown_wish_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.rnak: there is no such setting\. Did you mean adapter\.rank\?"):
        resolve.override({}, ["adapter.rnak=8"])
    with pytest.raises(ConfigError, match=r"Did you mean optimizer\.learning_rate\?"):
        resolve.override({}, ["optimizer.unet_lr=1e-4"])


def test_wish_for_a_section_that_is_none_is_told_by_validation() -> None:
    with pytest.raises(ConfigErrors, match="this is a section"):
        resolve.validate(resolve.override({"adapter": 3}, ["adapter.rank=8"]))


# --------------------------------------------------------------------------- migrations


def test_migrations_run_in_order_from_the_stored_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def to_2(values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "steps": ["to 2"]}

    def to_3(values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "steps": [*values.get("steps", []), "to 3"]}

    monkeypatch.setattr(resolve, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(resolve, "MIGRATIONS", {2: to_3, 1: to_2})
    assert resolve.migrate({"schema_version": 1}) == {"schema_version": 3, "steps": ["to 2", "to 3"]}
    assert resolve.migrate({"schema_version": 2}) == {"schema_version": 3, "steps": ["to 3"]}
    assert resolve.migrate({}) == {"schema_version": 3}, "a text without a version is a new one"


def test_every_older_version_has_a_migration() -> None:
    assert sorted(resolve.MIGRATIONS) == list(range(1, resolve.SCHEMA_VERSION))


def test_newer_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"newer than this Atelier knows.*Update Atelier"):
        resolve.migrate({"schema_version": resolve.SCHEMA_VERSION + 1})


@pytest.mark.parametrize("version", ["1", 0, -1, True, 1.5, None])
def test_version_that_is_none_is_refused(version: object) -> None:
    with pytest.raises(ConfigError, match="is not a version"):
        resolve.migrate({"schema_version": version})


def test_changed_copy_is_validated_again() -> None:
    config = resolve.with_changes(TrainConfig(), {"adapter": {"rank": 7}})
    assert config.adapter.rank == 7 and config.adapter.alpha == TrainConfig().adapter.alpha
    with pytest.raises(ConfigErrors):
        resolve.with_changes(config, {"adapter": {"rank": 0}})


@pytest.mark.parametrize(("kind", "layout"), [("lora", "diffusers"), ("dora", "kohya")])
def test_a_file_has_the_layout_that_most_programs_read_in_full(kind: str, layout: str) -> None:
    assert resolved({"model": {"base": "flux-dev"}, "adapter": {"kind": kind}}, CARD_24).save.layout == layout
