"""The forecast: steps by hand, and memory that rises with what takes memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.machines import CARD_24, LAPTOP, resolved
from tests.properties import properties
from trainers import catalog, plan
from trainers.config import TrainConfig
from trainers.machine import GIB


def flux(**sections: dict[str, Any]) -> TrainConfig:
    return resolved({**sections, "model": {"base": "flux-dev", **sections.get("model", {})}}, CARD_24)


def memory(**sections: dict[str, Any]) -> float:
    return plan.forecast(flux(**sections), CARD_24, 20).memory_gib


def schedule(**values: int) -> TrainConfig:
    return resolved({"schedule": values})


# --------------------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("pictures", "repeats", "batch_size", "batches"),
    [(12, 1, 4, 3), (13, 1, 4, 4), (12, 10, 4, 30), (3, 3, 2, 5), (1, 1, 8, 1), (0, 1, 1, 1)],
)
def test_an_epoch_shows_every_picture_its_repeats(pictures: int, repeats: int, batch_size: int, batches: int) -> None:
    config = resolved({"data": {"repeats": repeats}, "schedule": {"batch_size": batch_size}})
    assert plan.batches_per_epoch(pictures, config) == batches


@pytest.mark.parametrize(
    ("max_steps", "max_epochs", "accumulation", "steps"),
    [
        (100, 0, 1, 100),  # no limit of epochs
        (100, 5, 1, 50),  # 5 epochs of 10 batches
        (100, 50, 1, 100),  # 50 epochs would be 500 steps
        (100, 5, 4, 13),  # 50 batches, 4 a step: 12 whole ones and the rest
        (100, 1, 64, 1),  # less than one step's worth
        (7, 5, 4, 7),
    ],
)
def test_steps_of_ten_batches(max_steps: int, max_epochs: int, accumulation: int, steps: int) -> None:
    config = schedule(max_steps=max_steps, max_epochs=max_epochs, gradient_accumulation=accumulation)
    assert plan.total_steps(config, 10) == steps


def test_epochs_follow_from_steps() -> None:
    """100 steps of 2 batches of 4 see 800 pictures: 40 rounds of 20."""
    config = schedule(max_steps=100, gradient_accumulation=2, batch_size=4)
    assert plan.forecast(config, LAPTOP, 20).epochs == 40


def test_known_batches_replace_the_estimate() -> None:
    config = schedule(max_steps=100, max_epochs=2, batch_size=4)
    assert plan.forecast(config, LAPTOP, 20).steps == 10
    assert plan.forecast(config, LAPTOP, 20, batches=8).steps == 16


# --------------------------------------------------------------------------- held-out pictures


@pytest.mark.parametrize(
    ("pictures", "fraction", "held_out"),
    [(12, 0.1, 1), (12, 0.5, 6), (12, 0.0, 0), (5, 0.01, 1), (2, 0.5, 1), (1, 0.5, 0), (0, 0.5, 0), (100, 0.25, 25)],
)
def test_held_out_by_hand(pictures: int, fraction: float, held_out: int) -> None:
    config = resolved({"validation": {"fraction": fraction}})
    assert plan.held_out(pictures, config) == held_out
    assert plan.training_pictures(pictures, config) == pictures - held_out


@properties
@given(st.integers(1, 10_000), st.floats(0, 0.5))
def test_something_is_always_left_to_train_on(pictures: int, fraction: float) -> None:
    config = resolved({"validation": {"fraction": fraction}})
    assert 1 <= plan.training_pictures(pictures, config) <= pictures


# --------------------------------------------------------------------------- memory


@pytest.mark.parametrize("resolution", [512, 768, 1024])
def test_flux_needs_more_than_24_gb_in_bf16_and_less_in_fp8(resolution: int) -> None:
    data = {"resolution": resolution}
    assert memory(data=data) > 24
    assert memory(data=data, memory={"quantize": "fp8"}) < 20


def test_flux_in_bf16_is_at_least_its_weights() -> None:
    assert memory() > 11.901e9 * 2 / GIB > 22


def test_fp8_saves_little_without_checkpointing() -> None:
    """Autograd keeps every block's weights in the compute format until the backward pass."""
    off = {"gradient_checkpointing": "off"}
    assert memory(memory={**off, "quantize": "fp8"}) >= memory(memory=off)


def test_captions_are_encoded_before_the_denoiser_is_there() -> None:
    """The peak is the larger of the two stages and not their sum."""
    text = catalog.MODELS["flux-dev"].text_params * 1e9 * 2 / GIB
    both = text + catalog.MODELS["flux-dev"].denoiser_params * 1e9 * 2 / GIB
    assert memory() < both


@pytest.mark.parametrize(
    ("section", "key", "rising"),
    [
        ("data", "resolution", [256, 512, 768, 1024, 1536]),
        ("schedule", "batch_size", [1, 2, 4, 8]),
        ("adapter", "rank", [4, 16, 64, 256]),
        ("memory", "gradient_checkpointing", ["on", "off"]),
        ("memory", "quantize", ["fp8", "none"]),
        ("model", "precision", ["bf16", "fp32"]),
    ],
)
def test_memory_rises_with(section: str, key: str, rising: list[Any]) -> None:
    needs = [memory(**{section: {key: value}}) for value in rising]
    assert needs == sorted(needs) and len(set(needs)) == len(needs)


def test_accumulation_takes_time_and_no_memory() -> None:
    one, four = (plan.forecast(flux(schedule={"gradient_accumulation": number}), CARD_24, 20) for number in (1, 4))
    assert one.memory_gib == four.memory_gib
    assert 3 < four.seconds_per_step / one.seconds_per_step <= 4


# --------------------------------------------------------------------------- time and disk


def test_measured_step_replaces_the_guess() -> None:
    guess = plan.forecast(flux(), CARD_24, 20)
    measured = plan.forecast(flux(), CARD_24, 20, measured_step_s=2.0)
    assert not guess.measured and measured.measured
    assert measured.seconds_per_step == 2.0
    assert measured.seconds - guess.seconds == pytest.approx(1000 * (2.0 - guess.seconds_per_step))


@pytest.mark.parametrize(
    ("prompts", "every", "steps", "previews"),
    [
        (2, 250, 1000, 2 * (2 + 3)),  # before, at 250, 500 and 750, after
        (2, 0, 1000, 2 * 2),  # before and after
        (1, 100, 100, 2),
        (1, 99, 100, 3),
        (0, 1, 1000, 0),
    ],
)
def test_previews_by_hand(prompts: int, every: int, steps: int, previews: int) -> None:
    config = resolved({"sample": {"prompts": ["x"] * prompts, "every_steps": every}})
    assert plan._previews(config, steps) == previews


def test_previews_take_time() -> None:
    without, some = (plan.forecast(flux(sample={"prompts": prompts}), CARD_24, 20) for prompts in ([], ["a", "b"]))
    assert some.seconds > without.seconds + 10


@pytest.mark.parametrize(
    ("every", "keep", "checkpoints"),
    [(250, 2, 2), (250, 0, 4), (250, 10, 4), (0, 4, 1), (5000, 4, 1)],
)
def test_disk_holds_the_kept_checkpoints_and_the_one_being_written(every: int, keep: int, checkpoints: int) -> None:
    """1000 steps with one every 250 make 4; each holds the weight and two moments of 4 bytes, and the file of 2."""
    config = flux(save={"every_steps": every, "keep_last": keep}, schedule={"max_steps": 1000})
    adapter = plan.adapter_params(config, catalog.MODELS["flux-dev"])
    without_pictures = plan.forecast(config, CARD_24, 0)
    expected = (checkpoints + 1) * adapter * (12 + 2) + adapter * 2
    assert without_pictures.disk_gib * GIB == pytest.approx(expected)


def test_latents_and_captions_take_room_where_they_are_kept() -> None:
    """A picture of 1024 px is 16 x 128 x 128 numbers of 4 bytes; a caption 512 x 4096 of 2."""
    latents, texts = 20 * 16 * 128 * 128 * 4 / GIB, 20 * 512 * 4096 * 2 / GIB
    plans = {kept: plan.forecast(flux(data={"cache_text": kept}), CARD_24, 20) for kept in ("run", "disk", "none")}
    assert plans["run"].cache_gib == plans["none"].cache_gib == pytest.approx(latents)
    assert plans["disk"].cache_gib == pytest.approx(latents + texts)
    assert plans["run"].disk_gib == pytest.approx(plans["disk"].disk_gib + texts)


# --------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (45, "45 s"), (59.7, "1 min 0 s"), (80, "1 min 20 s"), (3600, "1 h 0 min"), (11_100, "3 h 5 min")],
)
def test_duration_in_words(seconds: float, words: str) -> None:
    assert plan.duration(seconds) == words


def test_plan_in_a_sentence() -> None:
    sentence = plan.forecast(schedule(max_steps=300), LAPTOP, 12, measured_step_s=0.1).sentence()
    assert sentence.startswith("300 steps, about 40 s, peak about ")
