"""Every family against diffusers' own pipeline, on small random weights in the real classes.

A new family is a row of FAMILIES in `trainers.catalog`, one maker in `tests.tiny` and one entry in `ORACLES`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler, FluxPipeline
from torch import Tensor

from tests.tiny import MAKERS
from tests.training import make_bench
from trainers import catalog
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.families import load_family
from trainers.families.base import Conditioning, ModelFamily, SampleRequest

FAMILIES = tuple(catalog.FAMILIES)
PROMPTS = ["a red circle on the left, white background", "zota"]
SIZE = (64, 96)  # height, width: not square, so that a swap shows
GUIDANCE = 2.5


@pytest.fixture(scope="module", params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[name](tmp_path_factory.mktemp(name))


def open_family(folder: Path, place: Path, **sections: dict[str, Any]) -> ModelFamily:
    bench = make_bench(place, folder, place, **{"model": {"base": str(folder)}, **sections})
    family = load_family(bench.config, bench.runtime)
    for part in ("vae", "text", "denoiser"):
        family.load(part)
    return family


@pytest.fixture
def family(name: str, folder: Path, tmp_path: Path) -> ModelFamily:
    model = {"base": str(folder), **({"guidance": GUIDANCE} if name == "flux" else {})}
    return open_family(folder, tmp_path, model=model)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    """The pipeline with the sampler that previews use."""
    pipe = DiffusionPipeline.from_pretrained(folder)
    if "unet" in pipe.components:
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


# --------------------------------------------------------------------------- what each pipeline does


def encoded(name: str, pipe: Any) -> dict[str, Tensor]:
    """The pipeline's own encoding of PROMPTS, by the names that the family gives."""
    if name == "flux":
        words, pooled, _ = pipe.encode_prompt(PROMPTS, max_sequence_length=512)
        return {"words": words, "pooled": pooled}
    if name == "sd15":
        return {"words": pipe.encode_prompt(PROMPTS, "cpu", 1, False)[0]}
    if name == "sdxl":
        words, _, pooled, _ = pipe.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
        return {"words": words, "pooled": pooled}
    words, _, pooled, _ = pipe.encode_prompt(PROMPTS, PROMPTS, PROMPTS, do_classifier_free_guidance=False)
    return {"words": words, "pooled": pooled}


def packed(name: str, latents: Tensor) -> Tensor:
    return FluxPipeline._pack_latents(latents, *latents.shape) if name == "flux" else latents


def own_steps(name: str, pipe: Any, cond: Conditioning, noise: Tensor, count: int) -> list[Tensor]:
    """Latents after each step of the pipeline, without real guidance."""
    seen = []

    def remember(pipe: Any, index: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen.append(values["latents"])
        return values

    pooled = {"pooled_prompt_embeds": cond["pooled"]} if "pooled" in cond.tensors else {}
    pipe(
        prompt_embeds=cond["words"],
        latents=packed(name, noise),
        height=SIZE[0],
        width=SIZE[1],
        num_inference_steps=count,
        guidance_scale=GUIDANCE if name == "flux" else 1.0,
        output_type="latent",
        callback_on_step_end=remember,
        **pooled,
    )
    return seen


def framed(family: ModelFamily, cond: Conditioning) -> Conditioning:
    """As the pipeline frames a picture of SIZE: its own size, nothing cut."""
    return family.framed(cond, torch.tensor([[*SIZE, 0, 0, *SIZE]] * len(cond), dtype=torch.float32))


# --------------------------------------------------------------------------- the checks


def test_prompt_encoding_equals_the_pipelines(name: str, family: ModelFamily, pipe: Any) -> None:
    mine = family.encode_prompt(PROMPTS)
    theirs = encoded(name, pipe)
    assert mine.tensors.keys() == theirs.keys()
    for key, tensor in theirs.items():
        torch.testing.assert_close(mine[key], tensor, msg=key)


def test_latents_are_what_the_pipeline_decodes(family: ModelFamily, pipe: Any) -> None:
    pixels = torch.rand(2, 3, 64, 32) * 2 - 1
    latents = family.encode_image(pixels)
    assert latents.shape == (2, family.latent_channels, 8, 4) and latents.dtype == torch.float32
    config = pipe.vae.config
    undone = latents / config.scaling_factor + (config.shift_factor or 0)  # the pipeline's line before decode
    torch.testing.assert_close(undone, pipe.vae.encode(pixels).latent_dist.mode())


def test_predict_and_one_scheduler_step_is_the_pipelines_own_step(name: str, family: ModelFamily, pipe: Any) -> None:
    """Catches sign, scale, timestep, guidance, packing, sizes and position ids at once: at every step of three."""
    rows, columns = SIZE[0] // 8, SIZE[1] // 8
    noise = torch.randn(2, family.latent_channels, rows, columns, generator=torch.Generator().manual_seed(3))
    cond = family.encode_prompt(PROMPTS)
    theirs = own_steps(name, pipe, cond, noise, 3)
    scheduler = pipe.scheduler
    times = scheduler.timesteps.clone()
    if "unet" in pipe.components:
        scheduler.set_timesteps(3)
        z = noise * scheduler.init_noise_sigma
    else:
        scheduler = type(scheduler).from_config(scheduler.config)
        mu = torch.tensor(family.shift(rows, columns)).log().item() if name == "flux" else None
        scheduler.set_timesteps(3, mu=mu, **({"sigmas": [1.0, 2 / 3, 1 / 3]} if name == "flux" else {}))
        z = noise
    torch.testing.assert_close(scheduler.timesteps, times)
    for index, time in enumerate(times):
        if "unet" in pipe.components:
            sigma = family.process.sigma_of(time.round()).expand(2)
            raw = family.predict(scheduler.scale_model_input(z, time), sigma, framed(family, cond))
        else:
            raw = family.predict(z, scheduler.sigmas[index].expand(2), framed(family, cond))
        z = scheduler.step(raw, time, z, return_dict=False)[0]
        assert (packed(name, z) - theirs[index]).abs().max() < 1e-5


def test_sample_equals_the_pipelines_picture(name: str, family: ModelFamily, pipe: Any) -> None:
    cond, negative = family.encode_prompt(PROMPTS[:1]), family.encode_prompt(["blue"])
    more = {"max_sequence_length": 512} if name == "flux" else {"negative_prompt": "blue"}
    if name == "sd3":
        more["max_sequence_length"] = 256
    theirs = pipe(
        PROMPTS[0],
        height=SIZE[0],
        width=SIZE[1],
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(5),
        **more,
    ).images[0]
    request = SampleRequest(cond, (5,), SIZE[1], SIZE[0], steps=2, guidance=3.0, negative=negative)
    assert family.sample(request)[0].tobytes() == theirs.tobytes()


def loss_by_hand(name: str, family: ModelFamily, x0: Tensor, eps: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
    """The published formula of the family, written out here. sigma: of a flow, or the share of 1000 timesteps."""
    if name in ("flux", "sd3"):
        z = (1 - sigma)[:, None, None, None] * x0 + sigma[:, None, None, None] * eps
        truth = eps - x0
    else:  # scaled linear betas from 0.00085 to 0.012; eps
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        abar = (1 - betas).cumprod(0)[(sigma * 1000).long()].float()[:, None, None, None]
        z, truth = abar.sqrt() * x0 + (1 - abar).sqrt() * eps, eps
    return ((family.predict(z, sigma, cond) - truth) ** 2).mean(dim=(1, 2, 3))


def test_loss_equals_the_reference_formula(name: str, family: ModelFamily) -> None:
    from trainers.objectives.base import Denoiser

    rng = torch.Generator().manual_seed(1)
    x0, eps = (torch.randn(2, family.latent_channels, 8, 12, generator=rng) for _ in range(2))
    sigma = torch.tensor([0.2505, 0.9005])
    cond = framed(family, family.encode_prompt(PROMPTS))
    adapter = Adapter(family.adapted(), AdapterConfig(rank=2, alpha=2.0), family.lora_targets("all"), seed=0)
    with torch.no_grad():
        mine = Denoiser(family, adapter).error(x0, cond, eps, sigma)
        torch.testing.assert_close(mine, loss_by_hand(name, family, x0, eps, sigma, cond), rtol=1e-5, atol=1e-6)


def test_parts_load_and_unload_one_by_one(folder: Path, tmp_path: Path) -> None:
    family = open_family(folder, tmp_path)
    family.unload("text")
    with pytest.raises(RuntimeError, match="not loaded"):
        family.encode_prompt(["x"])
    family.load("text")
    family.encode_prompt(["x"])
    family.unload("denoiser")
    with pytest.raises(RuntimeError, match="not loaded"):
        _ = family.denoiser


@pytest.mark.parametrize("scope", sorted({scope for spec in catalog.FAMILIES.values() for scope in spec.targets}))
def test_every_target_set_finds_layers(name: str, folder: Path, tmp_path: Path, scope: str) -> None:
    if scope not in catalog.FAMILIES[name].targets or scope in ("tiny", "nano"):
        return  # of another family, or for blocks that the small model does not have
    family = open_family(folder, tmp_path)
    adapter = Adapter(family.adapted(), AdapterConfig(rank=2, alpha=2.0), family.lora_targets(scope), seed=0)
    assert adapter.names()
    first = f"{catalog.FAMILIES[name].denoiser}.proj_out"
    assert not any(one.startswith(first) for one in adapter.names())  # the model's last layer is never meant
