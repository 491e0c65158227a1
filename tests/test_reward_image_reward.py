"""ImageReward: the published network in transformers' classes, to the number; every weight accounted for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm

from tests.tiny_rewards import BERT_WORDS, CPU, SHAPES, bert_vocabulary, image_reward_state, pictures, rounded
from trainers.errors import AtelierError
from trainers.preferences.rewards import image_reward
from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.image_reward import ImageReward
from trainers.preferences.rewards.pixels import cropped_to_square, normalised, to_even

PROMPTS = ["red circle", "Blue", "", "red blue circle " * 30]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("reward")
    torch.save(image_reward_state(), folder / "ImageReward.pt")
    return {"weights": folder / "ImageReward.pt", "tokenizer": bert_vocabulary(folder)}


@pytest.fixture(scope="module")
def scorer(files: Files) -> ImageReward:
    return image_reward.load(files, CPU, "1")


# --------------------------------------------------------------------------- the published network, written out


def linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    return layer_norm(x, (x.shape[-1],), state[f"{name}.weight"], state[f"{name}.bias"], eps)


def heads(x: Tensor) -> Tensor:
    """[L, width] to [heads, L, 64]."""
    return x.reshape(len(x), -1, 64).transpose(0, 1)


def attend(query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None = None) -> Tensor:
    weights = heads(query) @ heads(key).transpose(1, 2) / math.sqrt(64)
    if hidden is not None:
        weights = weights.masked_fill(hidden, -math.inf)
    return (weights.softmax(-1) @ heads(value)).transpose(0, 1).reshape(len(query), -1)


def look(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """BLIP's ViT on one picture [3, H, W]."""
    name = "blip.visual_encoder"
    patches = conv2d(pixels[None], state[f"{name}.patch_embed.proj.weight"], state[f"{name}.patch_embed.proj.bias"], 16)
    x = torch.cat([state[f"{name}.cls_token"][0], patches[0].flatten(1).T]) + state[f"{name}.pos_embed"][0]
    for layer in range(2):
        block = f"{name}.blocks.{layer}"
        query, key, value = linear(state, f"{block}.attn.qkv", norm(state, f"{block}.norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + linear(state, f"{block}.attn.proj", attend(query, key, value))
        inner = gelu(linear(state, f"{block}.mlp.fc1", norm(state, f"{block}.norm2", x, 1e-6)))
        x = x + linear(state, f"{block}.mlp.fc2", inner)
    return norm(state, f"{name}.norm", x, 1e-6)


def reward(state: dict[str, Tensor], pixels: Tensor, ids: list[int]) -> float:
    """BERT that looks at the picture; ids padded with 0, which is hidden."""
    seen, hidden, name = look(state, pixels), torch.tensor(ids) == 0, "blip.text_encoder"
    x = state[f"{name}.embeddings.word_embeddings.weight"][ids]
    x = norm(
        state,
        f"{name}.embeddings.LayerNorm",
        x + state[f"{name}.embeddings.position_embeddings.weight"][: len(ids)],
        1e-12,
    )
    for layer in range(2):
        block = f"{name}.encoder.layer.{layer}"
        for kind, source in (("attention", None), ("crossattention", seen)):
            there, mask = (x, hidden) if source is None else (source, None)
            query, key, value = (
                linear(state, f"{block}.{kind}.self.{part}", what)
                for part, what in (("query", x), ("key", there), ("value", there))
            )
            mixed = linear(state, f"{block}.{kind}.output.dense", attend(query, key, value, mask))
            x = norm(state, f"{block}.{kind}.output.LayerNorm", mixed + x, 1e-12)
        inner = linear(state, f"{block}.output.dense", gelu(linear(state, f"{block}.intermediate.dense", x)))
        x = norm(state, f"{block}.output.LayerNorm", inner + x, 1e-12)
    value = x[0]
    for place in (0, 2, 4, 6, 7):
        value = linear(state, f"mlp.layers.{place}", value)
    return (value.item() - 0.16717362830052426) / 1.0333394966054072


def ids_of(prompt: str) -> list[int]:
    """By hand: words of the list, between [CLS] and [SEP], 35 at most."""
    words = [BERT_WORDS.index(word) for word in prompt.lower().split()][:33]
    ids = [2, *words, 3]
    return ids + [0] * (35 - len(ids))


def test_rewards_are_those_of_the_published_network(scorer: ImageReward) -> None:
    state, images = image_reward_state(), pictures(SHAPES[:4])
    pixels = [normalised(cropped_to_square(image, 32, to_even)) for image in images]
    expected = [reward(state, one, ids_of(prompt)) for one, prompt in zip(pixels, PROMPTS, strict=True)]
    assert scorer.score(images, PROMPTS) == pytest.approx(expected, abs=2e-4)
    assert np.ptp(expected) > 0.01


def test_prompt_and_picture_both_count(scorer: ImageReward) -> None:
    one, other = pictures(SHAPES[:2])
    scores = scorer.score([one, one, other], ["red circle", "blue", "red circle"])
    assert abs(scores[0] - scores[1]) > 1e-3 and abs(scores[0] - scores[2]) > 1e-3  # type: ignore[operator]


def test_thirty_five_tokens_are_read(scorer: ImageReward) -> None:
    (image,) = pictures(SHAPES[:1])
    long, longer, short = ("red " * 33, "red " * 33 + "blue " * 9, "red " * 32)
    scores = scorer.score([image] * 3, [long, longer, short])
    assert scores[0] == scores[1] != scores[2]


def test_a_batch_scores_as_each_picture_alone(scorer: ImageReward) -> None:
    images = pictures(SHAPES[:4])
    alone = [scorer.score([image], [prompt])[0] for image, prompt in zip(images, PROMPTS, strict=True)]
    assert scorer.score(images, PROMPTS) == pytest.approx(alone, abs=1e-4)


def test_half_precision_scores_nearly_the_same(files: Files, scorer: ImageReward) -> None:
    half = image_reward.load(files, Runtime("cpu", "bf16"), "1")
    images = pictures(SHAPES[:4])
    difference = np.subtract(half.score(images, PROMPTS), scorer.score(images, PROMPTS))
    assert np.abs(difference).max() < 0.5 and half._network.mlp["layers"][0].weight.dtype == torch.float32


def test_every_published_weight_has_its_place() -> None:
    """Nothing is left over but the two projections of pretraining and a list of places."""
    state = image_reward_state()
    with torch.device("meta"):
        network = image_reward.Network(*image_reward.configs_of(state))
    converted = image_reward.converted(state)
    assert converted.keys() == network.state_dict().keys()
    assert len(state) - len(converted) == 5


def test_files_of_parallel_training_and_half_precision_are_read(
    files: Files, tmp_path: Path, scorer: ImageReward
) -> None:
    state = {f"module.{key}": value for key, value in rounded(image_reward_state(), torch.float16).items()}
    torch.save(state, tmp_path / "ImageReward.pt")
    other = image_reward.load({**files, "weights": tmp_path / "ImageReward.pt"}, CPU, "1")
    images = pictures(SHAPES[:4])
    assert other.score(images, PROMPTS) == pytest.approx(scorer.score(images, PROMPTS), abs=0.1)


@pytest.mark.parametrize("change", ["lacks", "has more", "another model", "no words"])
def test_other_weights_are_refused(files: Files, tmp_path: Path, change: str) -> None:
    state, places = image_reward_state(), dict(files)
    if change == "lacks":
        del state["blip.text_encoder.encoder.layer.1.crossattention.self.key.bias"]
    elif change == "has more":
        state["blip.itm_head.weight"] = torch.zeros(2, 3)
    elif change == "another model":
        state = {"visual.proj": torch.zeros(2)}
    else:
        places["tokenizer"] = tmp_path / "none.txt"
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(AtelierError):
        image_reward.load({**places, "weights": tmp_path / "other.pt"}, CPU, "1")
