"""What is read back after a save: every fault that a file could have is seen, and a good one passes in every format."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.loras import load_components, random_layers, trained, write
from tests.tiny import MAKERS
from trainers.errors import AtelierError
from trainers.families.base import DTYPES
from trainers.lora.file import save_layers
from trainers.lora.layers import LoraLayer
from trainers.lora.shapes import layer_shapes, naming_of
from trainers.lora.verify import verify_lora
from trainers.lora.write import write_layers


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory):
    """(components without an adapter, a trained adapter) of a family."""

    def make(family: str, kind: str = "lora"):
        folder = MAKERS[family](tmp_path_factory.mktemp(family))
        return load_components(family, folder), trained(family, load_components(family, folder), kind=kind)

    return cache(make)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("family", "layout"), [("flux", "kohya"), ("sd3", "diffusers"), ("sd15", "kohya")])
def test_a_good_file_passes_in_every_number_format(family, layout, dtype, models, tmp_path: Path) -> None:
    skeleton, adapter = models(family)
    save_layers(tmp_path / "lora.safetensors", adapter.layers(), skeleton, layout, DTYPES[dtype], {})


def wrong_key(tensors: dict[str, Tensor]) -> None:
    for key in [key for key in tensors if "mid_block_attentions_0_proj_in" in key]:
        tensors[key.replace("attentions_0", "attentions_1")] = tensors.pop(key)


def missing_alpha(tensors: dict[str, Tensor]) -> None:
    del tensors[next(key for key in tensors if key.endswith(".alpha"))]


def missing_layer(tensors: dict[str, Tensor]) -> None:
    for key in [key for key in tensors if "mid_block_attentions_0_proj_in" in key]:
        del tensors[key]


def transposed_pair(tensors: dict[str, Tensor]) -> None:
    """A square layer: up and down have changed places, so every product has the right size."""
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    down, up = tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"]
    tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"] = up.T.contiguous(), down.T.contiguous()


def doubled_module(tensors: dict[str, Tensor]) -> None:
    for key in [key for key in tensors if "mid_block_attentions_0_proj_in" in key]:
        tensors[key.replace("mid_block_attentions_0", "middle_block_1")] = tensors[key].clone()


def other_strength(tensors: dict[str, Tensor]) -> None:
    key = next(key for key in tensors if key.endswith(".alpha"))
    tensors[key] = tensors[key] * 1.01


def other_sign(tensors: dict[str, Tensor]) -> None:
    key = next(key for key in tensors if key.endswith("conv1.lora_up.weight"))
    tensors[key] = -tensors[key]


def two_axes(tensors: dict[str, Tensor]) -> None:
    for part in ("down", "up"):
        key = f"lora_unet_mid_block_attentions_0_proj_in.lora_{part}.weight"
        tensors[key] = tensors[key].flatten(1)


def not_finite(tensors: dict[str, Tensor]) -> None:
    tensors[next(key for key in tensors if "lora_up" in key)][0] = float("nan")


FAULTS = {
    wrong_key: r"does not have, first lora_unet_mid_block_attentions_1",
    missing_alpha: r"has no alpha",
    missing_layer: r"1 layers are missing, first unet\.mid_block\.attentions\.0\.proj_in",
    transposed_pair: r"unet\.mid_block\..*attn1\.to_q has another strength or other weights",
    doubled_module: r"gives unet\.mid_block\.attentions\.0\.proj_in twice",
    other_strength: r"has another strength",
    other_sign: r"conv1 has another strength",
    two_axes: r"has not the 4 axes",
    not_finite: r"not finite",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught(fault, models, tmp_path: Path) -> None:
    skeleton, adapter = models("sd15")
    shapes = layer_shapes(skeleton)
    tensors = write_layers(adapter.layers(), naming_of(skeleton), shapes, "kohya", torch.float32)
    fault(tensors)
    with pytest.raises(AtelierError, match=FAULTS[fault]):
        verify_lora(write(tmp_path / "lora.safetensors", tensors), adapter.layers(), skeleton, "kohya")


def test_metadata_of_peft_and_alphas_in_other_layouts_are_caught(models, tmp_path: Path) -> None:
    skeleton, adapter = models("sd15")
    shapes = layer_shapes(skeleton)
    tensors = write_layers(adapter.layers(), naming_of(skeleton), shapes, "diffusers", torch.float32)
    path = write(tmp_path / "said.safetensors", tensors, lora_adapter_metadata='{"unet.lora_alpha": 4}')
    with pytest.raises(AtelierError, match="lora_adapter_metadata"):
        verify_lora(path, adapter.layers(), skeleton, "diffusers")
    tensors["unet.mid_block.attentions.0.proj_in.alpha"] = torch.tensor(4.0)
    with pytest.raises(AtelierError, match="has an alpha"):
        verify_lora(write(tmp_path / "alpha.safetensors", tensors), adapter.layers(), skeleton, "diffusers")


def test_lost_magnitude_is_caught(models, tmp_path: Path) -> None:
    skeleton, adapter = models("flux", "dora")
    shapes = layer_shapes(skeleton)
    tensors = write_layers(adapter.layers(), naming_of(skeleton), shapes, "diffusers", torch.float32)
    plain = {key: tensor for key, tensor in tensors.items() if "magnitude" not in key}
    with pytest.raises(AtelierError, match="has another magnitude"):
        verify_lora(write(tmp_path / "lora.safetensors", plain), adapter.layers(), skeleton, "diffusers")


def test_the_old_file_stays_when_the_new_one_is_wrong(models, tmp_path: Path) -> None:
    skeleton, _ = models("sd15")
    path, name = tmp_path / "lora.safetensors", "unet.mid_block.attentions.0.proj_in"
    layers = random_layers(layer_shapes(skeleton), [name])
    save_layers(path, layers, skeleton, "kohya", torch.float32, {})
    before = path.read_bytes()
    too_large = {name: LoraLayer(layers[name].down * 1e6, layers[name].up)}
    with pytest.raises(AtelierError, match="not finite"):
        save_layers(path, too_large, skeleton, "kohya", torch.float16, {})
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]
