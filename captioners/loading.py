"""How weights come into memory: number format, quantisation of the language model alone, and a check that it was so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging

from captioners.base import Runtime
from captioners.config import CaptionConfig
from captioners.packages import BITSANDBYTES, remedy
from trainers.errors import AtelierError, MissingPackageError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def make_runtime(config: CaptionConfig, stop_asked: Any) -> Runtime:
    """Device and number format of this process, whose libraries keep quiet from now on. config: resolved."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(int(config.run.threads))
    return Runtime(
        device=torch.device(config.captioner.device),
        dtype=DTYPES[str(config.captioner.precision)],
        quantize=config.captioner.quantize,
        stop_asked=stop_asked,
    )


def require_files(source: Path, *names: str) -> None:
    """Raises AtelierError when the folder lacks one of the files that a model of this kind has."""
    if lacking := [name for name in names if not (source / name).is_file()]:
        raise AtelierError(f"{source} lacks {', '.join(lacking)}.", "Download the model again, or choose its folder.")


def open_weights(cls: Any, source: Path, **more: Any) -> Any:
    """The model of a folder, when each of its weights is in the files. cls: a class with `from_pretrained`.

    Raises AtelierError for files that cannot be read, and for weights that are missing, not known or of another size.
    """
    try:
        # of another size: told of by check_complete, where the library itself would say only that there are some
        model, info = cls.from_pretrained(
            source, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True, **more
        )
    except (OSError, SafetensorError) as error:
        raise AtelierError(f"The weights in {source} cannot be read: {error}.", "Download them again.") from error
    check_complete(info, source)
    return model


def quantization(runtime: Runtime, keep: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of `from_pretrained`. keep: names of modules that stay in full precision, "lm_head" among them.

    transformers matches the names as prefix or suffix of the module's path, as in "model.vision_tower"; a list of one's
    own also takes the place of the default that keeps `lm_head`. Raises MissingPackageError.
    """
    if runtime.quantize == "none":
        return {"dtype": runtime.dtype}
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("captioner.quantize needs the package bitsandbytes.", remedy(BITSANDBYTES)) from error
    from transformers import BitsAndBytesConfig

    four = runtime.quantize == "nf4"
    settings = BitsAndBytesConfig(
        load_in_4bit=four,
        load_in_8bit=not four,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=runtime.dtype,
        llm_int8_skip_modules=list(keep),
    )
    return {"dtype": runtime.dtype, "quantization_config": settings, "device_map": {"": runtime.device}}


def check_quantized(model: nn.Module, runtime: Runtime, inside: str, keep: tuple[str, ...] = ()) -> None:
    """Quantised layers lie below the module `inside`, the language model, and all of its linear layers are, but for
    those of a name in keep.

    Raises AtelierError otherwise: a list of names that matches nothing is passed over in silence by transformers, and
    captions of a quantised vision tower are poor without any sign of it.
    """
    if runtime.quantize == "none":
        return
    layers = {name: type(module).__name__ for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    quantised = {name for name, kind in layers.items() if kind in ("Linear4bit", "Linear8bitLt")}
    outside = sorted(name for name in quantised if not name.startswith(f"{inside}."))
    there = (name for name in layers if name.startswith(f"{inside}.") and name.rpartition(".")[2] not in keep)
    left = sorted(name for name in there if name not in quantised)
    if outside or left or not quantised:
        what = f"{outside[0]} is quantised" if outside else f"{left[0] if left else inside} is not quantised"
        raise AtelierError(
            f"Quantisation went wrong: {what}, of {len(quantised)} quantised layers.",
            "Set captioner.quantize = none, and report the versions of transformers and bitsandbytes.",
        )


def to_device(model: nn.Module, runtime: Runtime) -> nn.Module:
    """The model ready to work. One that was quantised is at its place already."""
    model = model if runtime.quantize != "none" else model.to(runtime.device)
    return model.eval()


def check_complete(info: dict[str, Any], source: object) -> None:
    """info: what `from_pretrained(..., output_loading_info=True)` tells. Raises AtelierError for what does not fit."""
    missing, unexpected = sorted(info.get("missing_keys", ())), sorted(info.get("unexpected_keys", ()))
    wrong = sorted(str(key) for key in info.get("mismatched_keys", ()))
    if missing or unexpected or wrong:
        parts = {"are missing": missing, "are not known": unexpected, "have another size": wrong}
        said = "; ".join(f"{len(keys)} {what}, as {keys[0]}" for what, keys in parts.items() if keys)
        raise AtelierError(
            f"The weights in {source} are not those of this model: {said}.", "Download them again, or choose another."
        )
