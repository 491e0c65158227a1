"""A LoRA file on disk: written whole, read back, and only then given its name."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from trainers.catalog import Layout
from trainers.lora.layers import Layers
from trainers.lora.shapes import layer_shapes, naming_of
from trainers.lora.verify import verify_lora
from trainers.lora.write import Weights, write_layers
from trainers.rundir import write_atomic


def save_layers(
    path: Path,
    layers: Layers,
    skeleton: dict[str, nn.Module],
    layout: Layout,
    dtype: torch.dtype,
    metadata: dict[str, str],
    weights: Weights | None = None,
) -> None:
    """Write a file and read it back. What stood at `path` stays when anything is wrong.

    metadata: gets what depends on the tensors. Raises AtelierError as `write_layers` and `verify_lora` do.
    """
    tensors = write_layers(layers, naming_of(skeleton), layer_shapes(skeleton), layout, dtype, weights)
    known = {**metadata, **_strength(layers, layout)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".checking-") as folder:
        draft = Path(folder) / path.name
        write_atomic(draft, save(tensors, metadata={**known, **kohya_hashes(tensors, known)}))
        verify_lora(draft, layers, skeleton, layout)
        draft.replace(path)


def _strength(layers: Layers, layout: Layout) -> dict[str, str]:
    """Rank and alpha of most layers, as the file has them: without alphas its scale is 1."""
    usual = Counter((layer.rank, layer.scale) for layer in layers.values()).most_common(1)[0][0]
    rank, scale = usual
    return {"ss_network_dim": str(rank), "ss_network_alpha": f"{rank * (scale if layout == 'kohya' else 1):g}"}


def kohya_hashes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> dict[str, str]:
    """The names that A1111's extension knows a LoRA by: of the tensors, and of a piece of a file that has only the
    ss_ metadata, as sd-scripts library/train_util.py `precalculate_safetensors_hashes` computes them."""
    data = memoryview(save(tensors, metadata={key: value for key, value in metadata.items() if key.startswith("ss_")}))
    begin = 8 + int.from_bytes(data[:8], "little")
    return {
        "sshs_model_hash": hashlib.sha256(data[begin:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8],
    }
