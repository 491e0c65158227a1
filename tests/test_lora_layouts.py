"""Every layout of every family holds what was trained: for our reader, and for diffusers' own loader."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from peft.tuners.lora import LoraLayer as PeftLayer

from tests.loras import load_components, tensors_of, trained, write
from tests.tiny import MAKERS
from trainers import catalog
from trainers.adapters import Adapter
from trainers.errors import AtelierError
from trainers.lora.layers import Layers, LoraLayer
from trainers.lora.read import read_lora
from trainers.lora.shapes import layer_shapes, naming_of
from trainers.lora.write import write_layers

CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    """The folder of a tiny pipeline, by family."""
    return cache(lambda family: MAKERS[family](tmp_path_factory.mktemp(family)))


def saved(path: Path, adapter: Adapter, skeleton: dict, layout: catalog.Layout) -> Path:
    naming, shapes = naming_of(skeleton), layer_shapes(skeleton)
    return write(path, write_layers(adapter.layers(), naming, shapes, layout, torch.float32, adapter.weight))


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("family", MAKERS)
def test_every_layout_reads_back_as_it_was_trained(family: str, kind: str, folders, tmp_path: Path) -> None:
    """alpha is 1.5 times the rank, convolutions and text encoders are trained too."""
    skeleton = load_components(family, folders(family))
    adapter = trained(family, load_components(family, folders(family)), kind=kind)
    for layout in catalog.LAYOUTS:
        found = read_lora(saved(tmp_path / f"{layout}.safetensors", adapter, skeleton, layout), skeleton)
        assert found.keys() == set(adapter.names()), layout
        assert {layer.rank for layer in found.values()} == {4}, layout
        for name, layer in found.items():
            torch.testing.assert_close(layer.delta(adapter.weight(name)), adapter.delta(name), **CLOSE, msg=name)


THEIRS = [
    ("flux", "diffusers", "lora"),
    ("flux", "diffusers", "dora"),
    ("sd15", "kohya", "lora"),
    ("sd15", "diffusers", "lora"),
    ("sd15", "diffusers", "dora"),
    ("sdxl", "kohya", "lora"),
    ("sdxl", "diffusers", "lora"),
    ("sd3", "diffusers", "lora"),
    ("sd3", "diffusers", "dora"),
]


@pytest.mark.parametrize(("family", "layout", "kind"), THEIRS)
def test_diffusers_loads_the_same_change(
    family: str, layout: catalog.Layout, kind: str, folders, tmp_path: Path
) -> None:
    skeleton = load_components(family, folders(family))
    adapter = trained(family, load_components(family, folders(family)), kind=kind)
    pipe = DiffusionPipeline.from_pretrained(folders(family), safety_checker=None)
    pipe.load_lora_weights(saved(tmp_path / "lora.safetensors", adapter, skeleton, layout))
    theirs = {
        f"{component}.{name}": tuner
        for component in skeleton
        for name, tuner in getattr(pipe, component).named_modules()
        if isinstance(tuner, PeftLayer)
    }
    assert theirs.keys() == set(adapter.names())
    for name, tuner in theirs.items():
        layer = of_peft(tuner)
        torch.testing.assert_close(layer.delta(adapter.weight(name)), adapter.delta(name), **CLOSE, msg=name)


def of_peft(tuner: PeftLayer) -> LoraLayer:
    (name,) = tuner.lora_A
    magnitude = tuner.lora_magnitude_vector[name].weight.detach().flatten() if tuner.lora_magnitude_vector else None
    down, up = tuner.lora_A[name].weight.detach(), tuner.lora_B[name].weight.detach()
    return LoraLayer(down, up, tuner.scaling[name], magnitude)


# Layers that are one in the original


@pytest.fixture
def flux(folders) -> dict:
    return load_components("flux", folders("flux"))


def random_layer(out: int, into: int, rank: int, scale: float) -> LoraLayer:
    return LoraLayer(torch.randn(rank, into), torch.randn(out, rank), scale)


BLOCK = "transformer.single_transformer_blocks.0"


@pytest.mark.parametrize(
    "parts",
    [
        {"attn.to_q": (4, 1.0)},
        {"attn.to_q": (4, 1.0), "attn.to_v": (4, 1.0), "proj_mlp": (4, 1.0)},
        {"attn.to_q": (1, 1.0), "attn.to_k": (3, 1.0), "attn.to_v": (8, 1.0), "proj_mlp": (4, 1.0)},
        {"attn.to_q": (2, 0.5), "attn.to_k": (2, 2.0)},
    ],
    ids=["one of four", "three of four", "unequal ranks", "unequal scales"],
)
@pytest.mark.parametrize("layout", ["kohya", "comfyui"])
def test_parts_of_one_original_layer_keep_their_ranks_and_their_change(
    layout: catalog.Layout, parts: dict, flux: dict, tmp_path: Path
) -> None:
    shapes = layer_shapes(flux)
    layers: Layers = {
        f"{BLOCK}.{part}": random_layer(*shapes[f"{BLOCK}.{part}"], rank, scale)
        for part, (rank, scale) in parts.items()
    }
    found = read_lora(write(tmp_path / "lora.safetensors", tensors_of(layers, flux, layout)), flux)
    assert {name: layer.rank for name, layer in found.items()} == {name: one.rank for name, one in layers.items()}
    for name, layer in layers.items():
        torch.testing.assert_close(found[name].delta(), layer.delta(), rtol=1e-5, atol=1e-5)


def test_untrained_part_of_an_original_layer_gets_rows_of_zeros(flux: dict) -> None:
    width = layer_shapes(flux)[f"{BLOCK}.attn.to_q"][0]
    layers = {f"{BLOCK}.attn.to_k": random_layer(width, width, 2, 1.0)}
    up = tensors_of(layers, flux, "kohya")["lora_unet_single_blocks_0_linear1.lora_up.weight"]
    assert up.shape == (3 * width + 4 * width, 4 * 2), "each of the four parts has its share of the rank"
    assert up[width : 2 * width, 2:4].any() and not up[:width].any() and not up[2 * width :].any()


def test_layer_that_was_trained_as_one_is_split_with_a_common_down(flux: dict, tmp_path: Path) -> None:
    width = layer_shapes(flux)[f"{BLOCK}.attn.to_q"][0]
    down, up = torch.randn(3, width), torch.randn(7 * width, 3)
    stem = "lora_unet_single_blocks_0_linear1"
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(6.0)}
    found = read_lora(write(tmp_path / "lora.safetensors", tensors), flux)
    rows = torch.cat([found[f"{BLOCK}.{part}"].delta() for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")])
    torch.testing.assert_close(rows, 2.0 * up @ down, rtol=1e-5, atol=1e-5)


def test_dora_on_a_part_of_an_original_layer_needs_the_base(flux: dict, folders, tmp_path: Path) -> None:
    """The other rows keep the lengths that they have in the base, so they are left as they are."""
    adapter = trained("flux", load_components("flux", folders("flux")), "all", kind="dora")
    naming, shapes = naming_of(flux), layer_shapes(flux)
    with pytest.raises(AtelierError, match=r"proj_mlp has no magnitude.*--base"):
        write_layers(adapter.layers(), naming, shapes, "kohya", torch.float32)
    base = load_components("flux", folders("flux"))

    def weight(name: str) -> torch.Tensor:
        component, _, module = name.partition(".")
        return base[component].get_submodule(module).weight

    tensors = write_layers(adapter.layers(), naming, shapes, "kohya", torch.float32, weight)
    found = read_lora(write(tmp_path / "lora.safetensors", tensors), flux)
    for name, layer in found.items():
        wanted = adapter.delta(name) if name in adapter.names() else torch.zeros(layer.shape)
        torch.testing.assert_close(layer.delta(weight(name)), wanted, **CLOSE, msg=name)


@pytest.mark.parametrize("name", ["norm_out.linear", "transformer_blocks.2.norm1_context.linear"])
def test_scale_and_shift_change_places_in_the_original(name: str, folders, tmp_path: Path) -> None:
    """diffusers has scale, shift; the original has shift, scale: the rows of the file's second half come first."""
    sd3 = load_components("sd3", folders("sd3"))
    out, into = layer_shapes(sd3)[f"transformer.{name}"]
    layers = {f"transformer.{name}": random_layer(out, into, 2, 1.0)}
    tensors = tensors_of(layers, sd3, "comfyui")
    (up,) = (tensor for key, tensor in tensors.items() if key.endswith("lora_B.weight"))
    assert torch.equal(up[: out // 2], layers[f"transformer.{name}"].up[out // 2 :])
    found = read_lora(write(tmp_path / "lora.safetensors", tensors), sd3)
    torch.testing.assert_close(found[f"transformer.{name}"].delta(), layers[f"transformer.{name}"].delta())
