"""HPS v3 (Ma et al. 2025): how people like a picture for its prompt, by Qwen2-VL-7B that looks at it.

A small network reads the state of the language model at the token <|Reward|> and tells mean and spread of the opinions;
the score is the mean, about -5 to 15.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import init_empty_weights
from PIL import Image
from tokenizers import AddedToken, Tokenizer
from torch import Tensor, nn
from transformers import Qwen2VLConfig, Qwen2VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from trainers.errors import AtelierError
from trainers.preferences.rewards.base import Files, Runtime
from trainers.preferences.rewards.hpsv3_prompt import IMAGE, REWARD, chat
from trainers.preferences.rewards.loading import AGAIN, DTYPES, fill, prepare, read_state, ready
from trainers.weights.header import read_header

PIXELS = 256 * 28 * 28  # of the picture that the model gets to see, whatever its shape
WORKING_SHARE = 1.1  # of the weights, for activations of a few pictures
HIDDEN = (1024, 16)
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def load(files: Files, runtime: Runtime, version: str) -> Hpsv3:
    """See `base.Load`."""
    prepare(runtime)
    require_memory(files["weights"], runtime)
    tokenizer = _tokenizer(files["base"])
    state = converted(read_state(files["weights"]))
    words = state.get("model.language_model.embed_tokens.weight")
    if words is None:
        raise AtelierError(f"{files['weights']} is not HPS v3: it holds no language model.", AGAIN)
    config = _config(files["base"], len(words))
    with init_empty_weights():
        network = Network(config)
    fill(network, state, files["weights"])
    return Hpsv3(network, tokenizer, runtime, version)


class Network(nn.Module):
    def __init__(self, config: Qwen2VLConfig) -> None:
        super().__init__()
        self.model = Qwen2VLModel(config)
        first, second = HIDDEN
        self.rm_head = nn.Sequential(
            nn.Linear(config.text_config.hidden_size, first),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 2),
        )

    def forward(self, ids: Tensor, mask: Tensor, pixels: Tensor, grid: Tensor, at: Tensor) -> Tensor:
        """ids, mask [B, L], padded on the right; at [B]: place of the reward token. Mean and spread [B, 2], fp32.

        Positions are counted as in a text, also through the picture: so the reward model was trained, whose forward
        pass leaves the two-dimensional positions of Qwen2-VL out.
        """
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        states = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places[None].expand(3, -1, -1),
            pixel_values=pixels,
            image_grid_thw=grid,
            use_cache=False,
        ).last_hidden_state
        rewards: Tensor = self.rm_head(states[torch.arange(len(ids), device=ids.device), at].float())
        return rewards


class Hpsv3:
    name = "hpsv3"

    def __init__(self, network: Network, tokenizer: Tokenizer, runtime: Runtime, version: str) -> None:
        self._network, self._tokenizer, self.version = network, tokenizer, version
        network.model = ready(network.model, runtime)
        network.rm_head = ready(network.rm_head, replace(runtime, precision="fp32"))  # as it was trained
        self._device, self._dtype = torch.device(runtime.device), DTYPES[runtime.precision]
        vision = network.model.config.vision_config
        self._patch, self._merge = vision.patch_size, vision.spatial_merge_size
        self._pictures = Qwen2VLImageProcessorPil(
            do_resize=False,
            patch_size=self._patch,
            merge_size=self._merge,
            temporal_patch_size=vision.temporal_patch_size,
        )
        self._reward: int = tokenizer.token_to_id(REWARD)

    @torch.inference_mode()
    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[float | None]:
        unit = self._patch * self._merge
        seen = self._pictures([resized(image, unit) for image in images], return_tensors="pt")
        grid: Tensor = seen["image_grid_thw"]
        counts = (grid.prod(-1) // self._merge**2).tolist()
        rows = [self._ids(prompt, count) for prompt, count in zip(prompts, counts, strict=True)]
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        at = torch.tensor([row.index(self._reward) for row in rows])
        rewards = self._network(
            ids.to(self._device),
            mask.to(self._device),
            seen["pixel_values"].to(self._device, self._dtype),
            grid.to(self._device),
            at.to(self._device),
        )
        return [*rewards[:, 0].tolist()]

    def _ids(self, prompt: str, places: int) -> list[int]:
        """places: tokens that the picture takes."""
        ids: list[int] = self._tokenizer.encode(chat(prompt, places), add_special_tokens=False).ids
        return ids


def resized(image: Image.Image, unit: int) -> Image.Image:
    """The picture at about PIXELS pixels, its shape kept as far as sides that are multiples of `unit` allow."""
    image = image.convert("RGB")
    longest, shortest = max(image.size), min(image.size)
    if longest > 200 * shortest:
        raise ValueError(f"a picture of {image.width}x{image.height} is too narrow for HPS v3")
    width, height = (max(unit, round(side / unit) * unit) for side in image.size)
    area = image.width * image.height
    if width * height > PIXELS:
        shrink = math.sqrt(area / PIXELS)
        width, height = (max(unit, math.floor(side / shrink / unit) * unit) for side in image.size)
    elif width * height < PIXELS:
        grow = math.sqrt(PIXELS / area)
        width, height = (math.ceil(side * grow / unit) * unit for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def converted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of both layouts that transformers has had for Qwen2-VL to today's; what writes words is left out."""
    return {_renamed(key): tensor for key, tensor in state.items() if key != "lm_head.weight"}


def _renamed(key: str) -> str:
    if key.startswith("visual."):
        return f"model.{key}"
    if key.startswith("model.") and not key.startswith(("model.visual.", "model.language_model.")):
        return f"model.language_model.{key.removeprefix('model.')}"
    return key


def _config(folder: Path, words: int) -> Qwen2VLConfig:
    try:
        raw: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AtelierError(f"{folder} holds no config.json that can be read: {error}.", AGAIN) from error
    if raw.get("model_type") != "qwen2_vl":
        raise AtelierError(f"{folder} holds a model of the kind {raw.get('model_type')!r}, not qwen2_vl.", AGAIN)
    config = Qwen2VLConfig.from_dict(raw)
    config.text_config.vocab_size = words  # one more than the base has: the reward token
    return config


def _tokenizer(folder: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the package raises nothing more precise
        raise AtelierError(f"{folder / 'tokenizer.json'} cannot be read: {error}.", AGAIN) from error
    if tokenizer.token_to_id(IMAGE) is None:
        raise AtelierError(f"The tokenizer in {folder} is not that of Qwen2-VL: it lacks {IMAGE}.", AGAIN)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.add_special_tokens([AddedToken(REWARD, special=True)])
    return tokenizer


def require_memory(weights: Path, runtime: Runtime) -> None:
    """Raises AtelierError when the device has not the room: it would fail after minutes of loading."""
    if weights.suffix != ".safetensors":
        return
    numbers = sum(math.prod(info.shape) for info in read_header(str(weights)).tensors.values())
    need = numbers * BYTES[runtime.precision] / 2**30 * WORKING_SHARE
    on_card = runtime.device.startswith("cuda")
    free = (torch.cuda.mem_get_info(runtime.device)[0] if on_card else psutil.virtual_memory().available) / 2**30
    if need > free:
        where = "the card" if on_card else "this machine"
        raise AtelierError(
            f"HPS v3 needs {need:.1f} GiB in {runtime.precision}; {where} has {free:.1f} GiB free.",
            "Take a card of 24 GB with scorers.precision = bf16, or another scorer: hpsv2.1 needs 2 GiB.",
        )
