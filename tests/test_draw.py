"""Pictures from an adapter file: strengths, what stays in memory, and the command `sample`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops

from tests.lora_files import write_lora
from tests.tiny import MAKERS
from tests.training import CPU
from trainers import cli, resolve
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.config import TrainConfig
from trainers.draw import Drawer, DrawRequest
from trainers.errors import ConfigError
from trainers.families import load_family
from trainers.families.base import ModelFamily, Runtime, SampleRequest
from trainers.lora.read import read_lora
from trainers.rundir import RunDir
from trainers.sample_command import parse, sample
from trainers.sheets import GAP, sheet, strength_label

FAMILIES = ("flux", "sd15", "sdxl", "sd3")
ROUNDING = 2  # of 255, between a picture of a batch and the same one alone
REQUEST = DrawRequest("a red square", "blurred", 3, 2, 4.0, 64, 64, 1.0)


@pytest.fixture(scope="module", params=FAMILIES)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    root = tmp_path_factory.mktemp(request.param)
    return config_of(MAKERS[request.param](root / "base"), root)


def config_of(base: Path, root: Path) -> TrainConfig:
    values = {"run": {"name": "dog", "threads": 1, "output_dir": str(root)}, "model": {"base": str(base)}}
    return resolve.resolve(resolve.validate(values | {"data": {"resolution": 64}}), CPU)


def own_family(config: TrainConfig) -> ModelFamily:
    return load_family(config, Runtime(torch.device("cpu"), torch.float32))


def own_picture(family: ModelFamily, request: DrawRequest) -> Image.Image:
    """What the family itself draws, its adapter or none on it."""
    family.load("text")
    prompt, negative = (family.encode_prompt([text]) for text in (request.prompt, request.negative))
    size = {"width": request.width, "height": request.height}
    return family.sample(
        SampleRequest(
            prompt, (request.seed,), steps=request.steps, guidance=request.guidance, negative=negative, **size
        )
    )[0]


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


@pytest.fixture(scope="module")
def drawer(config: TrainConfig) -> Drawer:
    family = own_family(config)
    denoiser = next(name for name in family.skeleton() if not name.startswith("text"))
    return Drawer(config, write_lora(Path(config.run.output_dir) / "lora.safetensors", family, denoiser))


def test_strength_0_is_the_base_bit_for_bit_and_1_the_adapter(config: TrainConfig, drawer: Drawer) -> None:
    family = own_family(config)
    for part in ("denoiser", "vae"):
        family.load(part)
    base = own_picture(family, REQUEST)
    layers = read_lora(Path(config.run.output_dir) / "lora.safetensors", family.skeleton())
    Adapter(family.adapted(), AdapterConfig(), {}, seed=0, like=layers)
    adapted = own_picture(family, REQUEST)
    assert not same(base, adapted)
    assert same(drawer.draw(REQUEST), adapted)
    assert same(drawer.draw(replace(REQUEST, strength=0.0)), base)
    assert same(drawer.draw(REQUEST), adapted), "the strength before leaves nothing behind"


@pytest.mark.parametrize("rank", [2, 3], ids=["same rank", "other rank"])
def test_another_file_draws_as_it_does_alone(
    config: TrainConfig, drawer: Drawer, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same layers it takes their place in the loaded model; others need the base anew."""
    before, family = drawer.draw(REQUEST), own_family(config)
    denoiser = next(name for name in family.skeleton() if not name.startswith("text"))
    first = Path(config.run.output_dir) / "lora.safetensors"
    other = write_lora(first.with_name(f"other-{rank}.safetensors"), family, denoiser, rank=rank, seed=8)
    loaded: list[str] = []
    monkeypatch.setattr(drawer, "say", loaded.append)
    drawer.change(other)
    changed = drawer.draw(replace(REQUEST, strength=0.7))
    assert loaded == ([] if rank == 2 else ["denoiser"])
    assert same(changed, Drawer(config, other).draw(replace(REQUEST, strength=0.7))) and not same(changed, before)
    drawer.change(first)
    assert same(drawer.draw(REQUEST), before)


def test_a_picture_moves_away_from_the_base_with_the_strength(drawer: Drawer) -> None:
    pictures = [drawer.draw(replace(REQUEST, strength=strength)) for strength in (0.0, 0.25, 0.5, 1.0)]
    distances = [
        sum(abs(a - b) for a, b in zip(pictures[0].tobytes(), other.tobytes(), strict=True)) for other in pictures
    ]
    assert distances == sorted(distances) and distances[1] > 0


def test_a_batch_draws_what_each_would_be_alone(drawer: Drawer) -> None:
    requests = [replace(REQUEST, prompt=prompt, seed=seed) for prompt, seed in (("a dog", 3), ("a cat", 4), ("", 5))]
    for together, request in zip(drawer.draw_batch(requests), requests, strict=True):
        alone = drawer.draw(request)
        difference = ImageChops.difference(together, alone).getextrema()
        assert max(high for _, high in difference) <= ROUNDING and not same(alone, drawer.draw(REQUEST))


def test_pictures_of_two_sizes_are_no_batch(drawer: Drawer) -> None:
    with pytest.raises(ValueError, match="one size"):
        drawer.draw_batch([REQUEST, replace(REQUEST, width=128)])


def test_the_base_alone_needs_no_adapter(config: TrainConfig, drawer: Drawer) -> None:
    alone = Drawer(config, None)
    assert same(alone.draw(REQUEST), drawer.draw(replace(REQUEST, strength=0.0)))
    alone.forget()
    assert same(alone.draw(replace(REQUEST, strength=0.5)), alone.draw(REQUEST)), "there is nothing to weaken"


def test_prompts_are_encoded_once(drawer: Drawer, monkeypatch: pytest.MonkeyPatch) -> None:
    drawer.draw(REQUEST)
    monkeypatch.setattr(drawer._family, "encode_prompt", lambda prompts: pytest.fail(f"encoded {prompts} again"))
    drawer.draw(replace(REQUEST, seed=4, strength=0.5))


def test_text_encoders_and_denoiser_take_turns_where_both_do_not_fit(
    config: TrainConfig, drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = drawer.draw(REQUEST)
    monkeypatch.setattr(drawer, "_both_fit", lambda: False)
    loaded: list[str] = []
    monkeypatch.setattr(drawer, "say", loaded.append)
    drawer.draw(replace(REQUEST, prompt="another one"))
    assert loaded == ["text", "denoiser"]
    assert same(drawer.draw(REQUEST), before), "the adapter is on the denoiser that was loaded anew"
    assert loaded == ["text", "denoiser"]


@pytest.mark.parametrize("name", ["sd15", "flux"])
def test_text_encoders_that_the_file_changes_stay_and_draw_so(name: str, tmp_path: Path) -> None:
    config = config_of(MAKERS[name](tmp_path / "base"), tmp_path)
    file = write_lora(tmp_path / "lora.safetensors", own_family(config), "text_encoder")
    drawer = Drawer(config, file)
    with_text, without = drawer.draw(REQUEST), drawer.draw(replace(REQUEST, strength=0.0))
    family = own_family(config)
    for part in ("denoiser", "vae"):
        family.load(part)
    assert same(without, own_picture(family, REQUEST)) and not same(with_text, without)


# ------------------------------------------------------------------ the command


def test_file_of_a_checkpoint_is_drawn_as_its_run_was_set_up(run: RunDir, tmp_path: Path) -> None:
    config = resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))
    file = run.checkpoint(250) / "dog-000250.safetensors"
    file.parent.mkdir(parents=True)
    write_lora(file, own_family(config), "transformer", seed=9)
    early = Image.open(next(sample(file, [f"out={tmp_path / 'early'}"])))
    assert early.size == (64, 64) and not same(early, Image.open(next(sample(run.path, [f"out={tmp_path / 'late'}"]))))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run of a tiny FLUX."""
    config = config_of(MAKERS["flux"](tmp_path / "base"), tmp_path / "runs")
    config = resolve.with_changes(config, {"sample": {"prompts": ["a dog"], "steps": 2}})
    run = RunDir(tmp_path / "runs" / "dog")
    run.create(resolve.dump(config))
    write_lora(run.adapter("dog"), own_family(config), "transformer")
    return run


def test_a_sweep_leaves_a_file_for_each_strength_and_a_sheet(run: RunDir, tmp_path: Path) -> None:
    wishes = ["strength=1,0,0.5", "count=2", f"out={tmp_path / 'out'}"]
    files = list(sample(run.path, wishes))
    assert [file.name for file in files] == [
        *(f"dog-00-{seed}-{strength}.png" for seed in (42, 43) for strength in ("1", "0", "0.5")),
        "dog-00-sheet.png",
    ]
    width, height = Image.open(files[-1]).size
    assert width == 3 * 64 + 4 * GAP and height > 2 * 64


def test_compare_puts_both_in_one_picture(run: RunDir, tmp_path: Path) -> None:
    plain, paired = (next(sample(run.path, [f"compare={one}", f"out={tmp_path / one}"])) for one in ("false", "true"))
    both = Image.open(paired)
    below = both.height - GAP - 64
    right = both.crop((64 + 2 * GAP, below, 128 + 2 * GAP, below + 64))
    assert plain.name == paired.name == "dog-00-42.png"
    assert same(right, Image.open(plain)) and not same(both.crop((GAP, below, GAP + 64, below + 64)), right)


def test_a_file_of_another_program_needs_its_base(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run.adapter("dog").rename(tmp_path / "theirs.safetensors")
    assert cli.main(["sample", str(file)]) == 2
    assert "base: theirs.safetensors does not say which model it is for" in capsys.readouterr().err
    wishes = [f"base={tmp_path / 'base'}", "prompt=a dog", "steps=2", "width=64", "height=64", f"out={tmp_path}"]
    assert cli.main(["sample", str(file), *wishes]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "theirs-00-42.png")


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("strength=strong", "strength: 'strong' cannot be used. Give one number or several"),
        ("strength=nan", "strength: 'nan' cannot be used."),
        ("strength=9", "strength: '9' cannot be used."),
        ("strength=", "strength: '' cannot be used."),
        ("steps=0", "steps: '0' cannot be used."),
        ("width=70", "width: 70 is not a multiple of 16, which the model needs. Use 64."),
        ("compare=perhaps", "compare: 'perhaps' cannot be used. Give true or false."),
        ("sed=1", "sed: there is no such key. Keys: prompt,"),
        ("a red dog", "a red dog: this is not of the form key=value."),
    ],
)
def test_a_wish_that_cannot_be_had_is_one_sentence_with_a_remedy(run: RunDir, wish: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        list(sample(run.path, [wish]))
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def test_what_is_no_adapter_is_refused(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "notes.safetensors").write_bytes(b"notes")
    for path, part in (
        (tmp_path / "none", "there is no file or run"),
        (tmp_path / "notes.safetensors", "is no safetensors file"),
    ):
        with pytest.raises(ConfigError, match=part):
            list(sample(path, []))
    run.adapter("dog").unlink()
    with pytest.raises(ConfigError, match="no adapter file yet"):
        list(sample(run.path, []))


def test_strengths_are_taken_in_the_order_they_are_given() -> None:
    assert parse(["strength=1, 0,-0.5"]).strength == [1.0, 0.0, -0.5] and parse([]).strength == [1.0]


def test_a_sheet_has_a_place_for_each_picture() -> None:
    red, blue = (Image.new("RGB", (100, 50), colour) for colour in ("red", "blue"))
    made = sheet([[("a", red), ("b", blue)], [("c", blue)]])
    assert made.width == 2 * 100 + 3 * GAP
    assert made.getpixel((GAP + 50, made.height - GAP - 25)) == (0, 0, 255)
    assert [strength_label(strength) for strength in (0.0, 0.8, -1.0)] == ["without", "strength 0.8", "strength -1"]
