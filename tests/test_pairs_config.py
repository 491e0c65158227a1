"""Settings of jobs on preference sets: from words to a resolved configuration, and what is refused."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from tests.readers import reads
from trainers import settings
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.parameters import by_path, parameters
from trainers.paths import PROGRAM
from trainers.preferences import preflight, resolve
from trainers.preferences.config import CONFIGS, AnyConfig, CompareConfig, GenerateConfig, Prompts, ScoreConfig
from trainers.preferences.prefset import Picture, Prefset, image_id_of
from trainers.preferences.prompts import read_prompts, split

LAPTOP = Machine("cpu", "a laptop", 16.0, 16.0, 4, bf16=False)
CARD = Machine("cuda", "a card", 24.0, 64.0, 8, bf16=True)
OLD_CARD = Machine("cuda", "an old card", 8.0, 16.0, 4, bf16=False)
NEEDED: dict[str, list[str]] = {
    "generate": ["set.folder=dogs", "texts=['a dog']"],
    "score": ["set.folder=dogs", "names=['sandbox']"],
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def made(kind: Any, *wishes: str, machine: Machine = LAPTOP) -> AnyConfig:
    values = resolve.override(CONFIGS[kind], {}, [*NEEDED[kind], *wishes])
    config: AnyConfig = settings.validate(values, CONFIGS[kind])
    return resolve.resolve(config, machine)


def value(config: AnyConfig, path: str) -> object:
    section, key = path.split(".")
    return getattr(getattr(config, section), key)


@pytest.mark.parametrize("machine", [LAPTOP, CARD, OLD_CARD], ids=lambda machine: machine.name)
@pytest.mark.parametrize("kind", NEEDED)
def test_resolving_leaves_no_auto_and_is_idempotent(kind: str, machine: Machine) -> None:
    config = made(kind, machine=machine)
    left = {path for path in by_path(type(config)) if value(config, path) == "auto"}
    assert left <= {"model.vae_precision", "model.prediction"}, "the base's own files decide these"
    stored = resolve.load(settings.dump(config))
    assert stored == config == resolve.resolve(stored, machine)


@pytest.mark.parametrize("wish", ["set.folder=dogs", "set.folder = dogs "])
def test_a_name_is_a_set_of_the_data_folder(data: Path, wish: str) -> None:
    assert value(made("generate", wish), "set.folder") == str(data / "preferences" / "dogs")


def test_a_path_is_a_path_and_so_is_a_set_that_lies_here(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve.set_folder("sub/dogs") == tmp_path / "sub" / "dogs" and resolve.set_folder(".") == tmp_path
    Prefset.create(tmp_path / "dogs")
    assert resolve.set_folder("dogs") == tmp_path / "dogs"
    assert resolve.set_folder("cats") == data / "preferences" / "cats"


@pytest.mark.parametrize(
    ("kind", "wish", "path", "expected"),
    [
        ("generate", "per_prompt=7", "pictures.per_prompt", 7),
        ("generate", "num_samples=7", "pictures.per_prompt", 7),  # as other tools call it
        ("generate", "strength=0.5", "adapter.strength", 0.5),
        ("score", "batch_size=3", "scorers.batch_size", 3),
        ("score", "again=true", "scorers.again", True),
        ("score", "names=['sandbox','sandbox:higher','sandbox']", "scorers.names", ("sandbox", "sandbox:higher")),
    ],
)
def test_a_key_of_one_section_needs_no_section(kind: str, wish: str, path: str, expected: object) -> None:
    assert value(made(kind, wish), path) == expected


@pytest.mark.parametrize(
    ("kind", "wish", "field"),
    [
        ("generate", "per_prompt=0", "pictures.per_prompt"),
        ("generate", "pictures.width=100", "pictures.width"),
        ("generate", "model.base=nonsense.safetensors", "model.base"),
        ("generate", "model.guidance=3.5", "model.guidance"),
        ("generate", "model.clip_skip=2", "model.clip_skip"),
        ("generate", "prompts.negative=blurred", "prompts.negative"),
        ("generate", "adapter.file=none.safetensors", "adapter.file"),
        ("generate", "adapter.strength=9", "adapter.strength"),
        ("generate", "set.folder=", "set.folder"),
        ("generate", "nonsense=1", "nonsense"),
        ("generate", "folder=x", "folder"),
        ("score", "scorers.names=[]", "scorers.names"),
        ("score", "scorers.names=['beauty']", "scorers.names"),
        ("score", "scorers.names=['sandbox:sideways']", "scorers.names"),
        ("score", "scorers.names=['clip:higher']", "scorers.names"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_field(kind: str, wish: str, field: str) -> None:
    with pytest.raises((ConfigError, ConfigErrors)) as caught:
        made(kind, wish)
    errors = caught.value.errors if isinstance(caught.value, ConfigErrors) else [caught.value]
    assert [error.field for error in errors] == [field] and errors[0].hint


def test_a_stored_job_of_another_kind_or_version_is_refused() -> None:
    text = settings.dump(made("score"))
    for changed, part in (
        (text.replace('kind = "score"', 'kind = "caption"'), "is no job on preferences"),
        (text.replace("schema_version = 1", "schema_version = 2"), "2 is not known"),
    ):
        with pytest.raises(ConfigError, match=part):
            resolve.load(changed)


@pytest.mark.parametrize("config", [GenerateConfig, ScoreConfig, CompareConfig], ids=lambda config: config.__name__)
def test_every_setting_has_a_reader(config: Any) -> None:
    read: set[str] = set()
    for file in (PROGRAM / "trainers/preferences").rglob("*.py"):
        if file.name not in ("config.py", "resolve.py"):
            read |= set(reads(ast.parse(file.read_text(encoding="utf-8")), config))
    told = {"run.name", "run.output_dir"}  # the folder of the job, which `resolve` makes of them
    of_model = {path for path in by_path(config) if path.startswith("model.")}  # handed on as a whole
    assert sorted(set(by_path(config)) - read - told - of_model) == []


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_setting_is_described(config: Any) -> None:
    assert all(one.help.endswith((".", ")")) for one in parameters(config))


# --------------------------------------------------------------------------- prompts


def test_prompts_come_from_file_captions_and_hand_each_once(tmp_path: Path) -> None:
    file, folder = tmp_path / "prompts.txt", tmp_path / "dogs"
    file.write_text("a dog\n\n  a cat \n", encoding="utf-8-sig")
    folder.mkdir()
    for name, caption in (("1", "a cow\na second line"), ("2", "a cat"), ("3", "")):
        (folder / f"{name}.png").write_bytes(PNG)
        (folder / f"{name}.txt").write_text(caption)
    asked = Prompts(file=str(file), folder=str(folder), texts=("a bird", "a dog", " "))
    assert read_prompts(asked) == ["a dog", "a cat", "a cow", "a bird"]
    assert read_prompts(asked.model_copy(update={"limit": 2})) == ["a dog", "a cat"]


PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)


def test_prompts_of_several_lines_stand_between_lines_of_dashes() -> None:
    assert split("a dog\nin the rain\n---\n\na cat\n ---\n") == ["a dog in the rain", "a cat"]
    assert split("a dog\na -- cat\n") == ["a dog", "a -- cat"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "prompts.texts"),
        ({"file": "none.txt"}, "prompts.file"),
        ({"file": "empty.txt"}, "prompts.file"),
        ({"file": "latin.txt"}, "prompts.file"),
        ({"folder": "none"}, "prompts.folder"),
        ({"folder": "bare"}, "prompts.folder"),
    ],
)
def test_prompts_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], field: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "latin.txt").write_bytes("ein Männchen".encode("latin-1"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError) as caught:
        read_prompts(Prompts(**asked))
    assert caught.value.field == field and caught.value.hint


# --------------------------------------------------------------------------- before a job


def test_the_forecast_counts_what_would_be_drawn() -> None:
    config = made("generate", "texts=['a','b','c']", "per_prompt=5")
    forecast = preflight.check(config, LAPTOP)
    assert (forecast.prompts, forecast.pictures) == (3, 15)
    assert forecast.sentence() == "15 pictures of 3 prompts, 0.01 GB at most"


@pytest.mark.parametrize(
    ("kind", "wish", "field", "part"),
    [
        ("generate", "set.folder=./others", "set.folder", "holds other things"),
        ("generate", "set.folder=./damaged", "set.folder", "is damaged"),
        ("generate", "set.folder=./newer", "set.folder", "of schema 'prefset.v9'"),
        ("generate", "prompts.file=none.txt", "prompts.file", "cannot be read"),
        ("generate", "per_prompt=900000000", "set.folder", "GB free"),
        ("score", "set.folder=./nowhere", "set.folder", "holds no preference set"),
        ("score", "set.folder=./bare", "set.folder", "has no pictures yet"),
        ("score", "names=['hpsv2.1']", "scorers.names", "downloads are switched off"),
        ("score", "scorers.weights=['nonsense=1']", "scorers.weights", "names no part"),
    ],
)
def test_what_would_end_a_job_is_known_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, wish: str, field: str, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, text in (("others", ""), ("damaged", "{"), ("newer", '{"schema": "prefset.v9"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("set.json" if text else "notes.txt")).write_text(text)
    Prefset.create(tmp_path / "bare")
    wishes = [wish]
    if kind == "score" and "set.folder" not in wish:
        full = Prefset.create(tmp_path / "full")
        add_picture(full)
        wishes.append("set.folder=./full")
    with pytest.raises(ConfigError, match=part) as caught:
        preflight.check(made(kind, *wishes), LAPTOP)
    assert caught.value.field == field and caught.value.hint


def add_picture(prefset: Prefset) -> None:
    (prompt,) = prefset.add_prompts([("a dog", "")])
    (prefset.images_dir / "a.png").write_bytes(PNG)
    prefset.add_pictures([Picture(image_id_of(PNG), prompt.prompt_id, "images/a.png", 1, 1)])
