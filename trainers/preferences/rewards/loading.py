"""How weights of scorers come into memory: each one accounted for, read once, without running what a pickle holds."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils import logging

from trainers.errors import AtelierError
from trainers.preferences.rewards.base import Runtime

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AGAIN = "Download it again, or set scorers.weights to another place."


def prepare(runtime: Runtime) -> None:
    """The libraries of this process keep quiet from now on, and use as many threads as was asked for."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if runtime.threads:
        torch.set_num_threads(runtime.threads)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or pickled checkpoint. Raises AtelierError for one that is none."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise AtelierError(f"{path} cannot be read: {str(error).partition(chr(10))[0]}", AGAIN) from error
    while isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise AtelierError(f"{path} holds no weights.", AGAIN)
    return {key.removeprefix("module."): value for key, value in state.items()}


def fill(model: nn.Module, state: Mapping[str, Tensor], source: object) -> None:
    """Put weights into a model. Raises AtelierError unless each weight of the model is there, in its shape, and
    nothing else is."""
    wanted = model.state_dict()
    wrong = [key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape]
    _refuse(wanted.keys() - state.keys(), state.keys() - wanted.keys(), wrong, source)
    model.load_state_dict(state, assign=True)


def open_folder(kind: Any, folder: Path, runtime: Runtime) -> Any:
    """A model of transformers, of a folder that holds each of its weights and no other. kind: its class.

    Raises AtelierError otherwise.
    """
    try:
        model, info = kind.from_pretrained(
            folder,
            dtype=DTYPES[runtime.precision],
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told of below, where the library would say only that there are some
        )
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise AtelierError(f"{folder} cannot be opened as {kind.__name__}: {error}", AGAIN) from error
    wrong = map(str, info["mismatched_keys"])
    _refuse(info["missing_keys"], info["unexpected_keys"], wrong, folder)
    return model


def _refuse(missing: Iterable[str], unknown: Iterable[str], wrong: Iterable[str], source: object) -> None:
    parts = {"are missing": sorted(missing), "are not known": sorted(unknown), "have another size": sorted(wrong)}
    said = "; ".join(f"{len(keys)} {what}, as {keys[0]}" for what, keys in parts.items() if keys)
    if said:
        raise AtelierError(f"The weights in {source} are not those of this scorer: {said}.", AGAIN)


def ready(model: nn.Module, runtime: Runtime) -> Any:
    """The model at its place, frozen, without dropout."""
    return model.to(runtime.device, DTYPES[runtime.precision]).eval().requires_grad_(False)
