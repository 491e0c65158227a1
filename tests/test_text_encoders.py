"""How prompts are read: layers, pieces of 75 tokens, and encoders that are trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel

from tests.tiny import MAKERS
from tests.training import Bench, draw_pictures, make_bench
from trainers import catalog, plan
from trainers.adapters import Adapter
from trainers.config import Adapter as AdapterConfig
from trainers.events import SampleReady
from trainers.families import load_family
from trainers.families.base import Conditioning, ModelFamily

PROMPTS = ["a red circle on the left, white background", "zota"]
LONG = ", ".join(["a red circle on the left"] * 40)  # some 240 tokens
FAMILIES = tuple(catalog.FAMILIES)
FRAMING = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


def open_family(folder: Path, place: Path, *, train_text: bool = False, **model: Any) -> ModelFamily:
    bench = make_bench(place, folder, place, model={"base": str(folder), **model})
    family = load_family(bench.config, dataclasses.replace(bench.runtime, train_text=train_text))
    family.load("text")
    return family


# --------------------------------------------------------------------------- layers and pieces


@pytest.mark.parametrize("skip", [1, 2])
def test_clip_skip_is_an_encoder_without_its_last_layers(folders: dict[str, Path], tmp_path: Path, skip: int) -> None:
    encoder = CLIPTextModel.from_pretrained(folders["sd15"], subfolder="text_encoder")
    layers = encoder.encoder.layers
    encoder.encoder.layers = layers[: len(layers) - skip + 1]
    tokenizer = CLIPTokenizer.from_pretrained(folders["sd15"], subfolder="tokenizer")
    ids = tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt").input_ids
    mine = open_family(folders["sd15"], tmp_path, clip_skip=skip).encode_prompt(PROMPTS)["words"]
    torch.testing.assert_close(mine, encoder(ids).last_hidden_state)


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_pieces_are_read_as_prompts_of_their_own(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    """The states of a long prompt are those of its pieces of 75 tokens, one behind the other."""
    whole = open_family(folders[name], tmp_path, text_chunks=3).encode_prompt([LONG, "zota"])
    single = open_family(folders[name], tmp_path)
    tokenizer = single._parts["tokenizer"]  # type: ignore[attr-defined]
    ids = tokenizer(LONG, add_special_tokens=False).input_ids
    pieces = [tokenizer.decode(ids[first : first + 75]) for first in (0, 75, 150)]
    apart = single.encode_prompt([*pieces, "zota", ""])
    assert whole["words"].shape[1] == 3 * 77
    torch.testing.assert_close(whole["words"][0], torch.cat(list(apart["words"][:3])))
    torch.testing.assert_close(whole["words"][1], torch.cat([apart["words"][3], apart["words"][4], apart["words"][4]]))
    if name == "sdxl":
        torch.testing.assert_close(whole["pooled"], apart["pooled"][[0, 3]])


# --------------------------------------------------------------------------- encoders that are trained


def both(folders: dict[str, Path], tmp_path: Path, name: str) -> tuple[ModelFamily, Conditioning, Conditioning]:
    """A family whose encoders are trained, and what it and a frozen one make of the prompts."""
    frozen = open_family(folders[name], tmp_path).encode_prompt(PROMPTS)
    family = open_family(folders[name], tmp_path, train_text=True)
    prepared = family.encode_prompt(PROMPTS)
    for part in ("denoiser", "trained_text"):
        family.load(part)
    return family, prepared, frozen


def predicted(family: ModelFamily, cond: Conditioning) -> torch.Tensor:
    noisy = torch.randn(2, family.latent_channels, 8, 8, generator=torch.Generator().manual_seed(1))
    return family.predict(noisy, torch.tensor([0.3, 0.8]), family.framed(cond, FRAMING))


@pytest.mark.parametrize("name", FAMILIES)
def test_token_ids_read_on_the_way_are_the_prompt(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    family, prepared, frozen = both(folders, tmp_path, name)
    assert "ids" in prepared.tensors and "ids" not in frozen.tensors
    torch.testing.assert_close(predicted(family, prepared), predicted(family, frozen))


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_every_encoder_that_is_trained_and_no_other(
    folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    family, prepared, _ = both(folders, tmp_path, name)
    adapter = Adapter(family.adapted(), AdapterConfig(rank=2, alpha=2.0), family.lora_targets("all"), seed=0)
    predicted(family, prepared).square().mean().backward()
    trained = {encoder.component for encoder in catalog.FAMILIES[name].text_encoders if encoder.trainable}
    assert set(family.adapted()) == {catalog.FAMILIES[name].denoiser, *trained}
    groups = adapter.parameter_groups()
    assert groups["text"] and groups["denoiser"]
    by_component: dict[str, float] = dict.fromkeys(family.adapted(), 0.0)
    for component, module in family.adapted().items():
        by_component[component] += sum(
            float(p.grad.norm()) for key, p in module.named_parameters() if "lora_B" in key and p.grad is not None
        )
    assert all(norm > 0 for norm in by_component.values()), by_component


@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_trains_its_text_encoders(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    """Weights of the encoders move; previews are drawn with what they have become; the reference is the base's."""
    pictures = draw_pictures(tmp_path / "pictures", 2)
    bench = make_bench(
        tmp_path,
        folders[name],
        pictures,
        adapter={"rank": 2, "text_encoders": True},
        optimizer={"learning_rate": 1e-2, "text_encoder_learning_rate": 5e-3},
        sample={"prompts": ["a red circle"], "steps": 2, "every_steps": 0},
        objective={"preservation": 0.5},
    )
    bench.runtime = dataclasses.replace(bench.runtime, train_text=True)
    result = bench.train()
    moved = {key: tensor for key, tensor in result.adapter.state().items() if "text_encoder" in key and "lora_B" in key}
    assert moved and all(tensor.abs().max() > 0 for key, tensor in moved.items() if ".layers.0." in key)
    assert sum(isinstance(event, SampleReady) for event in bench.events) == 2
    assert all(torch.isfinite(torch.tensor(step.loss)) for step in bench.steps())


@pytest.mark.parametrize(("name", "kind", "cache"), [("sdxl", "lora", "run"), ("flux", "dora", "none")])
def test_stopped_and_resumed_equals_uninterrupted(
    folders: dict[str, Path], tmp_path: Path, name: str, kind: str, cache: str
) -> None:
    """With encoders that are trained, whether captions are kept as token ids or read as they are drawn."""
    pictures = draw_pictures(tmp_path / "pictures", 3)

    def bench(run: str) -> Bench:
        made = make_bench(
            tmp_path,
            folders[name],
            pictures,
            run,
            adapter={"rank": 2, "kind": kind, "text_encoders": True},
            data={"folder": str(pictures), "resolution": 64, "cache_text": cache, "cache_dir": str(tmp_path / "cache")},
            captions={"dropout": 0.3},
        )
        made.runtime = dataclasses.replace(made.runtime, train_text=True)
        return made

    whole = bench("whole").train().adapter.state()
    parts = bench("parts")
    parts.train(stop_after=2)
    resumed = parts.train(resume=True).adapter.state()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_t5_is_read_in_a_format_that_it_does_not_overflow(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    bench = make_bench(tmp_path, folders[name], tmp_path)
    family = load_family(bench.config, dataclasses.replace(bench.runtime, dtype=torch.float16))
    family.load("text")
    t5 = catalog.FAMILIES[name].text_encoders[-1].component
    formats = {encoder: family._parts[encoder].dtype for encoder in (t5, "text_encoder")}  # type: ignore[attr-defined]
    assert formats == {t5: torch.bfloat16, "text_encoder": torch.float16}


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_t5_in_8_bits_reads_almost_as_in_full(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    full = open_family(folders[name], tmp_path).encode_prompt(PROMPTS)["words"]
    bench = make_bench(tmp_path, folders[name], tmp_path)
    family = load_family(bench.config, dataclasses.replace(bench.runtime, quantize="fp8"))
    family.load("text")
    packed = family.encode_prompt(PROMPTS)["words"]
    assert not torch.equal(packed, full)
    assert torch.nn.functional.cosine_similarity(packed, full, dim=-1).min() > 0.98
    t5 = family._parts[catalog.FAMILIES[name].text_encoders[-1].component]  # type: ignore[attr-defined]
    formats = {key.split(".")[-2]: tensor.dtype for key, tensor in t5.named_parameters()}
    assert formats["q"] == formats["wi_0"] == torch.float8_e4m3fn
    assert formats["wo"] == formats["shared"] == formats["layer_norm"] == torch.float32


def test_share_of_t5_that_8_bits_take_is_the_published_models() -> None:
    settings = T5Config.from_pretrained(catalog.CONFIGS / "flux-dev" / "text_encoder_2")
    with torch.device("meta"):
        t5 = T5EncoderModel(settings)
    linear = {name: module for name, module in t5.named_modules() if isinstance(module, torch.nn.Linear)}
    packed = sum(module.weight.numel() for name, module in linear.items() if not name.endswith(".wo"))
    assert packed / sum(p.numel() for p in t5.parameters()) == pytest.approx(plan.T5_PACKED, abs=1e-3)
