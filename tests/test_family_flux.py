"""What is special about FLUX.1: the shift of its noise levels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from tests.tiny import make_flux
from tests.training import make_bench
from trainers.families import load_family
from trainers.families.base import ModelFamily

KINDS = {
    "dev": {"guidance_embeds": True, "dynamic_shift": True},
    "schnell": {"guidance_embeds": False, "dynamic_shift": False},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux(tmp_path_factory.mktemp(kind), **KINDS[kind])


@pytest.fixture
def family(folder: Path, tmp_path: Path) -> ModelFamily:
    bench = make_bench(tmp_path, folder, tmp_path)
    return load_family(bench.config, bench.runtime)


def test_shift_equals_the_schedulers(family: ModelFamily, folder: Path) -> None:
    """A shifted sigma is the pipeline's: sigma' = S s / (1 + (S - 1) s)."""
    pipe = FluxPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    pipe(
        prompt_embeds=torch.zeros(1, 4, 64),
        pooled_prompt_embeds=torch.zeros(1, 64),
        latents=torch.zeros(1, 64 * 64 // 4, 64),
        height=512,
        width=512,
        num_inference_steps=2,
        output_type="latent",
    )
    shift = family.shift(64, 64)
    torch.testing.assert_close(pipe.scheduler.sigmas[1].item(), shift * 0.5 / (1 + (shift - 1) * 0.5))


def test_published_shift_at_1024_is_3_158(family: ModelFamily, kind: str) -> None:
    """exp(1.15) at 4096 tokens, exp(0.63) at 1024; a schedule without it can be told to follow the size."""
    by_size = "auto" if kind == "dev" else "resolution"
    assert family.shift(128, 128, by_size) == pytest.approx(3.158, abs=1e-3)
    assert family.shift(64, 64, by_size) == pytest.approx(1.878, abs=1e-3)
    assert family.shift(128, 128, "static") == (3.0 if kind == "dev" else 1.0)
    if kind == "schnell":
        assert family.shift(128, 128) == 1.0
