"""PickScore, CLIP score and LAION's aesthetics: CLIP's preprocessing, and their formulas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.tiny_rewards import CPU, SHAPES, aesthetic_state, clip_folder, pictures
from trainers.errors import AtelierError
from trainers.preferences import scorers
from trainers.preferences.rewards import aesthetic, clip_score, pickscore
from trainers.preferences.rewards.base import Runtime
from trainers.preferences.rewards.clip_models import open_clip_folder, token_ids
from trainers.preferences.rewards.pixels import cropped_to_square, normalised, to_even

COLOURS, THINGS = ("red", "blue", "green", "golden"), ("circle", "cat", "house", "mountain at night")
PROMPTS = ["a red circle", "two CATS on a couch", "", "blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("head") / "sac+logos+ava1-l14-linearMSE.pth"
    torch.save(aesthetic_state(), path)
    return path


def embeddings(folder: Path, images: list[Image.Image], prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """By CLIP's own towers and processor, of unit length."""
    model = CLIPModel.from_pretrained(folder).eval()
    pixels = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})(
        images, return_tensors="pt"
    )["pixel_values"]
    ids = torch.tensor([token_ids(prompt) for prompt in prompts])
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(pixels).pooler_output)
        read = model.text_projection(model.text_model(ids).pooler_output)
    return torch.nn.functional.normalize(seen, dim=-1), torch.nn.functional.normalize(read, dim=-1)


@pytest.mark.parametrize("side", [224, 32])
def test_preprocessing_is_that_of_the_clip_processor(side: int) -> None:
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    for image in pictures([*SHAPES, (501, 333), (333, 501)]):
        expected = processor(image, return_tensors="pt")["pixel_values"][0]
        assert torch.allclose(normalised(cropped_to_square(image, side)), expected, atol=1e-5), image.size


def test_middle_of_torchvision_is_rounded_to_even() -> None:
    """Three columns too many: transformers leaves 1 on the left, torchvision round(1.5) = 2; of one, both none."""
    (image,) = pictures([(35, 32)])
    assert torch.equal(cropped_to_square(image, 32), cropped_to_square(image.crop((1, 0, 33, 32)), 32))
    assert torch.equal(cropped_to_square(image, 32, to_even), cropped_to_square(image.crop((2, 0, 34, 32)), 32))
    assert [to_even(rest) for rest in (0, 1, 2, 3, 5)] == [0, 0, 1, 2, 2]


def test_pickscore_is_the_scaled_cosine(folder: Path) -> None:
    images = pictures(SHAPES[:4])
    seen, read = embeddings(folder, images, PROMPTS)
    expected = CLIPModel.from_pretrained(folder).logit_scale.exp() * (seen * read).sum(-1)
    assert pickscore.load({"clip": folder}, CPU, "1").score(images, PROMPTS) == pytest.approx(
        expected.tolist(), abs=1e-4
    )
    assert np.ptp(expected.tolist()) > 0.5


def test_pickscore_tells_how_likely_each_picture_is_picked() -> None:
    """exp(1) / (exp(1) + exp(0)) = 0.7311; a common offset changes nothing, however large."""
    assert pickscore.probabilities([1.0, 0.0]) == pytest.approx([0.7310586, 0.2689414])
    assert pickscore.probabilities([1001.0, 1000.0]) == pytest.approx([0.7310586, 0.2689414])


def test_clip_score_is_a_percentage_and_never_negative(folder: Path) -> None:
    images, prompts = pictures(SHAPES[:4]) * 4, [f"{colour} {shape}" for colour in COLOURS for shape in THINGS]
    seen, read = embeddings(folder, images, prompts)
    expected = [100 * max(0.0, one) for one in (seen * read).sum(-1).tolist()]
    assert clip_score.load({"clip": folder}, CPU, "1").score(images, prompts) == pytest.approx(expected, abs=1e-3)
    assert 0.0 in expected and max(expected) > 0


def test_aesthetic_score_is_five_linear_layers_on_the_unit_embedding(folder: Path, head: Path) -> None:
    images, state = pictures(SHAPES[:4]), aesthetic_state()
    value, _ = embeddings(folder, images, PROMPTS)
    for place in (0, 2, 4, 6, 7):
        value = value @ state[f"layers.{place}.weight"].T + state[f"layers.{place}.bias"]
    scorer = aesthetic.load({"clip": folder, "head": head}, CPU, "1")
    assert scorer.score(images, PROMPTS) == pytest.approx(value[:, 0].tolist(), abs=1e-4)
    assert scorer.score(images, ["other words"] * 4) == scorer.score(images, PROMPTS), "it reads no prompt"


def test_pretrained_head_of_another_clip_is_refused(folder: Path, tmp_path: Path) -> None:
    torch.save({"layers.0.weight": torch.zeros(3, 4)}, tmp_path / "head.pth")
    with pytest.raises(AtelierError, match="are not those of this scorer"):
        aesthetic.load({"clip": folder, "head": tmp_path / "head.pth"}, CPU, "1")


@pytest.mark.parametrize("name", ["pickscore", "clip", "aesthetic"])
def test_a_batch_scores_as_each_picture_alone(name: str, folder: Path, head: Path) -> None:
    files = {"clip": folder} | ({"head": head} if name == "aesthetic" else {})
    scorer = scorers.open_scorer(name, files, CPU)
    images = pictures(SHAPES[:4])
    alone = [scorer.score([image], [prompt])[0] for image, prompt in zip(images, PROMPTS, strict=True)]
    assert scorer.score(images, PROMPTS) == pytest.approx(alone, abs=1e-4)
    assert scorer.name == name and scorer.version == scorers.version_of(name, files)


def test_half_precision_scores_nearly_the_same(folder: Path) -> None:
    images = pictures(SHAPES[:4])
    whole, half = (clip_score.load({"clip": folder}, Runtime("cpu", one), "1") for one in ("fp32", "bf16"))  # type: ignore[arg-type]
    assert half.score(images, PROMPTS) == pytest.approx(whole.score(images, PROMPTS), abs=3)


def test_lack_of_memory_is_left_to_the_caller(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = clip_score.load({"clip": folder}, CPU, "1")

    def full(**inputs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(scorer._clip._model, "get_image_features", full)
    with pytest.raises(torch.OutOfMemoryError):
        scorer.score(pictures(SHAPES[:1]), ["red"])


@pytest.mark.parametrize("damage", ["no folder", "no weights", "torn", "another model", "fewer layers"])
def test_folders_that_hold_no_clip_are_refused(damage: str, folder: Path, tmp_path: Path) -> None:
    place = clip_folder(tmp_path / "clip")
    settings = json.loads((place / "config.json").read_text())
    if damage == "no folder":
        place = tmp_path / "nowhere"
    elif damage == "no weights":
        (place / "model.safetensors").unlink()
    elif damage == "torn":
        (place / "model.safetensors").write_bytes(b"nothing")
    elif damage == "another model":
        (place / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    else:
        settings["vision_config"]["num_hidden_layers"] = 3
        (place / "config.json").write_text(json.dumps(settings))
    with pytest.raises(AtelierError):
        open_clip_folder(place, CPU)


def test_lists_of_places_that_older_files_hold_are_passed_over(folder: Path, tmp_path: Path) -> None:
    """PickScore and OpenAI's CLIP were saved when transformers wrote them down."""
    place = clip_folder(tmp_path / "clip")
    state = load_file(place / "model.safetensors")
    for tower, length in (("text", 77), ("vision", 17)):
        state[f"{tower}_model.embeddings.position_ids"] = torch.arange(length)[None]
    save_file(state, place / "model.safetensors", metadata={"format": "pt"})
    images = pictures(SHAPES[:2])
    found = pickscore.load({"clip": place}, CPU, "1").score(images, PROMPTS[:2])
    assert found == pickscore.load({"clip": folder}, CPU, "1").score(images, PROMPTS[:2])
