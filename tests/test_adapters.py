"""LoRA on a model: zero at the start, gone when off, the same strength in every program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from PIL import Image

from tests.tiny import make_flux
from tests.training import make_bench
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.errors import AtelierError, ConfigError
from trainers.export import adapter_tensors, save_adapter
from trainers.families.base import SampleRequest
from trainers.families.flux import Family
from trainers.objectives.base import Denoiser


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux(tmp_path_factory.mktemp("base"))


@pytest.fixture
def family(base: Path, tmp_path: Path) -> Family:
    from trainers.families import load_family

    bench = make_bench(tmp_path, base, tmp_path)
    family = load_family(bench.config, bench.runtime)
    for part in ("vae", "text", "denoiser"):
        family.load(part)
    return family


def attach(family: Family, **settings: object) -> Adapter:
    config = AdapterConfig(**{"rank": 4, "alpha": 8.0, **settings})
    return Adapter(family.denoiser, config, family.lora_targets("all"), seed=0)


def disturb(adapter: Adapter) -> None:
    """Weights as after some training: lora_B is no longer zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in adapter.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)


def picture(family: Family) -> np.ndarray:
    cond = family.encode_prompt(["a red circle"])
    return np.asarray(family.sample(SampleRequest(cond, (3,), 64, 64, steps=2, guidance=3.5))[0]).astype(int)


def test_fresh_adapter_and_disabled_adapter_are_the_base_bit_for_bit(family: Family) -> None:
    plain = picture(family)
    adapter = attach(family)
    assert (picture(family) == plain).all()
    disturb(adapter)
    assert (picture(family) != plain).any()
    with adapter.disabled():
        assert (picture(family) == plain).all()
    assert (picture(family) != plain).any()


def test_attaching_leaves_the_global_random_state_alone(family: Family) -> None:
    before = torch.random.get_rng_state()
    attach(family)
    assert torch.equal(before, torch.random.get_rng_state())


def test_only_the_adapter_is_trained_and_in_fp32(family: Family) -> None:
    adapter = attach(family)
    trained = {name for name, p in family.denoiser.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}


def test_state_goes_back_and_a_foreign_state_is_refused(family: Family) -> None:
    adapter = attach(family)
    saved = {name: tensor.clone() for name, tensor in adapter.state().items()}
    disturb(adapter)
    adapter.load(saved)
    assert all(torch.equal(saved[name], tensor) for name, tensor in adapter.state().items())
    with pytest.raises(ValueError, match="do not fit"):
        adapter.load({name: tensor[:1] for name, tensor in saved.items()})


def test_targets_that_match_nothing_are_an_error_of_the_config(family: Family) -> None:
    with pytest.raises(ConfigError, match=r"adapter\.targets.*matches no layer"):
        Adapter(family.denoiser, AdapterConfig(rank=4, alpha=4.0, targets="to_z"), ["to_z"], seed=0)


PROGRAM = """
import sys, torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(sys.argv[1])
pipe.load_lora_weights(sys.argv[2])
pipe("a red circle", width=64, height=64, num_inference_steps=2, max_sequence_length=512,
     generator=torch.Generator().manual_seed(3)).images[0].save(sys.argv[3])
"""


def test_file_draws_the_same_in_a_fresh_diffusers_process(family: Family, base: Path, tmp_path: Path) -> None:
    """alpha is twice the rank, so a program that reads no alpha would draw at half strength if it were not baked in."""
    adapter = attach(family)
    disturb(adapter)
    bench = make_bench(tmp_path, base, tmp_path, save={"dtype": "fp32", "every_steps": 0})
    save_adapter(tmp_path / "lora.safetensors", adapter, family, bench.config, steps=7, pictures=3)
    out = tmp_path / "theirs.png"
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(base), str(tmp_path / "lora.safetensors"), str(out)],
        check=True,
        capture_output=True,
    )
    assert np.abs(np.asarray(Image.open(out)).astype(int) - picture(family)).max() <= 1


def test_file_says_what_it_is_and_nothing_of_the_machine(family: Family, base: Path, tmp_path: Path) -> None:
    bench = make_bench(tmp_path, base, tmp_path, captions={"trigger": "zota"})
    path = tmp_path / "lora.safetensors"
    save_adapter(path, attach(family), family, bench.config, steps=7, pictures=3)
    with safetensors.safe_open(path, framework="pt") as file:
        facts = file.metadata()
        assert all(name.startswith("transformer.") for name in file.keys())  # noqa: SIM118
        assert file.get_tensor(next(iter(file.keys()))).dtype == torch.bfloat16
    assert facts["atelier.trigger"] == "zota" and facts["atelier.steps"] == "7" and facts["ss_network_dim"] == "4"
    assert len(facts["atelier.config_hash"]) == 16
    assert not any("/" in value for key, value in facts.items() if key != "modelspec.architecture")


def test_numbers_too_large_for_the_file_are_refused(family: Family) -> None:
    adapter = attach(family)
    adapter.parameters()[0].data[0, 0] = 1e6
    assert adapter_tensors(adapter, family, torch.bfloat16)
    with pytest.raises(AtelierError, match="not finite"):
        adapter_tensors(adapter, family, torch.float16)


def test_error_with_a_mask_and_against_the_reference(family: Family) -> None:
    """A mask of ones changes nothing; zeros take their places out; the reference is the base without the adapter."""
    adapter = attach(family)
    disturb(adapter)
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
