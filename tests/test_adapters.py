"""LoRA and DoRA on models: nothing at the start, gone when off, and a change that can be told."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.loras import disturb, load_components, random_layers, targets, trained
from tests.tiny import MAKERS
from tests.training import make_bench
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.errors import AtelierError, ConfigError
from trainers.families import load_family
from trainers.families.base import ModelFamily, SampleRequest
from trainers.lora.layers import LoraLayer
from trainers.lora.shapes import layer_shapes
from trainers.objectives.base import Denoiser

KINDS = ["lora", "dora"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    return cache(lambda family: MAKERS[family](tmp_path_factory.mktemp(family)))


@pytest.fixture
def family(folders, tmp_path: Path) -> ModelFamily:
    bench = make_bench(tmp_path, folders("flux"), tmp_path)
    family = load_family(bench.config, bench.runtime)
    for part in ("vae", "text", "denoiser"):
        family.load(part)
    return family


def attach(family: ModelFamily, **settings: object) -> Adapter:
    config = AdapterConfig(**{"rank": 4, "alpha": 8.0, **settings})
    return Adapter(family.adapted(), config, family.lora_targets("all"), seed=0)


def picture(family: ModelFamily) -> np.ndarray:
    cond = family.encode_prompt(["a red circle"])
    return np.asarray(family.sample(SampleRequest(cond, (3,), 64, 64, steps=2, guidance=3.5))[0]).astype(int)


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_adapter_and_disabled_adapter_are_the_base_bit_for_bit(kind: str, family: ModelFamily) -> None:
    plain = picture(family)
    adapter = attach(family, kind=kind)
    assert (picture(family) == plain).all()
    disturb(adapter, by=0.3)
    assert (picture(family) != plain).any()
    with adapter.disabled():
        assert (picture(family) == plain).all()
    assert (picture(family) != plain).any()


def outputs(modules: dict[str, nn.Module], dtype: torch.dtype) -> list[Tensor]:
    """What the UNet and the text encoder of SD 1.5 make of fixed inputs, as they are trained in this number format."""
    generator = torch.Generator().manual_seed(0)
    x, words = (torch.randn(size, generator=generator).to(dtype) for size in ((1, 4, 8, 8), (1, 5, 32)))
    ids = torch.tensor([[0, 5, 6, 2]])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        return [modules["unet"](x, 3, words).sample, modules["text_encoder"](ids).last_hidden_state]


@pytest.mark.parametrize(
    ("kind", "dtype"), [("lora", torch.float32), ("dora", torch.float32), ("dora", torch.bfloat16)]
)
def test_convolutions_and_text_encoders_start_and_switch_off_bit_for_bit(
    kind: str, dtype: torch.dtype, folders
) -> None:
    """In half precision under autocast too: a magnitude is compared with lengths in fp32."""
    modules = {name: module.to(dtype) for name, module in load_components("sd15", folders("sd15")).items()}
    plain = outputs(modules, dtype)
    config = AdapterConfig(rank=4, alpha=8.0, kind=kind)
    adapter = Adapter(modules, config, targets("sd15", modules), seed=0)
    assert all(map(torch.equal, plain, outputs(modules, dtype)))
    disturb(adapter)
    moved = outputs(modules, dtype)
    assert not any(map(torch.equal, plain, moved))
    with adapter.disabled():
        assert all(map(torch.equal, plain, outputs(modules, dtype)))
    with adapter.strength(0.0):
        assert all(map(torch.equal, plain, outputs(modules, dtype)))
    assert all(map(torch.equal, moved, outputs(modules, dtype)))


@pytest.mark.parametrize("strength", [1.0, 0.5, -1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_model_with_the_adapter_is_the_model_with_the_changed_weights(kind: str, strength: float, folders) -> None:
    modules, merged = (load_components("sd15", folders("sd15")) for _ in range(2))
    adapter = trained("sd15", modules, kind=kind)
    for name in adapter.names():
        component, _, module = name.partition(".")
        merged[component].get_submodule(module).weight.data += strength * adapter.delta(name)
    adapter.set_strength(strength)
    for mine, theirs in zip(outputs(modules, torch.float32), outputs(merged, torch.float32), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_attaching_leaves_the_global_random_state_alone(family: ModelFamily) -> None:
    before = torch.random.get_rng_state()
    attach(family)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_is_trained_and_in_fp32(kind: str, folders) -> None:
    modules = {name: module.bfloat16() for name, module in load_components("sd15", folders("sd15")).items()}
    adapter = trained("sd15", modules, kind=kind)
    learned = [p for module in modules.values() for p in module.parameters() if p.requires_grad]
    assert {id(p) for p in learned} == {id(p) for p in adapter.parameters()}
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}


def test_denoiser_and_text_encoders_have_groups_of_their_own(folders) -> None:
    modules = load_components("sdxl", folders("sdxl"))
    groups = trained("sdxl", modules).parameter_groups()
    text = {id(p) for name in ("text_encoder", "text_encoder_2") for p in modules[name].parameters()}
    assert {id(p) for p in groups["text"]} <= text
    assert not {id(p) for p in groups["denoiser"]} & text
    assert len(groups["text"]) == 2 * 2 * 3 * 6


@pytest.mark.parametrize("kind", KINDS)
def test_state_goes_back_and_a_foreign_state_is_refused(kind: str, family: ModelFamily) -> None:
    adapter = attach(family, kind=kind)
    saved = {name: tensor.clone() for name, tensor in adapter.state().items()}
    disturb(adapter)
    adapter.load(saved)
    assert all(torch.equal(saved[name], tensor) for name, tensor in adapter.state().items())
    assert any("lora_magnitude_vector" in name for name in saved) == (kind == "dora")
    with pytest.raises(ValueError, match="do not fit"):
        adapter.load({name: tensor[:1] for name, tensor in saved.items()})


@pytest.mark.parametrize(("ending", "message"), [("to_z", "matches no layer"), ("norm_q", "takes no adapter")])
def test_targets_that_fit_nothing_are_an_error_of_the_config(ending: str, message: str, family: ModelFamily) -> None:
    config = AdapterConfig(rank=4, alpha=4.0, targets=ending)
    with pytest.raises(ConfigError, match=rf"adapter\.targets.*{message}"):
        Adapter({"transformer": family.denoiser}, config, {"transformer": [ending]}, seed=0)


def test_dora_on_a_base_in_8_bits_is_refused(family: ModelFamily) -> None:
    family.denoiser.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    with pytest.raises(ConfigError, match=r"memory\.quantize.*8 bits"):
        attach(family, kind="dora")
    attach(family, kind="lora")


# Going on from layers


@pytest.mark.parametrize("kind", KINDS)
def test_adapter_like_another_does_the_same_on_the_same_layers(kind: str, folders) -> None:
    first, second = (load_components("sd15", folders("sd15")) for _ in range(2))
    adapter = trained("sd15", first, kind=kind)
    again = Adapter(second, AdapterConfig(kind=kind), {}, seed=5, like=adapter.layers())
    assert again.names() == adapter.names() and again.kind == kind
    assert all(map(torch.equal, outputs(first, torch.float32), outputs(second, torch.float32)))


def test_each_layer_keeps_its_own_rank_and_scale(folders) -> None:
    modules = load_components("flux", folders("flux"))
    names = ["transformer.proj_out", "transformer.single_transformer_blocks.0.proj_out", "transformer.x_embedder"]
    shapes = layer_shapes(modules)
    layers = {}
    for name, rank, scale in zip(names, (2, 3, 5), (1.0, 0.5, 2.0), strict=True):
        layers |= random_layers(shapes, [name], rank, scale)
    adapter = Adapter(modules, AdapterConfig(), {}, seed=0, like=layers)
    assert set(adapter.names()) == set(names)
    for name, layer in layers.items():
        assert (adapter.layer(name).rank, adapter.layer(name).scale) == (layer.rank, layer.scale)
        torch.testing.assert_close(adapter.delta(name), layer.delta())


def test_another_alpha_than_that_of_the_layers_changes_nothing_that_they_do(folders) -> None:
    """Rank 2 at scale 1 is alpha 2; alpha 8 makes the scale 4 and the weights a quarter."""
    modules = load_components("flux", folders("flux"))
    layers = random_layers(layer_shapes(modules), ["transformer.x_embedder"], rank=2)
    adapter = Adapter(modules, AdapterConfig(rank=2, alpha=8.0), {}, seed=0, like=layers)
    layer = adapter.layer("transformer.x_embedder")
    assert layer.scale == 4.0
    torch.testing.assert_close(layer.up, layers["transformer.x_embedder"].up / 4)
    torch.testing.assert_close(adapter.delta("transformer.x_embedder"), layers["transformer.x_embedder"].delta())


def test_dora_that_goes_on_from_a_lora_begins_with_what_the_lora_does(folders) -> None:
    modules = load_components("sd15", folders("sd15"))
    names = ["unet.mid_block.attentions.0.proj_in", "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.2"]
    layers = random_layers(layer_shapes(modules), names, rank=2)
    adapter = Adapter(modules, AdapterConfig(kind="dora"), {}, seed=0, like=layers)
    assert adapter.kind == "dora"
    for name, layer in layers.items():
        torch.testing.assert_close(adapter.delta(name), layer.delta(), rtol=1e-4, atol=1e-5)


def test_layers_of_a_part_that_is_not_there_are_refused(folders) -> None:
    modules = load_components("sd15", folders("sd15"))
    layers = {"text_encoder_9.fc": LoraLayer(torch.ones(1, 2), torch.ones(2, 1))}
    with pytest.raises(AtelierError, match=r"parts that take no adapter here, first text_encoder_9\.fc"):
        Adapter(modules, AdapterConfig(), {}, seed=0, like=layers)


# In the loss


def test_error_with_a_mask_and_against_the_reference(family: ModelFamily) -> None:
    """A mask of ones changes nothing; zeros take their places out; the reference is the base without the adapter."""
    adapter = attach(family)
    disturb(adapter, by=0.3)
    denoiser = Denoiser(family, adapter)
    generator = torch.Generator().manual_seed(2)
    latents, noise = (torch.randn(2, 16, 4, 4, generator=generator) for _ in range(2))
    cond, sigma = family.encode_prompt(["a", "b"]), torch.tensor([0.3, 0.8])
    with torch.no_grad():
        plain = denoiser.error(latents, cond, noise, sigma)
        ones = torch.ones(2, 1, 4, 4)
        torch.testing.assert_close(denoiser.error(latents, cond, noise, sigma, ones), plain)
        left, right = ones.clone(), ones.clone()
        left[..., 2:], right[..., :2] = 0, 0
        halves = [denoiser.error(latents, cond, noise, sigma, half) for half in (left, right)]
        torch.testing.assert_close(sum(halves) / 2, plain)
        assert not torch.allclose(*halves)
        reference = denoiser.error(latents, cond, noise, sigma, reference=True)
        assert not torch.allclose(reference, plain)
        with adapter.disabled():
            torch.testing.assert_close(denoiser.error(latents, cond, noise, sigma), reference, rtol=0, atol=0)
