"""Every family against diffusers' own pipeline, on small random weights in the real classes.

A new family is one maker in `tests.tiny`, its kinds in KINDS, and what its pipeline calls things in the functions
below.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler, FluxPipeline
from torch import Tensor

from tests.tiny import make_flux, make_sd3, make_sd15, make_sdxl
from tests.training import make_bench
from trainers import catalog, resolve
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.export import save_adapter
from trainers.families import load_family
from trainers.families.base import Conditioning, ModelFamily, SampleRequest
from trainers.objectives.base import Denoiser

# kind -> (family, maker, what is special)
KINDS: dict[str, tuple[str, Callable[..., Path], dict[str, Any]]] = {
    "flux-dev": ("flux", make_flux, {}),
    "flux-schnell": ("flux", make_flux, {"guidance_embeds": False, "dynamic_shift": False}),
    "sd15-eps": ("sd15", make_sd15, {}),
    "sd15-v": ("sd15", make_sd15, {"prediction": "v_prediction"}),
    "sdxl-eps": ("sdxl", make_sdxl, {}),
    "sdxl-v-zero-snr": ("sdxl", make_sdxl, {"prediction": "v_prediction", "zero_snr": True}),
    "sd3-medium": ("sd3", make_sd3, {"newer": False}),
    "sd35-medium": ("sd3", make_sd3, {}),
}
FLOWS = ("flux", "sd3")
PROMPTS = ["a red circle on the left, white background", "zota"]
SIZE = (64, 96)  # height, width: not square, so that a swap shows
GUIDANCE = 2.5


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def name(kind: str) -> str:
    return KINDS[kind][0]


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, make, special = KINDS[kind]
    return make(tmp_path_factory.mktemp(kind), **special)


def test_every_family_is_in_the_grid() -> None:
    assert {name for name, _, _ in KINDS.values()} == set(catalog.FAMILIES)


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


def test_predict_and_one_scheduler_step_is_the_pipelines_own_step(
    kind: str, name: str, family: ModelFamily, pipe: Any
) -> None:
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
        mu = math.log(family.shift(rows, columns)) if scheduler.config.use_dynamic_shifting else None
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
        # with zero terminal SNR the first numbers are 4096 times larger than in a picture
        assert (packed(name, z) - theirs[index]).abs().max() < (1e-4 if "zero-snr" in kind else 1e-5)


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
    mine = np.asarray(family.sample(request)[0]).astype(int)
    assert np.abs(mine - np.asarray(theirs)).max() <= 1  # one of 255 grey levels, by the order of sums


def loss_by_hand(kind: str, family: ModelFamily, x0: Tensor, eps: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
    """The published formula of the family, written out here. sigma: of a flow, or the share of 1000 timesteps."""
    if KINDS[kind][0] in FLOWS:
        z = (1 - sigma)[:, None, None, None] * x0 + sigma[:, None, None, None] * eps
        truth = eps - x0
    else:  # scaled linear betas from 0.00085 to 0.012
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        root = (1 - betas).cumprod(0).sqrt()
        if "zero-snr" in kind:  # shifted to end at 0, scaled to begin where it did (Lin et al. 2024, algorithm 1)
            root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        abar = (root**2)[(sigma * 1000).long()].float()[:, None, None, None]
        z = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        truth = abar.sqrt() * eps - (1 - abar).sqrt() * x0 if "-v" in kind else eps
    return ((family.predict(z, sigma, cond) - truth) ** 2).mean(dim=(1, 2, 3))


def test_loss_equals_the_reference_formula(kind: str, family: ModelFamily) -> None:
    rng = torch.Generator().manual_seed(1)
    x0, eps = (torch.randn(2, family.latent_channels, 8, 12, generator=rng) for _ in range(2))
    sigma = torch.tensor([0.2505, 0.9995])
    cond = framed(family, family.encode_prompt(PROMPTS))
    adapter = Adapter(family.adapted(), AdapterConfig(rank=2, alpha=2.0), family.lora_targets("all"), seed=0)
    with torch.no_grad():
        mine = Denoiser(family, adapter).error(x0, cond, eps, sigma)
        torch.testing.assert_close(mine, loss_by_hand(kind, family, x0, eps, sigma, cond), rtol=1e-5, atol=1e-6)


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


def test_every_target_set_finds_layers(name: str, family: ModelFamily) -> None:
    component = catalog.FAMILIES[name].denoiser
    layers = [layer for layer, _ in family.skeleton()[component].named_modules()]
    for scope in catalog.FAMILIES[name].targets.keys() - {"tiny", "nano"}:  # whose blocks the small model lacks
        pattern = family.lora_targets(scope)[component]
        matched = [layer for layer in layers if re.fullmatch(pattern, layer)]
        assert matched, scope
        assert "proj_out" not in matched, "the model's last layer is never meant"


def test_skeleton_has_the_shapes_of_what_is_loaded(family: ModelFamily) -> None:
    skeleton = family.skeleton()
    for component, module in family.adapted().items():
        mine = {key: tensor.shape for key, tensor in skeleton[component].state_dict().items()}
        assert mine == {key: tensor.shape for key, tensor in module.state_dict().items()}


# --------------------------------------------------------------------------- the file


def loadable(spec: catalog.FamilySpec) -> list[catalog.Layout]:
    """Layouts that diffusers loads. Its converter of kohya's FLUX files knows the published sizes alone: these are
    compared in `test_lora_real_shapes`."""
    layouts: list[catalog.Layout] = [layout for layout in spec.layouts if "diffusers" in spec.loads_in[layout]]
    return [layout for layout in layouts if (spec.title, layout) != (catalog.FAMILIES["flux"].title, "kohya")]


def disturb(adapter: Adapter) -> None:
    """Weights as after some training: lora_B is no longer zero."""
    rng = torch.Generator().manual_seed(4)
    for parameter in adapter.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=rng)


@torch.no_grad()
def output(family: ModelFamily, cond: Conditioning) -> Tensor:
    noisy = torch.randn(2, family.latent_channels, 8, 12, generator=torch.Generator().manual_seed(6))
    return family.predict(noisy, torch.tensor([0.3005, 0.8005]), framed(family, cond))


LOADABLE = [(kind, layout) for kind, (name, _, _) in KINDS.items() for layout in loadable(catalog.FAMILIES[name])]


def test_the_usual_file_of_every_family_loads_in_diffusers() -> None:
    assert {(kind, catalog.FAMILIES[name].layouts[0]) for kind, (name, _, _) in KINDS.items()} <= set(LOADABLE)


@pytest.mark.parametrize(("kind", "layout"), LOADABLE, indirect=["kind"], scope="module")
def test_file_loaded_by_diffusers_changes_the_output_as_the_live_adapter_does(
    folder: Path, tmp_path: Path, layout: catalog.Layout
) -> None:
    """On the denoiser and on the text encoders, with alpha twice the rank: a lost scale would halve the change."""
    settings = {"adapter": {"rank": 4, "alpha": 8.0, "text_encoders": True}, "save": {"dtype": "fp32"}}
    bench = make_bench(tmp_path, folder, tmp_path, **settings, captions={"trigger": "zota"})
    config = resolve.with_changes(bench.config, {"save": {"layout": layout}})
    family = load_family(config, dataclasses.replace(bench.runtime, train_text=True))
    family.load("text")
    cond = family.encode_prompt(PROMPTS)
    for part in ("denoiser", "trained_text"):
        family.load(part)
    base = output(family, cond)
    adapter = Adapter(family.adapted(), config.adapter, family.lora_targets(config.adapter.targets), seed=0)
    assert torch.equal(output(family, cond), base), "a fresh adapter draws what the base draws"
    disturb(adapter)
    live = output(family, cond) - base
    with adapter.disabled():
        assert torch.equal(output(family, cond), base)
    file = tmp_path / "lora.safetensors"
    save_adapter(file, adapter, family, config, steps=1, pictures=1)

    pipe = DiffusionPipeline.from_pretrained(folder)
    pipe.load_lora_weights(file)
    for part in family._parts._loaded.values():  # type: ignore[attr-defined]
        part.update({component: getattr(pipe, component) for component in part if component in family.adapted()})
    theirs = output(family, cond) - base
    assert live.norm() > 0.01 * base.norm()
    assert (theirs - live).norm() < 1e-3 * live.norm()
