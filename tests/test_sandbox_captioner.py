"""The sandbox captioner sees what it describes: measured on fresh scenes, against controls that must fail."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from captioners.base import Request, Runtime, StopAskedError
from captioners.config import CaptionConfig, Generate
from captioners.sandbox import PROMPT, build, combination, combinations, fresh_scenes, held_out, quality, wear
from captioners.sandbox.captioner import SandboxCaptioner, load
from trainers.errors import AtelierError
from trainers.paths import ASSETS
from trainers.sandbox import scenes

COUNT = 200
SWAPPED = {"red": "blue", "blue": "red", "yellow": "cyan", "cyan": "yellow"}  # red and blue of each pixel exchanged


def open_with(
    temperature: float = 0.0, max_tokens: int = 32, folder: Path = quality.FOLDER, **more: object
) -> SandboxCaptioner:
    drawing = Generate(temperature=temperature, top_p=1.0, top_k=0, beams=1, max_tokens=max_tokens)
    runtime = Runtime(torch.device("cpu"), torch.float32, **more)  # type: ignore[arg-type]
    return load(folder, CaptionConfig(generate=drawing), runtime)


@pytest.fixture(scope="module")
def captioner() -> SandboxCaptioner:
    return open_with()


@pytest.fixture(scope="module")
def measured(captioner: SandboxCaptioner) -> Iterator[dict[str, float]]:
    found = quality.measure(captioner, COUNT)
    print(json.dumps(found, indent=1))
    yield found


@pytest.fixture(scope="module")
def shown() -> list[scenes.Scene]:
    return fresh_scenes(12, np.random.default_rng(1))


@pytest.fixture(scope="module")
def requests(shown: list[scenes.Scene]) -> list[Request]:
    """Pictures of several sizes, a seed for each."""
    rng = np.random.default_rng(2)
    return [Request(wear(scenes.draw(scene), rng), PROMPT, seed) for seed, scene in enumerate(shown)]


# --------------------------------------------------------------------------- what it sees


def test_captions_of_fresh_pictures_are_exact(measured: dict[str, float]) -> None:
    assert measured["pictures"] == COUNT
    assert measured["exact"] >= 95, measured
    assert measured["exact_worn"] >= 95, measured


def test_combinations_that_were_never_shown_are_put_together(measured: dict[str, float]) -> None:
    assert measured["exact_new_combinations"] >= 90, measured


def test_captions_do_not_fit_another_picture(measured: dict[str, float]) -> None:
    """Chance is the share of pairs of scenes with the same caption, about 1 in 240."""
    assert measured["chance_of_that"] <= 1
    assert measured["exact_against_another_picture"] <= 3, measured


def test_words_alone_give_nothing(measured: dict[str, float]) -> None:
    assert measured["exact_of_blank_pictures"] <= 3, measured


def test_caption_follows_the_tokens_of_the_picture(captioner: SandboxCaptioner, shown: list[scenes.Scene]) -> None:
    """With the features of the pictures exchanged within the batch, each row describes the other picture."""
    requests = [Request(scenes.draw(scene), PROMPT) for scene in shown]
    projector = captioner._model.model.multi_modal_projector
    hook = projector.register_forward_hook(lambda _module, _given, features: features.flip(0))
    exchanged = [result.text for result in captioner.caption(requests)]
    hook.remove()
    assert exchanged == [result.text for result in captioner.caption(requests)][::-1]
    assert quality.share(exchanged, [scenes.caption(scene) for scene in shown[::-1]]) >= 90


def test_red_and_blue_exchanged_are_described_so(captioner: SandboxCaptioner) -> None:
    drawn = [scene for scene in fresh_scenes(COUNT, np.random.default_rng(3)) if scene.colour in SWAPPED]
    pictures = [Image.merge("RGB", scenes.draw(scene).split()[::-1]) for scene in drawn]
    said = quality.captions(captioner, pictures)
    assert quality.share(said, [scenes.caption(scene) for scene in drawn]) == 0
    colours = [text.split()[1] for text in said]
    assert quality.share(colours, [SWAPPED[scene.colour] for scene in drawn]) >= 90


def test_the_pictures_of_the_default_run_get_their_own_captions(captioner: SandboxCaptioner) -> None:
    files = sorted((ASSETS / "samples").glob("*.png"))
    said = quality.captions(captioner, [Image.open(file).convert("RGB") for file in files])
    assert len(files) == 12
    assert said == [file.with_suffix(".txt").read_text(encoding="utf-8").strip() for file in files]


# --------------------------------------------------------------------------- as a captioner


@pytest.mark.parametrize("temperature", [0.0, 4.0])
def test_a_picture_gets_the_same_caption_in_any_batch(temperature: float, requests: list[Request]) -> None:
    captioner = open_with(temperature)
    together = captioner.caption(requests)
    assert together == [captioner.caption([request])[0] for request in requests]
    assert len({result.text for result in together}) > 1


def test_a_seed_draws_the_same_and_another_seed_something_else(requests: list[Request]) -> None:
    captioner, picture = open_with(4.0), requests[0].image
    texts = [result.text for result in captioner.caption([Request(picture, PROMPT, seed) for seed in (5, 5, 6, 7)])]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_neither_prompt_nor_special_tokens_are_in_a_caption(
    captioner: SandboxCaptioner, requests: list[Request]
) -> None:
    for result in captioner.caption(requests):
        assert result.text == result.text.strip()
        assert not any(part in result.text for part in (PROMPT, "<", ">"))
        assert (result.fault, result.truncated) == ("", False)


def test_a_caption_that_was_cut_off_says_so(requests: list[Request]) -> None:
    (result,) = open_with(max_tokens=3).caption(requests[:1])
    assert result.truncated
    assert len(result.text.split()) == 3


def test_stopping_takes_one_token(requests: list[Request]) -> None:
    asked = []
    captioner = open_with(stop_asked=lambda: bool(asked.append(1)) or len(asked) >= 2)
    with pytest.raises(StopAskedError):
        captioner.caption(requests)
    assert len(asked) == 3  # after the first token, after the second, and at the end


def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(quality.FOLDER, tmp_path / "captioner")
    weights = load_file(folder / "model.safetensors")
    del weights[next(name for name in weights if name.endswith("multi_modal_projector.linear_1.weight"))]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(AtelierError, match="linear_1"):
        open_with(folder=folder)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtelierError, match=r"config\.json"):
        open_with(folder=tmp_path)


def test_a_captioner_that_is_dropped_frees_its_model() -> None:
    captioner = open_with()
    model = weakref.ref(captioner._model)
    del captioner
    gc.collect()
    assert model() is None


# --------------------------------------------------------------------------- the recipe


def test_shipped_files_are_small_and_those_of_the_recipe(tmp_path: Path) -> None:
    assert sum(file.stat().st_size for file in quality.FOLDER.iterdir()) <= 4_000_000
    build.make_processor().save_pretrained(tmp_path)
    made = sorted(file.name for file in tmp_path.iterdir())
    assert {"tokenizer.json", "processor_config.json", "chat_template.jinja"} <= set(made)
    for name in made:
        assert (tmp_path / name).read_text("utf-8") == (quality.FOLDER / name).read_text("utf-8"), name


def test_one_in_nine_combinations_is_held_out() -> None:
    assert len(combinations()) == 270
    assert len(held_out()) == 30
    rng = np.random.default_rng(0)
    assert not held_out() & {combination(scene) for scene in fresh_scenes(500, rng)}
    assert held_out() >= {combination(scene) for scene in fresh_scenes(100, rng, new=True)}


def test_only_the_caption_is_learned() -> None:
    processor = build.make_processor()
    batch = build.training_batch(processor, step=1, batch=4)
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        learned = processor.tokenizer.decode(labels[labels != build.IGNORED])
        assert learned.startswith("a ") and learned.endswith(" background</s>")
        assert processor.tokenizer.decode(ids).endswith(f"{PROMPT}<answer>{learned}")


def test_each_word_is_one_token_and_other_texts_come_back() -> None:
    tokenizer = build.make_processor().tokenizer
    text = "a red wuzzle on the left, white background"
    assert len(tokenizer.tokenize(text)) == len(text.split()) + 1  # the comma
    for other in (text, "Übung 7: wuzzles?", PROMPT):
        assert tokenizer.decode(tokenizer(other)["input_ids"]) == other


def test_training_is_repeatable_and_goes_on_where_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(build, "BATCH", 4)
    _, whole = build.train(build.STEPS, stop_after=2)
    _, first = build.train(build.STEPS, tmp_path / "captioner.pt", stop_after=1)
    _, second = build.train(build.STEPS, tmp_path / "captioner.pt", stop_after=2)
    assert whole == first + second
    assert whole[0] > 4  # of an untrained model: about the logarithm of 368 tokens
