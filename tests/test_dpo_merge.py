"""A LoRA in the base and an adapter on top: one file that does the same on the plain base."""

from __future__ import annotations

import copy
import math
from functools import cache
from pathlib import Path

import pytest
import safetensors
import torch
from torch import Tensor, nn

from tests.loras import disturb, load_components, targets, trained
from tests.preference_pairs import PairBench, pair_bench
from tests.tiny import MAKERS
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.errors import ConfigError
from trainers.export import save_adapter
from trainers.families import load_family
from trainers.lora.file import save_layers
from trainers.lora.layers import Layers, LoraLayer
from trainers.lora.merge import combined, merge
from trainers.lora.read import read_lora

KINDS = ["lora", "dora"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    return cache(lambda family: MAKERS[family](tmp_path_factory.mktemp(family)))


def weight_of(modules: dict[str, nn.Module], name: str) -> Tensor:
    component, _, module = name.partition(".")
    return modules[component].get_submodule(module).weight.detach()


@pytest.mark.parametrize("kind", KINDS)
def test_merged_base_is_the_base_with_the_adapter(kind: str, folders) -> None:
    """To the last bits of fp32, on linear layers, convolutions and text encoders."""
    modules = load_components("sd15", folders("sd15"))
    plain = copy.deepcopy(modules)
    adapter = trained("sd15", modules, kind=kind)
    merged = merge(adapter.layers(), plain)
    assert (merged.turned.keys() == adapter.layers().keys()) is (kind == "dora")
    for name, layer in adapter.layers().items():
        before = adapter.weight(name)
        torch.testing.assert_close(weight_of(plain, name), before + layer.delta(before))


@pytest.mark.parametrize("upper", KINDS)
@pytest.mark.parametrize("lower", KINDS)
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_combined_layers_do_on_the_plain_base_what_both_do(family: str, lower: str, upper: str, folders) -> None:
    """Each on other layers too: those that only one of them has stay, with any kinds, ranks and scales."""
    modules = load_components(family, folders(family))
    plain, base = copy.deepcopy(modules), copy.deepcopy(modules)
    below = _without_some(trained(family, modules, kind=lower, rank=3, alpha=7.0).layers(), 0)
    merged = merge(below, base)
    over = Adapter(base, AdapterConfig(kind=upper, rank=5, alpha=2.0), targets(family, base), seed=4, below=merged)
    disturb(over)
    file = combined(merged, _without_some(over.layers(), 1), over.weight)
    assert file.keys() == below.keys() | _without_some(over.layers(), 1).keys()
    for name, layer in file.items():
        before, lies = weight_of(plain, name), over.weight(name)
        meant = lies + over.delta(name) if name in _without_some(over.layers(), 1) else lies
        torch.testing.assert_close(before + layer.delta(before), meant, rtol=1e-5, atol=1e-5)
    ranks = {layer.rank for layer in file.values()}
    assert ranks == {3, 5, 8}


def _without_some(layers: Layers, start: int) -> Layers:
    """All but every fourth."""
    return {name: layer for index, (name, layer) in enumerate(layers.items()) if index % 4 != start}


def test_base_in_8_bits_and_parts_that_are_not_trained_are_refused(folders) -> None:
    modules = load_components("flux", folders("flux"))
    layers = trained("flux", copy.deepcopy(modules)).layers()
    with pytest.raises(ConfigError, match=r"parts that take no adapter here, first text_encoder\."):
        merge(layers, {"transformer": modules["transformer"]})
    modules["transformer"].to(torch.float8_e4m3fn)
    with pytest.raises(ConfigError, match="8 bits"):
        merge(layers, modules)


def test_base_in_half_precision_is_rounded_once() -> None:
    """1 + 2^-8 is between two numbers of bf16; two changes of half a step each would be lost one by one."""
    modules = {"part": nn.ModuleDict({"one": nn.Linear(2, 1, bias=False, dtype=torch.bfloat16)})}
    modules["part"]["one"].weight.data.fill_(1.0)
    step = 2.0**-7
    layer = LoraLayer(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[step / 2, step / 2]]))
    merge({"part.one": layer}, modules)
    assert modules["part"]["one"].weight.tolist() == [[1 + step, 1.0]]  # ties go to even


# A whole run


@pytest.fixture
def sft_file(folders, tmp_path: Path) -> Path:
    """A LoRA as plain training leaves it."""
    bench = pair_bench(tmp_path, folders("flux"), "sft")
    family = load_family(bench.bench.config, bench.bench.runtime)
    family.load("denoiser")
    adapter = Adapter(
        family.adapted(), AdapterConfig(rank=2, alpha=6.0), family.lora_targets("all"), bench.bench.config.run.seed
    )
    disturb(adapter)
    return write(tmp_path / "sft.safetensors", adapter.layers(), family)


def write(path: Path, layers: Layers, family) -> Path:
    save_layers(path, layers, family.skeleton(), "kohya", torch.float32, {})
    return path


def predicted(bench: PairBench, like: Layers | None, below: Layers | None = None) -> Tensor:
    """What a fresh model makes of noise with these layers on it, and those merged into it."""
    family, pairs = bench.prepare()
    family.load("denoiser")
    if below:
        merge(below, family.adapted())
    if like:
        Adapter(family.adapted(), AdapterConfig(), family.lora_targets("all"), 0, like=like)
    noise = torch.randn(1, family.latent_channels, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return family.predict(noise, torch.tensor([0.6]), pairs.rows([0]).cond)


@pytest.mark.parametrize("kind", KINDS)
def test_file_of_a_run_on_a_lora_works_alone_on_the_plain_base(kind: str, sft_file: Path, folders, tmp_path) -> None:
    bench = pair_bench(
        tmp_path,
        folders("flux"),
        objective={"sft_lora": str(sft_file), "sft_weight": 0.0},
        adapter={"kind": kind, "rank": 4},
        optimizer={"learning_rate": 1e-2},
        save={"dtype": "fp32", "every_steps": 0},
    )
    result, (family, _) = bench.train(), bench.prepare()
    first, *_, last = bench.steps()
    assert first.loss == pytest.approx(math.log(2), abs=1e-6) and last.metrics["drift"] > 0
    path = tmp_path / "whole.safetensors"
    save_adapter(path, result.adapter, family, bench.bench.config, result.step, 6)

    sft = read_lora(sft_file, family.skeleton())
    together = predicted(bench, result.adapter.layers(), below=sft)
    alone = predicted(bench, read_lora(path, family.skeleton()))
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)
    for other in (predicted(bench, None), predicted(bench, None, below=sft), predicted(bench, result.adapter.layers())):
        assert (other - together).abs().max() > 1e-3
    with safetensors.safe_open(path, framework="pt") as file:
        facts = file.metadata()
    assert facts["atelier.contains"] == "sft.safetensors" and facts["atelier.objective"] == "dpo"
    assert facts["ss_network_dim"] == "6"


def test_checkpoint_of_such_a_run_holds_the_upper_adapter_alone(sft_file: Path, folders, tmp_path: Path) -> None:
    """Resumed, the LoRA is merged once more, and the steps are those of a run that was not stopped."""
    sections = {"objective": {"sft_lora": str(sft_file)}, "schedule": {"max_steps": 4}}
    whole = pair_bench(tmp_path, folders("flux"), "whole", **sections).train().adapter.state()
    halves = pair_bench(tmp_path, folders("flux"), "halves", **sections)
    halves.train(stop_after=2)
    saved = torch.load(halves.bench.run.latest_checkpoint() / "state.pt", weights_only=True)["adapter"]
    assert {name: one.shape for name, one in saved.items()} == {name: one.shape for name, one in whole.items()}
    resumed = halves.train(resume=True).adapter.state()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
