"""What must hold of every training run, whatever is trained."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.tiny import make_flux
from tests.training import Bench, draw_pictures, make_bench
from trainers.adapters import Adapter
from trainers.errors import AtelierError
from trainers.events import CheckpointSaved, SampleReady, ValidationDone, Warned
from trainers.loop import MAX_SKIPPED


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 4)


def weights(bench: Bench, **how: object) -> dict[str, torch.Tensor]:
    result = bench.train(**how)
    return {name: tensor.clone() for name, tensor in result.adapter.state().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], **tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], **(tolerance or {"rtol": 0, "atol": 0}))


def test_same_config_gives_the_same_weights_bit_for_bit(tmp_path: Path, base: Path, pictures: Path) -> None:
    one = weights(make_bench(tmp_path, base, pictures, "one"))
    other = weights(make_bench(tmp_path, base, pictures, "other"))
    assert_equal(one, other)
    different = weights(
        make_bench(tmp_path, base, pictures, "seed", run={"seed": 7, "name": "seed", "output_dir": str(tmp_path)})
    )
    assert any(not torch.equal(one[name], different[name]) for name in one)


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, base: Path, pictures: Path) -> None:
    schedule = {"max_steps": 6, "lr_scheduler": "cosine", "gradient_accumulation": 2}
    sections = {
        "schedule": schedule,
        "captions": {"dropout": 0.3, "shuffle": True},
        "adapter": {"rank": 4, "dropout": 0.2},
        "objective": {"preservation": 0.5, "preserved_words": ["cube", "ball"]},
    }
    whole = weights(make_bench(tmp_path, base, pictures, "whole", **sections))
    bench = make_bench(tmp_path, base, pictures, "halves", **sections)
    assert bench.train(stop_after=3).stopped
    first = bench.steps()
    resumed = weights(bench, resume=True)
    assert [event.step for event in first + bench.steps()] == [1, 2, 3, 4, 5, 6]
    assert_equal(whole, resumed)


def test_accumulation_of_four_batches_of_one_equals_one_batch_of_four(
    tmp_path: Path, base: Path, pictures: Path
) -> None:
    large = weights(make_bench(tmp_path, base, pictures, "4x1", schedule={"batch_size": 4, "gradient_accumulation": 1}))
    small = weights(make_bench(tmp_path, base, pictures, "1x4", schedule={"batch_size": 1, "gradient_accumulation": 4}))
    assert_equal(large, small, rtol=1e-3, atol=1e-6)


def test_clipping_bounds_the_update_and_zero_switches_it_off(tmp_path: Path, base: Path, pictures: Path) -> None:
    """With SGD-like first steps of AdamW only the direction counts, so compare the reported norm and the weights."""
    settings = {"schedule": {"max_steps": 2}}
    clipped = make_bench(tmp_path, base, pictures, "clipped", optimizer={"max_grad_norm": 1e-9}, **settings)
    free = make_bench(tmp_path, base, pictures, "free", optimizer={"max_grad_norm": 0.0}, **settings)
    one, other = weights(clipped), weights(free)
    assert clipped.steps()[0].grad_norm == pytest.approx(free.steps()[0].grad_norm, rel=1e-6)  # before clipping
    moved = [sum(t.abs().sum().item() for name, t in state.items() if "lora_B" in name) for state in (one, other)]
    assert moved[0] < 0.2 * moved[1]  # a gradient of 1e-9 in all drowns in Adam's epsilon


def test_one_picture_overfits(tmp_path: Path, base: Path) -> None:
    single = draw_pictures(tmp_path / "single", 1)
    bench = make_bench(
        tmp_path,
        base,
        single,
        adapter={"rank": 16, "targets": "all+ffs+embedder"},
        optimizer={"learning_rate": 1e-2},
        schedule={"max_steps": 60, "batch_size": 1, "gradient_accumulation": 2},
    )
    bench.train()
    losses = [event.loss for event in bench.steps()]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_learning_rate_follows_the_schedule(tmp_path: Path, base: Path, pictures: Path) -> None:
    schedule = {"max_steps": 4, "lr_scheduler": "constant_with_warmup", "warmup_steps": 2}
    bench = make_bench(tmp_path, base, pictures, schedule=schedule)
    bench.train()
    assert [event.learning_rate for event in bench.steps()] == pytest.approx([5e-4, 1e-3, 1e-3, 1e-3])


def test_epochs_end_the_run_earlier(tmp_path: Path, base: Path, pictures: Path) -> None:
    bench = make_bench(tmp_path, base, pictures, schedule={"max_steps": 100, "max_epochs": 2, "batch_size": 2})
    assert bench.train().step == 4  # 4 pictures in batches of 2, twice


def test_previews_come_before_during_and_after_and_the_first_is_the_base(
    tmp_path: Path, base: Path, pictures: Path
) -> None:
    sample = {"prompts": ["a red circle", "zota"], "every_steps": 2, "steps": 2}
    bench = make_bench(tmp_path, base, pictures, sample=sample, schedule={"max_steps": 4})
    bench.train()
    samples = [event for event in bench.events if isinstance(event, SampleReady)]
    assert [(event.step, event.index) for event in samples] == [(step, i) for step in (0, 2, 4) for i in (0, 1)]
    assert all((bench.run.path / event.path).is_file() for event in samples)


def test_validation_is_a_fixed_ruler(tmp_path: Path, base: Path, pictures: Path) -> None:
    """With a learning rate of almost nothing the curve is flat: it holds no noise of its own."""
    bench = make_bench(
        tmp_path,
        base,
        pictures,
        validation={"fraction": 0.25, "every_steps": 1, "sigmas": 3},
        optimizer={"learning_rate": 1e-12},
    )
    bench.train()
    losses = [event.loss for event in bench.events if isinstance(event, ValidationDone)]
    assert len(losses) == 5 and max(losses) - min(losses) < 1e-6


def test_held_out_pictures_are_never_trained_on(tmp_path: Path, base: Path, pictures: Path) -> None:
    bench = make_bench(tmp_path, base, pictures, validation={"fraction": 0.25})
    _, dataset = bench.prepare()
    held_out = {sample.id for sample in dataset.held_out}
    trained = {id for number in range(20) for id in dataset.batch(number).ids}
    assert len(held_out) == 1 and len(trained) == 3 and not held_out & trained


def test_checkpoints_are_kept_and_pruned(tmp_path: Path, base: Path, pictures: Path) -> None:
    bench = make_bench(tmp_path, base, pictures, save={"every_steps": 1, "keep_last": 2}, schedule={"max_steps": 4})
    bench.train()
    assert [event.step for event in bench.events if isinstance(event, CheckpointSaved)] == [1, 2, 3, 4]
    assert sorted(path.name for path in bench.run.checkpoints.iterdir()) == ["step-000003", "step-000004"]


def test_gradients_that_are_not_finite_change_nothing_and_end_the_run(
    tmp_path: Path, base: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.objectives import sft
    from trainers.objectives.base import LossResult

    def broken(self: object, denoiser: object, batch: object, noise: object, sigma: object) -> LossResult:
        error = denoiser.error(batch.latents, batch.cond, noise, sigma)  # type: ignore[attr-defined]
        return LossResult(error.mean() * math.nan)

    monkeypatch.setattr(sft.Sft, "loss", broken)
    bench = make_bench(tmp_path, base, pictures, schedule={"max_steps": 50})
    with pytest.raises(AtelierError, match="no finite gradient"):
        bench.train()
    assert len([event for event in bench.events if isinstance(event, Warned)]) == MAX_SKIPPED


def test_out_of_memory_in_a_preview_is_a_warning(
    tmp_path: Path, base: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainers.families.flux import Family

    def fail(self: object, request: object) -> list:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Family, "sample", fail)
    bench = make_bench(tmp_path, base, pictures, sample={"prompts": ["x"]})
    assert bench.train().step == 4
    assert {event.code for event in bench.events if isinstance(event, Warned)} == {"preview_memory"}


def test_continuing_an_adapter_starts_where_it_ended(tmp_path: Path, base: Path, pictures: Path) -> None:
    from trainers.export import save_adapter

    first = make_bench(
        tmp_path, base, pictures, "first", adapter={"alpha": 2.0}, save={"dtype": "fp32", "every_steps": 0}
    )
    family, _ = first.prepare()
    result = first.train()
    path = tmp_path / "first.safetensors"
    save_adapter(path, result.adapter, family, first.config, result.step, 4)
    second = make_bench(
        tmp_path,
        base,
        pictures,
        "second",
        adapter={"alpha": 2.0, "resume_from": str(path)},
        schedule={"max_steps": 1},
        optimizer={"learning_rate": 1e-12},
    )
    assert_equal(weights(second), result.adapter.state(), rtol=1e-5, atol=1e-8)


def test_preservation_keeps_other_words_nearer_to_the_base(tmp_path: Path, base: Path, pictures: Path) -> None:
    """Under the captions with the other word, the adapter's prediction stays nearer to the base's than without it."""
    from trainers.objectives.base import Denoiser

    drifts = []
    for weight in (0.0, 4.0):
        bench = make_bench(
            tmp_path,
            base,
            pictures,
            f"weight{weight}",
            captions={"trigger": "zota"},
            objective={"preservation": weight, "preserved_words": ["cube"]},
            optimizer={"learning_rate": 1e-2},
            schedule={"max_steps": 25},
            sample={"prompts": ["cube"], "every_steps": 0, "steps": 1},
        )
        result = bench.train()
        family, dataset = bench.prepare()
        family.load("denoiser")
        batch = dataset.batch(0)
        denoiser = Denoiser(family, Adapter(family.adapted(), bench.config.adapter, family.lora_targets("all"), 0))
        denoiser.adapter.load(result.adapter.state())
        cond = dataset.conditioning(["cube"] * len(batch.ids))
        noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(0))
        drifts.append(denoiser.drift(batch.latents, cond, noise, torch.full((len(batch.ids),), 0.7)).mean().item())
    assert drifts[1] < 0.6 * drifts[0]
    assert {"error", "drift", "epoch"} == set(bench.steps()[0].metrics)
