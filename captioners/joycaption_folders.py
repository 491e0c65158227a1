"""JoyCaption Alpha Two in its older files: SigLIP, an adapter, and a LoRA on Llama 3.1, in three folders.

joy-caption-alpha-two/.../clip_model.pt, image_adapter.pt, text_model/
clip/siglip-so400m-patch14-384/config.json
llm/Meta-Llama-3.1-8B-Instruct/ (or its bnb-4bit version)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, SiglipVisionModel

from captioners.base import Captioner, Request, Result, Runtime
from captioners.config import CaptionConfig
from captioners.generation import Drawing, end_ids, generate
from captioners.joycaption import (
    END_OF_TURN,
    SYSTEM,
    chat,
    encode_chat,
    open_tokenizer,
    result_of,
    to_pixels,
    turn_ends,
)
from captioners.loading import check_complete, open_weights
from captioners.packages import BITSANDBYTES, remedy
from trainers.errors import AtelierError, MissingPackageError

START, STOP = 0, 1  # learned tokens around the picture; the third of them is not used
FEATURES = -2  # of SigLIP's hidden states


@dataclass(frozen=True)
class Parts:
    """Where the pieces lie. vision_config, language: folders."""

    checkpoint: Path
    vision_config: Path
    language: Path


def find_parts(source: Path) -> Parts:
    """The pieces, in whatever folders below `source`. Raises AtelierError for one that is missing or there twice."""
    weights = _only([file.parent for file in source.rglob("clip_model.pt")], "clip_model.pt", source)
    for name in ("image_adapter.pt", "text_model/adapter_config.json", "text_model/tokenizer.json"):
        if not (weights / name).is_file():
            raise AtelierError(f"{weights} lacks {name}.", "Download JoyCaption Alpha Two again.")
    kinds = {file.parent: _model_type(file) for file in source.rglob("config.json")}
    vision = [folder for folder, kind in kinds.items() if kind in ("siglip", "siglip_vision_model")]
    language = [folder for folder, kind in kinds.items() if kind == "llama"]
    return Parts(
        weights,
        _only(vision, "folder of SigLIP (clip/siglip-so400m-patch14-384)", source),
        _only(language, "folder of Llama 3.1 (llm/Meta-Llama-3.1-8B-Instruct)", source),
    )


def _only(found: Sequence[Path], what: str, source: Path) -> Path:
    if len(found) != 1:
        said = f"more than one {what}: {', '.join(sorted(map(str, found)))}" if found else f"no {what}"
        raise AtelierError(
            f"{source} holds {said}.",
            "captioner.source names the folder that holds joy-caption-alpha-two, clip and llm, each of them once.",
        )
    return found[0]


def _model_type(file: Path) -> str:
    try:
        read = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise AtelierError(f"{file} cannot be read: {error}.", "Download it again.") from error
    return str(read.get("model_type", "")) if isinstance(read, dict) else ""


class ImageAdapter(nn.Module):
    """From SigLIP's features to Llama's embeddings. Names as in image_adapter.pt."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, wider), nn.Linear(wider, wider)
        self.activation = nn.GELU()
        self.other_tokens = nn.Embedding(3, wider)

    def forward(self, features: Tensor) -> Tensor:
        """[B, N, width] -> [B, N + 2, wider], a learned token on both sides."""
        told = self.linear2(self.activation(self.linear1(features)))
        start, stop = (self.other_tokens.weight[place].expand(len(told), 1, -1) for place in (START, STOP))
        return torch.cat([start, told, stop], dim=1)


def load(source: Path, config: CaptionConfig, runtime: Runtime) -> Captioner:
    """Raises AtelierError for pieces that are missing or do not fit, MissingPackageError for a Llama in 4 bits."""
    parts = find_parts(source)
    tokenizer = open_tokenizer(parts.checkpoint / "text_model")
    vision = _load_vision(parts, runtime)
    language = _load_language(parts, runtime)
    file = parts.checkpoint / "image_adapter.pt"
    adapter = ImageAdapter(vision.config.hidden_size, language.config.hidden_size)
    _fill(adapter, _read(file), file)
    return JoyCaptionFolders(
        vision, adapter.to(runtime.device, runtime.dtype).eval(), language, tokenizer, config, runtime
    )


def _load_vision(parts: Parts, runtime: Runtime) -> SiglipVisionModel:
    config = AutoConfig.from_pretrained(parts.vision_config, local_files_only=True)
    model = SiglipVisionModel(getattr(config, "vision_config", config))
    file = parts.checkpoint / "clip_model.pt"
    # saved from a compiled model on several cards
    _fill(model, {name.removeprefix("_orig_mod.module."): tensor for name, tensor in _read(file).items()}, file)
    return model.to(runtime.device, runtime.dtype).eval()


def _load_language(parts: Parts, runtime: Runtime) -> Any:
    """Llama with its LoRA. The base that the LoRA's own file names may be anywhere: the one in the folder is taken."""
    try:
        model = open_weights(AutoModelForCausalLM, parts.language, dtype=runtime.dtype, device_map={"": runtime.device})
    except ImportError as error:
        raise MissingPackageError(f"{parts.language} needs the package bitsandbytes.", remedy(BITSANDBYTES)) from error
    lora = parts.checkpoint / "text_model"
    found = model.load_adapter(str(lora), adapter_kwargs={"local_files_only": True})
    check_complete(vars(found), lora)
    return model.eval()


def _read(file: Path) -> dict[str, Tensor]:
    try:
        read: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise AtelierError(f"{file} cannot be read: {error}.", "Download it again.") from error
    return read


def _fill(model: nn.Module, state: dict[str, Tensor], file: Path) -> None:
    """Raises AtelierError for weights that are missing, not known, or of another size."""
    own = model.state_dict()
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    check_complete({"missing_keys": missing, "unexpected_keys": unexpected, "mismatched_keys": wrong}, file)
    model.load_state_dict(state)


class JoyCaptionFolders:
    """See `captioners.base.Captioner`."""

    def __init__(
        self,
        vision: SiglipVisionModel,
        adapter: ImageAdapter,
        language: Any,
        tokenizer: PreTrainedTokenizerFast,
        config: CaptionConfig,
        runtime: Runtime,
    ) -> None:
        self._vision, self._adapter, self._language = vision, adapter, language
        self._tokenizer, self._runtime = tokenizer, runtime
        self._system = config.prompt.system.strip() or SYSTEM
        self._drawing = Drawing.of(config)
        self._ends = end_ids(language) | turn_ends(tokenizer)

    @torch.inference_mode()
    def caption(self, requests: Sequence[Request]) -> list[Result]:
        pictures = self._look([request.image for request in requests])
        rows = [self._row(picture, request.prompt) for picture, request in zip(pictures, requests, strict=True)]
        # no token ids: then what comes back is the new tokens alone
        ids = generate(
            self._language,
            pad_left(rows),
            self._drawing,
            [request.seed for request in requests],
            self._runtime,
            suppress_tokens=None,
            eos_token_id=sorted(self._ends),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        return [result_of(row, self._tokenizer, self._ends, self._drawing.max_tokens) for row in ids]

    def _look(self, images: Sequence[Any]) -> Tensor:
        """[B, patches + 2, D] in Llama's space."""
        pixels = to_pixels(images, self._vision.config.image_size).to(self._runtime.device, self._runtime.dtype)
        states = self._vision(pixel_values=pixels, output_hidden_states=True).hidden_states
        return self._adapter(states[FEATURES])

    def _row(self, picture: Tensor, prompt: str) -> Tensor:
        """[L, D]: the chat as embeddings, the picture right before the user's words."""
        before, after = split_chat(self._tokenizer, self._system, prompt)
        embed = self._language.get_input_embeddings()
        around = [embed(torch.tensor(ids, device=self._runtime.device)) for ids in (before, after)]
        return torch.cat([around[0], picture.to(around[0].dtype), around[1]])


def split_chat(tokenizer: PreTrainedTokenizerFast, system: str, prompt: str) -> tuple[list[int], list[int]]:
    """Tokens of the chat before the user's words, and from them on. Raises AtelierError for another template."""
    prompt = prompt.strip()  # as the template does
    text = chat(tokenizer, system, prompt)
    end = text.rfind(END_OF_TURN)
    start = end - len(prompt)
    if end < 0 or text[start:end] != prompt:
        raise AtelierError("The chat template is not that of Llama 3.1.", "Download JoyCaption Alpha Two again.")
    return encode_chat(tokenizer, text[:start]), tokenizer.encode(text[start:], add_special_tokens=False)


def pad_left(rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """rows [L_i, D] -> inputs_embeds [B, L, D] and their mask, so that new tokens follow each row."""
    longest = max(len(row) for row in rows)
    padded = [nn.functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows]
    mask = [torch.arange(longest, device=row.device) >= longest - len(row) for row in rows]
    return {"inputs_embeds": torch.stack(padded), "attention_mask": torch.stack(mask).long()}
