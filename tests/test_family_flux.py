"""The FLUX family against diffusers' own pipeline, on small random weights in the real classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from tests.tiny import make_flux
from trainers import catalog
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.config import Model
from trainers.families.base import Conditioning, Runtime, SampleRequest
from trainers.families.flux import Family

PROMPTS = ["a red circle on the left, white background", "zota"]
KINDS = {
    "dev": {"guidance_embeds": True, "dynamic_shift": True},
    "schnell": {"guidance_embeds": False, "dynamic_shift": False},
}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux(tmp_path_factory.mktemp(request.param), **KINDS[request.param])


def make_family(folder: Path, **runtime: object) -> Family:
    settings = {"device": torch.device("cpu"), "dtype": torch.float32, **runtime}
    spec, model = catalog.FAMILIES["flux"], catalog.model_of("sandbox", "flux")
    return Family(Model(base=str(folder), guidance=2.5), spec, model, Runtime(**settings))


@pytest.fixture
def family(folder: Path) -> Family:
    family = make_family(folder)
    for part in ("vae", "text", "denoiser"):
        family.load(part)
    return family


@pytest.fixture
def pipe(folder: Path) -> FluxPipeline:
    pipe = FluxPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_prompt_encoding_equals_the_pipelines(family: Family, pipe: FluxPipeline) -> None:
    words, pooled, _ = pipe.encode_prompt(PROMPTS, max_sequence_length=20)
    mine = family.encode_prompt(PROMPTS)
    torch.testing.assert_close(mine["words"], words)
    torch.testing.assert_close(mine["pooled"], pooled)


def test_latents_are_what_the_pipeline_decodes(family: Family, pipe: FluxPipeline) -> None:
    pixels = torch.rand(2, 3, 64, 32) * 2 - 1
    latents = family.encode_image(pixels)
    assert latents.shape == (2, 16, 8, 4) and latents.dtype == torch.float32
    config = pipe.vae.config
    undone = latents / config.scaling_factor + config.shift_factor  # the pipeline's line before decode
    torch.testing.assert_close(undone, pipe.vae.encode(pixels).latent_dist.mode())


@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
def test_predict_and_one_euler_step_is_the_pipelines_own_step(
    family: Family, pipe: FluxPipeline, size: tuple[int, int]
) -> None:
    """Catches sign, scale, timestep, guidance, packing and position ids at once."""
    height, width = size
    rows, columns = height // 8, width // 8
    cond = family.encode_prompt(PROMPTS)
    noise = torch.randn(2, 16, rows, columns, generator=torch.Generator().manual_seed(3))
    seen = []

    def remember(pipe: FluxPipeline, index: int, time: torch.Tensor, values: dict) -> dict:
        seen.append(values["latents"])
        return values

    pipe(
        prompt_embeds=cond["words"],
        pooled_prompt_embeds=cond["pooled"],
        latents=FluxPipeline._pack_latents(noise, 2, 16, rows, columns),
        height=height,
        width=width,
        num_inference_steps=3,
        guidance_scale=2.5,
        output_type="latent",
        callback_on_step_end=remember,
    )
    z = noise
    for index, theirs in enumerate(seen):
        now, after = pipe.scheduler.sigmas[index], pipe.scheduler.sigmas[index + 1]
        z = z + (after - now) * family.predict(z, now.expand(2), cond)
        mine = FluxPipeline._pack_latents(z, 2, 16, rows, columns)
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_shift_equals_the_schedulers(family: Family, pipe: FluxPipeline) -> None:
    """A shifted sigma is the pipeline's: sigma' = S s / (1 + (S - 1) s)."""
    latents = torch.zeros(1, 64 * 64 // 4, 64)
    pipe(
        prompt_embeds=torch.zeros(1, 4, 64),
        pooled_prompt_embeds=torch.zeros(1, 64),
        latents=latents,
        height=512,
        width=512,
        num_inference_steps=2,
        output_type="latent",
    )
    shift = family.shift(64, 64)
    torch.testing.assert_close(pipe.scheduler.sigmas[1].item(), shift * 0.5 / (1 + (shift - 1) * 0.5))


def test_published_shift_at_1024_is_3_158(folder: Path) -> None:
    family = make_family(folder)
    if family._scheduler.config.use_dynamic_shifting:
        assert family.shift(128, 128) == pytest.approx(3.158, abs=1e-3)  # exp(1.15)
        assert family.shift(64, 64) == pytest.approx(1.878, abs=1e-3)  # exp(0.63)
    else:
        assert family.shift(128, 128) == 1.0


def test_sample_equals_the_pipelines_picture(family: Family, pipe: FluxPipeline) -> None:
    cond = family.encode_prompt(PROMPTS[:1])
    request = SampleRequest(cond, seeds=(5,), width=64, height=64, steps=2, guidance=3.0)
    theirs = pipe(
        PROMPTS[0],
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=3.0,
        max_sequence_length=20,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    assert family.sample(request)[0].tobytes() == theirs.tobytes()


def test_parts_load_and_unload_one_by_one(folder: Path) -> None:
    family = make_family(folder)
    with pytest.raises(RuntimeError, match="text is not loaded"):
        family.encode_prompt(["x"])
    family.load("text")
    family.encode_prompt(["x"])
    family.unload("text")
    with pytest.raises(RuntimeError):
        family.encode_prompt(["x"])


@pytest.mark.parametrize("scope", [name for name in catalog.FAMILIES["flux"].targets if name not in ("tiny", "nano")])
def test_every_target_set_finds_layers(family: Family, scope: str) -> None:
    adapter = Adapter(family.denoiser, AdapterConfig(rank=2, alpha=2.0), family.lora_targets(scope), seed=0)
    assert adapter.layers()
    assert not any(name.startswith("proj_out") for name in adapter.state())  # the model's last layer is never meant


def test_fp8_storage_trains_like_full_precision(folder: Path) -> None:
    """Stored in 8 bits, computed in 32: the same gradient up to the rounding of weights; checkpointing adds none."""
    gradients = []
    for quantize, checkpointing in (("none", False), ("fp8", False), ("fp8", True)):
        family = make_family(folder, quantize=quantize, gradient_checkpointing=checkpointing)
        family.load("denoiser")
        adapter = Adapter(family.denoiser, AdapterConfig(rank=2, alpha=2.0), family.lora_targets("all"), seed=0)
        generator = torch.Generator().manual_seed(1)
        noisy = torch.randn(1, 16, 4, 4, generator=generator)
        cond = Conditioning(
            {"words": torch.randn(1, 5, 64, generator=generator), "pooled": torch.randn(1, 64, generator=generator)}
        )
        family.predict(noisy, torch.tensor([0.5]), cond).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in adapter.parameters() if p.grad is not None]))
        stored = {p.dtype for name, p in family.denoiser.named_parameters() if name.endswith("to_q.base_layer.weight")}
        assert stored == {torch.float8_e4m3fn if quantize == "fp8" else torch.float32}
    full, eight, eight_checkpointed = gradients
    torch.testing.assert_close(eight, eight_checkpointed)
    assert torch.nn.functional.cosine_similarity(full, eight, dim=0) > 0.95
