"""The adapter file that other programs load, and what it says of itself."""

from __future__ import annotations

import base64
import datetime
import hashlib
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from trainers import catalog
from trainers.adapters import Adapter
from trainers.config import TrainConfig
from trainers.families.base import DTYPES, ModelFamily
from trainers.lora.file import save_layers
from trainers.lora.layers import Layers
from trainers.processes import Diffusion
from trainers.resolve import dump

THUMBNAIL = 256  # pixels of the longer side
TAGS = 20  # of the most frequent ones in modelspec.tags

# family -> what sd-scripts writes, and A1111, Forge and ComfyUI's managers sort by
BASE_VERSIONS = {"sd15": "sd_v1", "sdxl": "sdxl_base_v1-0", "sd3": "sd3", "flux": "flux1"}
MODULES = {"sd15": "networks.lora", "sdxl": "networks.lora", "sd3": "networks.lora_sd3", "flux": "networks.lora_flux"}
IMPLEMENTATIONS = {
    "sd15": "diffusers",
    "sdxl": "https://github.com/Stability-AI/generative-models",
    "sd3": "diffusers",
    "flux": "https://github.com/black-forest-labs/flux",
}


def save_adapter(
    path: Path,
    adapter: Adapter,
    family: ModelFamily,
    config: TrainConfig,
    steps: int,
    pictures: int,
    *,
    tags: Mapping[str, int] | None = None,
    thumbnail: Image.Image | None = None,
    base_hash: str = "",
) -> None:
    """Write the adapter as `config.save` wants it, whole or not at all, and read it back to see that it is what was
    trained. Raises AtelierError when it is not, or when numbers do not fit.

    tags: how often each tag is in the captions; thumbnail: left out where config.save.thumbnail is off; base_hash: of
    the base's file, 8 hexadecimal digits as A1111 shows them.
    """
    layout = catalog.FAMILIES[config.model.family].layouts[0] if config.save.layout == "auto" else config.save.layout
    layers = adapter.for_file()
    facts = metadata(config, adapter, layers, steps, pictures)
    facts |= _prediction(family)
    if tags:
        facts |= _tags(tags, config.run.name)
    if thumbnail is not None and config.save.thumbnail:
        facts["modelspec.thumbnail"] = _data_url(thumbnail)
    if base_hash:
        facts["ss_sd_model_hash"] = base_hash
    save_layers(path, layers, family.skeleton(), layout, DTYPES[config.save.dtype], facts, weights=adapter.weight)


def metadata(config: TrainConfig, adapter: Adapter, layers: Layers, steps: int, pictures: int) -> dict[str, str]:
    """Facts for people and programs, all strings. Holds no path of the machine. layers: those of the file."""
    name, trigger = config.model.family, config.captions.trigger
    resolution = config.data.resolution
    text_rate = config.optimizer.text_encoder_learning_rate if config.adapter.text_encoders else None
    base = Path(config.model.base).name if Path(config.model.base).is_absolute() else config.model.base
    facts = {
        "format": "pt",
        "ss_base_model_version": BASE_VERSIONS[name],
        "ss_sd_model_name": base,
        "ss_output_name": config.run.name,
        "ss_resolution": f"({resolution}, {resolution})",
        "ss_v2": "False",
        "ss_clip_skip": str(config.model.clip_skip) if name == "sd15" else "None",
        "ss_num_train_images": str(pictures),
        "ss_steps": str(steps),
        "ss_max_train_steps": str(config.schedule.max_steps),
        "ss_total_batch_size": str(config.schedule.batch_size * config.schedule.gradient_accumulation),
        "ss_learning_rate": str(config.optimizer.learning_rate),
        "ss_text_encoder_lr": str(text_rate),
        "ss_optimizer": config.optimizer.kind,
        "ss_lr_scheduler": config.schedule.lr_scheduler,
        "ss_mixed_precision": config.model.precision,
        "ss_seed": str(config.run.seed),
        "ss_training_finished_at": str(time.time()),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{catalog.model_of(config.model.base, name).architecture}/lora",
        "modelspec.implementation": IMPLEMENTATIONS[name],
        "modelspec.title": config.run.name,
        "modelspec.date": datetime.datetime.now().isoformat(timespec="seconds"),
        "modelspec.resolution": f"{resolution}x{resolution}",
        "atelier.family": name,
        "atelier.base": base,
        "atelier.trigger": trigger,
        "atelier.steps": str(steps),
        "atelier.alpha": str(config.adapter.alpha),
        "atelier.objective": config.objective.kind,
        "atelier.config_hash": config_hash(config),
    }
    if adapter.below:
        facts["atelier.contains"] = adapter.below.name
    if trigger:
        facts["modelspec.trigger_phrase"] = trigger
    return facts | _network(layers, name)


def _network(layers: Layers, family: str) -> dict[str, str]:
    """The kind of adapter by the names that sd-scripts and LyCORIS have for it."""
    if any(layer.magnitude is not None for layer in layers.values()):
        arguments = {"algo": "lora", "dora_wd": "True", "wd_on_output": "True"}
        return {"ss_network_module": "lycoris.kohya", "ss_network_args": json.dumps(arguments)}
    convolutions = (layer for layer in layers.values() if layer.down[0, 0].numel() > 1)
    arguments = next(
        ({"conv_dim": str(one.rank), "conv_alpha": f"{one.rank * one.scale:g}"} for one in convolutions), {}
    )
    return {"ss_network_module": MODULES[family], "ss_network_args": json.dumps(arguments)}


def _prediction(family: ModelFamily) -> dict[str, str]:
    """Flow models have none in the specification."""
    if not isinstance(family.process, Diffusion):
        return {}
    return {"modelspec.prediction_type": "v" if family.process.prediction == "v_prediction" else "epsilon"}


def _tags(tags: Mapping[str, int], name: str) -> dict[str, str]:
    usual = sorted(tags, key=lambda tag: -tags[tag])[:TAGS]
    return {"ss_tag_frequency": json.dumps({name: dict(tags)}), "modelspec.tags": ", ".join(usual)}


def _data_url(picture: Image.Image) -> str:
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def config_hash(config: TrainConfig) -> str:
    """16 hexadecimal digits that name the whole configuration."""
    return hashlib.blake2b(dump(config).encode(), digest_size=8).hexdigest()
