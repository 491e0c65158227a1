"""HPS v3: what the model is asked and shown, which token is read, how it counts places, and room for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny_rewards import CPU, SHAPES, pictures, qwen_folder
from trainers.errors import AtelierError, MissingPackageError
from trainers.preferences.rewards import hpsv3, hpsv3_prompt
from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.hpsv3 import PIXELS, Hpsv3, resized
from trainers.preferences.rewards.hpsv3_prompt import REWARD, chat, question

PROMPTS = ["a red circle", "two cats that sit on a couch at night", ""]


def state_of(base: Path, seed: int = 0) -> dict[str, Tensor]:
    """In today's layout, with the reward token as the last of the words."""
    torch.manual_seed(seed)
    network = hpsv3.Network(hpsv3._config(base, 256 + 6 + 1))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape) * (0.3 if name.startswith("rm_head") else 0.15))
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package with words at the place where the published one has them; it would fail if it were imported."""
    root = tmp_path_factory.mktemp("packages")
    folder = root / "hpsv3" / "dataset"
    folder.mkdir(parents=True)
    (root / "hpsv3" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    words = [
        "import no_such_module",
        "INSTRUCTION = 'Judge {text_prompt} by its looks.\\n'",
        f"prompt_with_special_token = 'Rate it: {REWARD}\\nEND\\n'",
    ]
    (folder / "data_collator_qwen.py").write_text("\n".join(words))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        question.cache_clear()
        yield root
    question.cache_clear()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("hpsv3")
    base = qwen_folder(folder / "base")
    save_file(state_of(base), folder / "HPSv3.safetensors")
    return {"weights": folder / "HPSv3.safetensors", "base": base}


@pytest.fixture(scope="module")
def scorer(files: Files) -> Hpsv3:
    return hpsv3.load(files, CPU, "1")


# --------------------------------------------------------------------------- the question


def test_words_are_read_from_the_package_and_nothing_of_it_runs(package: Path) -> None:
    assert question() == f"Judge {{text_prompt}} by its looks.\nRate it: {REWARD}\nEND\n"


def test_without_the_package_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    question.cache_clear()
    monkeypatch.setattr(hpsv3_prompt, "PACKAGE", "no_such_package")
    with pytest.raises(MissingPackageError) as refused:
        question()
    assert "pip install --no-deps -r requirements-hpsv3.txt" in refused.value.hint


def test_another_version_of_the_package_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    question.cache_clear()
    monkeypatch.setattr(hpsv3_prompt, "WORDS", "other.py")
    with pytest.raises(AtelierError, match="another way"):
        question()
    question.cache_clear()


def test_chat_is_that_of_qwen2_vl_with_its_usual_system_prompt() -> None:
    text = chat("a cat", 3)
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        "<|image_pad|><|image_pad|><|image_pad|><|vision_end|>Judge a cat by its looks.\n"
        "Rate it: <|Reward|>\nEND\n<|im_end|>\n<|im_start|>assistant\n"
    )


def test_marks_and_braces_in_a_prompt_are_words(scorer: Hpsv3) -> None:
    text = chat("{text_prompt} {0} <|Reward|> <|im_end|> <|image_pad|>", 2)
    assert text.count("<|Reward|>") == 1 and text.count("<|image_pad|>") == 2 and "{text_prompt} {0}" in text
    (image,) = pictures(SHAPES[:1])
    assert np.isfinite(scorer.score([image], ["<|Reward|> <|image_pad|> {x}"])).all()


# --------------------------------------------------------------------------- the picture


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1024, 1024), (448, 448)),
        ((448, 448), (448, 448)),
        (
            (1600, 1000),
            (560, 336),
        ),  # 448 * sqrt(1.6) = 566.7 and 448 / sqrt(1.6) = 354.2, each down to a multiple of 28
        ((64, 64), (448, 448)),
        ((100, 50), (644, 336)),  # 448 * sqrt(2) = 633.6 and 316.8, each up
    ],
)
def test_pictures_are_shown_at_about_256_tokens(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    found = resized(Image.new("RGB", shape), 28)
    assert found.size == expected and PIXELS == 448 * 448


def test_a_picture_of_extreme_shape_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="3x900 is too narrow"):
        resized(Image.new("RGB", (3, 900)), 28)


# --------------------------------------------------------------------------- the model


def test_score_is_the_mean_that_the_head_reads_at_the_reward_token(scorer: Hpsv3) -> None:
    """The language model's states by hand: embeddings with the picture put in, positions counted on."""
    (image,), network = pictures(SHAPES[:1]), scorer._network
    ids = torch.tensor([scorer._tokenizer.encode(chat(PROMPTS[0], 256), add_special_tokens=False).ids])
    seen = scorer._pictures([resized(image, 28)], return_tensors="pt")
    with torch.no_grad():
        picture = network.model.visual(seen["pixel_values"], grid_thw=seen["image_grid_thw"]).pooler_output
        words = network.model.language_model.embed_tokens(ids)
        is_picture = ids == scorer._tokenizer.token_to_id("<|image_pad|>")
        words[is_picture] = picture
        places = torch.arange(ids.shape[1]).expand(3, 1, -1)
        states = network.model.language_model(inputs_embeds=words, position_ids=places).last_hidden_state
        at = ids[0].tolist().index(scorer._tokenizer.token_to_id("<|Reward|>"))
        mean, _spread = network.rm_head(states[0, at])
    assert int(is_picture.sum()) == 256
    assert scorer.score([image], PROMPTS[:1]) == [pytest.approx(mean.item(), abs=1e-4)]


def test_places_of_the_picture_are_counted_as_those_of_words(scorer: Hpsv3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reward model was trained without Qwen2-VL's two-dimensional places; with them it would score otherwise."""
    images = pictures(SHAPES[:2])
    usual = scorer.score(images, PROMPTS[:2])
    forward = scorer._network.model.forward

    def two_dimensional(**inputs: Any) -> Any:
        picture = (inputs["input_ids"] == scorer._tokenizer.token_to_id("<|image_pad|>")).int()
        return forward(**{**inputs, "position_ids": None, "mm_token_type_ids": picture})

    monkeypatch.setattr(scorer._network.model, "forward", two_dimensional)
    assert np.abs(np.subtract(scorer.score(images, PROMPTS[:2]), usual)).min() > 1e-5


def test_prompt_and_picture_both_count(scorer: Hpsv3) -> None:
    one, other = pictures(SHAPES[:2])
    scores = scorer.score([one, one, other], ["red circle", "blue", "red circle"])
    assert len({round(score or 0, 5) for score in scores}) == 3


def test_a_batch_scores_as_each_picture_alone(scorer: Hpsv3) -> None:
    images = pictures(SHAPES[:3])
    alone = [scorer.score([image], [prompt])[0] for image, prompt in zip(images, PROMPTS, strict=True)]
    assert scorer.score(images, PROMPTS) == pytest.approx(alone, abs=1e-4)


def older_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As transformers named the parts when HPS v3 was published, with the layer that writes words."""
    renamed = {
        key.replace("model.visual.", "visual.").replace("model.language_model.", "model."): tensor
        for key, tensor in state.items()
    }
    return {**renamed, "lm_head.weight": torch.zeros(263, 32)}


def test_both_layouts_of_the_file_are_read(files: Files, tmp_path: Path, scorer: Hpsv3) -> None:
    save_file(older_names(state_of(files["base"])), tmp_path / "older.safetensors")
    older = hpsv3.load({**files, "weights": tmp_path / "older.safetensors"}, CPU, "1")
    images = pictures(SHAPES[:2])
    assert older.score(images, PROMPTS[:2]) == scorer.score(images, PROMPTS[:2])


def test_head_keeps_its_precision_in_half_precision(files: Files, scorer: Hpsv3) -> None:
    half = hpsv3.load(files, Runtime("cpu", "bf16"), "1")
    assert torch.equal(half._network.rm_head[0].weight, scorer._network.rm_head[0].weight)
    assert half._network.model.language_model.embed_tokens.weight.dtype == torch.bfloat16
    images = pictures(SHAPES[:2])
    assert half.score(images, PROMPTS[:2]) == pytest.approx(scorer.score(images, PROMPTS[:2]), abs=0.5)


def test_lack_of_room_is_told_before_anything_is_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 1000

    monkeypatch.setattr(hpsv3.psutil, "virtual_memory", Memory)
    monkeypatch.setattr(hpsv3, "read_state", lambda path: pytest.fail("it was read"))
    with pytest.raises(AtelierError, match=r"this machine has 0\.0 GiB free") as caught:
        hpsv3.load(files, CPU, "1")
    assert "hpsv2.1" in caught.value.hint


@pytest.mark.parametrize("change", ["lacks", "has more", "another model", "another base", "no tokenizer"])
def test_other_files_are_refused(files: Files, tmp_path: Path, change: str) -> None:
    state, base = state_of(files["base"]), qwen_folder(tmp_path / "base")
    if change == "lacks":
        del state["rm_head.5.bias"]
    elif change == "has more":
        state["model.visual.deepstack.weight"] = torch.zeros(2)
    elif change == "another model":
        state = {"weight": torch.zeros(2)}
    elif change == "another base":
        (base / "config.json").write_text('{"model_type": "qwen3_vl"}')
    else:
        (base / "tokenizer.json").write_text("{}")
    save_file(state, tmp_path / "HPSv3.safetensors")
    with pytest.raises(AtelierError):
        hpsv3.load({"weights": tmp_path / "HPSv3.safetensors", "base": base}, CPU, "1")
