"""The adapter file that other programs load, and what it says of itself."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from trainers import catalog
from trainers.adapters import Adapter
from trainers.config import TrainConfig
from trainers.errors import AtelierError
from trainers.families.base import ModelFamily
from trainers.resolve import dump
from trainers.rundir import write_atomic

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def adapter_tensors(adapter: Adapter, family: ModelFamily, dtype: torch.dtype) -> dict[str, Tensor]:
    """What is written. The scale alpha / rank is multiplied into lora_B and no alpha is written: programs
    that know of no alpha then draw at the right strength, and so do those that take it as the rank.

    Raises AtelierError when a number is not finite, or does not fit into `dtype`.
    """
    baked = {
        name: (tensor * adapter.scale if ".lora_B." in name else tensor).to("cpu", dtype).contiguous()
        for name, tensor in adapter.state().items()
    }
    broken = [name for name, tensor in baked.items() if not tensor.isfinite().all()]
    if broken:
        raise AtelierError(
            f"{len(broken)} tensors of the adapter are not finite, first {broken[0]}.",
            "Go on from an earlier checkpoint with a lower learning rate, or save in bf16.",
        )
    return family.export_keys(baked)


def metadata(config: TrainConfig, steps: int, pictures: int) -> dict[str, str]:
    """Facts for people and programs, all strings. Holds no path of the machine."""
    model = catalog.model_of(config.model.base, config.model.family)
    resolution = str(config.data.resolution)
    base = Path(config.model.base).name if Path(config.model.base).is_absolute() else config.model.base
    return {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.adapter.rank),
        "ss_network_alpha": str(config.adapter.rank),  # the file's own scale is 1
        "ss_base_model_version": config.model.family,
        "ss_sd_model_name": base,
        "ss_output_name": config.run.name,
        "ss_resolution": f"({resolution}, {resolution})",
        "ss_num_train_images": str(pictures),
        "ss_steps": str(steps),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{model.architecture}/lora",
        "modelspec.title": config.run.name,
        "modelspec.date": datetime.date.today().isoformat(),
        "modelspec.resolution": f"{resolution}x{resolution}",
        "modelspec.trigger_phrase": config.captions.trigger,
        "atelier.base": base,
        "atelier.trigger": config.captions.trigger,
        "atelier.steps": str(steps),
        "atelier.alpha": str(config.adapter.alpha),
        "atelier.config_hash": config_hash(config),
    }


def config_hash(config: TrainConfig) -> str:
    """16 hexadecimal digits that name the whole configuration."""
    return hashlib.blake2b(dump(config).encode(), digest_size=8).hexdigest()


def save_adapter(
    path: Path, adapter: Adapter, family: ModelFamily, config: TrainConfig, steps: int, pictures: int
) -> None:
    """Write the file whole or not at all, and read it back to see that it is what was meant."""
    tensors = adapter_tensors(adapter, family, DTYPES[config.save.dtype])
    write_atomic(path, save(tensors, metadata=metadata(config, steps, pictures)))
    with safetensors.safe_open(path, framework="pt") as file:
        if set(file.keys()) != set(tensors):
            raise AtelierError(f"{path} does not read back as it was written.", "Check the disk.")
