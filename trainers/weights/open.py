"""Components of a pipeline, opened from wherever they lie."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trainers.data.tokens import shared
from trainers.weights.convert import State, converted
from trainers.weights.header import AGAIN, WeightsError, read_header
from trainers.weights.reader import opened
from trainers.weights.shapes import told_by
from trainers.weights.source import ModelSource, Place, place_of


def open_model(source: ModelSource, name: str, cls: Any, dtype: torch.dtype) -> nn.Module:
    """A frozen module of `cls` in eval mode on the CPU. Raises WeightsError for weights that do not fit it."""
    place = place_of(source, name)
    loaded = _from_file(source, place, name, cls, dtype) if place.is_file else _from_folder(source, place, cls, dtype)
    return loaded.eval().requires_grad_(False)


def _from_folder(source: ModelSource, place: Place, cls: Any, dtype: torch.dtype) -> nn.Module:
    folder = Path(place.path, place.subfolder)
    if not source.allow_pickle and any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        message = f"{folder} holds its weights as a pickle only, which can run any program."
        raise WeightsError(message, "Get them as .safetensors, or set model.allow_pickle if you trust who made them.")
    return cls.from_pretrained(
        place.path,
        subfolder=place.subfolder,
        revision=source.revision or None,
        variant=_variant(folder),
        use_safetensors=None if source.allow_pickle else True,
        dtype=dtype,
    )


def _variant(folder: Path) -> str | None:
    """fp16 for a folder with weights of that kind only, as downloads leave it."""
    names = [file.name for file in folder.glob("*.safetensors")] if folder.is_dir() else []
    return "fp16" if names and all(".fp16." in name for name in names) else None


def _from_file(source: ModelSource, place: Place, name: str, cls: Any, dtype: torch.dtype) -> nn.Module:
    with init_empty_weights():  # buffers are real: what is no weight is in no file
        model = _built(source, place, name, cls)
    fp32 = (getattr(cls, "_keep_in_fp32_modules", None) or ()) if dtype == torch.float16 else ()
    with opened(place, dtype, fp32) as weights:
        try:
            state = converted(weights, name, model)
        except KeyError as error:
            raise _unfit(place, name, f"lacks {error.args[0]}") from error
        _check(state, model, place, name)
        model.load_state_dict(state, assign=True)
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return model


def _check(state: State, model: nn.Module, place: Place, name: str) -> None:
    """Raises WeightsError unless every weight of the model is there, in its shape, and nothing else is."""
    wanted = model.state_dict()
    for key, tensor in wanted.items():
        if key not in state:
            raise _unfit(place, name, f"lacks {key}")
        if state[key].shape != tensor.shape:
            shapes = " x ".join(map(str, state[key].shape)), " x ".join(map(str, tensor.shape))
            raise _unfit(place, name, f"holds {key} as {shapes[0]}, not {shapes[1]}")
    if unknown := next((key for key in state if key not in wanted), ""):
        raise _unfit(place, name, f"holds {unknown}, which the model does not have")


def _unfit(place: Place, name: str, fault: str) -> WeightsError:
    message = f"The {name} of {os.path.basename(place.path)} does not fit: it {fault}."
    return WeightsError(message, f"{AGAIN} For a model of an unusual size set model.config to a folder of its kind.")


def _built(source: ModelSource, place: Place, name: str, cls: Any) -> nn.Module:
    """The module as the configuration says, and where a file's tensors say otherwise, as they say."""
    revision = source.revision or None
    if hasattr(cls, "config_class"):  # of transformers
        return cls(cls.config_class.from_pretrained(source.configs, subfolder=name, revision=revision))
    config = cls.load_config(source.configs, subfolder=name, revision=revision)
    if place.is_file:
        try:
            config |= told_by(read_header(place.path), place.prefix, cls.__name__)
        except (KeyError, ValueError) as error:
            raise _unfit(place, name, f"lacks {error.args[0]}") from error
    return cls.from_config(config)


def open_skeleton(source: ModelSource, name: str, cls: Any) -> nn.Module:
    """The module without weights, on the meta device."""
    with torch.device("meta"):
        return _built(source, place_of(source, name), name, cls)


def open_scheduler(source: ModelSource, cls: Any, **changes: Any) -> Any:
    """The model's own scheduler settings, with what its file tells and the given changes, in a scheduler of `cls`."""
    config = cls.load_config(source.configs, subfolder="scheduler", revision=source.revision or None)
    return cls.from_config(config, **{**source.scheduler, **changes})


def open_tokenizer(source: ModelSource, name: str) -> Any:
    """The model's own tokenizer; where its folder has none, the published one of its kind."""
    if not source.file or Path(source.configs, name).is_dir():
        return AutoTokenizer.from_pretrained(source.configs, subfolder=name, revision=source.revision or None)
    index = json.loads(Path(source.configs, "model_index.json").read_text(encoding="utf-8"))
    if index[name][1].startswith("T5"):
        marks = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        return PreTrainedTokenizerFast(tokenizer_object=shared("t5"), model_max_length=512, **marks)
    end = "<|endoftext|>"
    marks = {"bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end}
    marks["pad_token"] = "!" if name == "tokenizer_2" else end  # the padding that CLIP-G was trained with
    return PreTrainedTokenizerFast(tokenizer_object=shared("clip"), model_max_length=77, **marks)
