"""What must hold of preference training, whatever the family: its start, its reference, and its steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.loras import disturb
from tests.preference_pairs import PairBench, pair_bench
from tests.tiny import MAKERS, make_sd15
from trainers import resolve
from trainers.adapters import Adapter
from trainers.errors import ConfigError
from trainers.events import ValidationDone
from trainers.export import save_adapter
from trainers.objectives import make_objective
from trainers.objectives.base import Denoiser
from trainers.objectives.dpo import Dpo, compare

LOSSES = {
    "sigmoid": math.log(2),
    "ipo": 0.25,
    "hinge": 1.0,
    "dmpo": 0.5 * math.log(0.5 / 0.99) + 0.5 * math.log(0.5 / 0.01),
    "kto": -0.5,
}
BARE = {"sft_weight": 0.0}  # the loss is that of the preference alone

Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    def make(name: str) -> Path:
        if name == "sd15-v":
            return make_sd15(tmp_path_factory.mktemp(name), prediction="v_prediction")
        return MAKERS[name](tmp_path_factory.mktemp(name))

    return cache(make)


@pytest.fixture(scope="module")
def base(folders: Folders) -> Path:
    return folders("flux")


def weights(bench: PairBench, **how: object) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in bench.train(**how).adapter.state().items()}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor], **tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], **(tolerance or {"rtol": 0, "atol": 0}))


# Its start


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("family", [*MAKERS, "sd15-v"])
def test_first_loss_is_ln2_and_the_margin_is_zero_exactly(
    family: str, kind: str, folders: Folders, tmp_path: Path
) -> None:
    """-ln sigma(0), as model and reference are the same; of a tie the accuracy is a half."""
    bench = pair_bench(tmp_path, folders(family), adapter={"kind": kind}, objective=BARE, schedule={"max_steps": 2})
    bench.train()
    first, second = bench.steps()
    assert first.loss == pytest.approx(math.log(2), abs=1e-6)
    assert [first.metrics[name] for name in ("margin", "winner_change", "loser_change", "drift")] == [0, 0, 0, 0]
    assert first.metrics["accuracy"] == 0.5 and first.metrics["gradient_factor"] == 0.5
    assert first.grad_norm > 0 and second.metrics["drift"] > 0


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_starts_at_its_analytic_value(name: str, base: Path, tmp_path: Path) -> None:
    settings = {"preference_loss": name, "sft_weight": 0.5, "sdpo": name != "kto"}
    bench = pair_bench(tmp_path, base, objective=settings, schedule={"max_steps": 1})
    bench.train()
    (step,) = bench.steps()
    assert step.metrics["preference_loss"] == pytest.approx(LOSSES[name], abs=1e-6)
    assert step.loss == pytest.approx(LOSSES[name] + 0.5 * step.metrics["winner_error"], abs=1e-5)


def test_dropout_in_the_adapter_is_refused(base: Path, tmp_path: Path) -> None:
    """It would be in the model and not in the reference."""
    config = resolve.with_changes(pair_bench(tmp_path, base).bench.config, {"adapter": {"dropout": 0.1}})
    with pytest.raises(ConfigError, match=r"adapter\.dropout"):
        make_objective(config)


# What it compares


def test_swapped_pictures_negate_the_margin_and_equal_ones_have_none(base: Path, tmp_path: Path) -> None:
    bench = pair_bench(tmp_path, base)
    result = bench.train()
    disturb(result.adapter)
    _, pairs = bench.prepare()
    latents, loser = pairs.latents, pairs.loser
    margins = {}
    for name, sides in {"as": (latents, loser), "swapped": (loser, latents), "equal": (latents, latents)}.items():
        pairs.latents, pairs.loser = sides
        margins[name] = measured(bench, result.adapter, pairs.rows([0, 1, 2]))["margin"]
    assert margins["as"].abs().max() > 1e-2
    torch.testing.assert_close(margins["swapped"], -margins["as"], rtol=1e-3, atol=1e-5)
    assert (margins["equal"].abs() < 1e-4).all()


def measured(bench: PairBench, adapter: Adapter, batch: object) -> dict[str, Tensor]:
    """The metrics of a batch at fixed noise, for a model whose adapter was trained."""
    family, _ = bench.prepare()
    family.load("denoiser")
    fresh = Adapter(family.adapted(), bench.bench.config.adapter, family.lora_targets("all"), 0, like=adapter.layers())
    noise = torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(1))
    sigma = torch.linspace(0.2, 0.8, len(batch.ids))
    with torch.no_grad():
        return make_objective(bench.bench.config).measure(Denoiser(family, fresh), batch, noise, sigma)


def test_numbers_are_those_of_the_four_errors(base: Path, tmp_path: Path) -> None:
    """z = -(beta / 2) ((e_w - r_w) - (e_l - r_l)), of errors that are asked for one by one."""
    bench = pair_bench(tmp_path, base, objective={"beta": 50.0, "sft_weight": 2.0})
    family, pairs = bench.prepare()
    family.load("denoiser")
    adapter = Adapter(family.adapted(), bench.bench.config.adapter, family.lora_targets("all"), 0)
    disturb(adapter)
    denoiser, batch = Denoiser(family, adapter), pairs.rows([0, 1])
    noise, sigma = (
        torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0.3, 0.7]),
    )
    with torch.no_grad():
        e_w, e_l, r_w, r_l = (
            denoiser.error(side, batch.cond, noise, sigma, reference=reference)
            for reference in (False, True)
            for side in (batch.latents, batch.loser)
        )
        found = make_objective(bench.bench.config).measure(denoiser, batch, noise, sigma)
    z = -25.0 * ((e_w - r_w) - (e_l - r_l))
    expected = {"winner_error": e_w, "loser_error": e_l, "winner_change": e_w - r_w, "loser_change": e_l - r_l}
    for name, value in {**expected, "margin": z, "loss": torch.log1p(torch.exp(-z)) + 2 * e_w}.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
    assert found["drift"].shape == (4,) and (found["drift"] > 0).all()


def test_pairs_count_by_their_weight(base: Path, tmp_path: Path) -> None:
    """The gradient of a batch of pairs of weight 1/4 is a quarter."""
    norms = []
    for name, weight in (("whole", 1.0), ("quarter", 0.25)):
        pairs = {"weight": torch.full((6,), weight)}
        bench = pair_bench(tmp_path, base, name, pairs, schedule={"max_steps": 1})
        bench.train()
        norms.append(bench.steps()[0].grad_norm)
    assert norms[1] == pytest.approx(norms[0] / 4, rel=1e-5)


def test_a_step_is_two_passes_of_all_pictures_and_the_first_needs_no_gradient(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it costs less than half more than plain training on the same pictures; see `benchmarks.dpo_step`."""
    bench = pair_bench(tmp_path, base)
    family, pairs = bench.prepare()
    family.load("denoiser")
    adapter = Adapter(family.adapted(), bench.bench.config.adapter, family.lora_targets("all"), 0)
    passes, whole = [], family.predict

    def counted(noisy: Tensor, sigma: Tensor, cond: object) -> Tensor:
        passes.append((len(noisy), torch.is_grad_enabled()))
        return whole(noisy, sigma, cond)

    monkeypatch.setattr(family, "predict", counted)
    batch = pairs.rows([0, 1, 2])
    objective, noise = make_objective(bench.bench.config), torch.zeros_like(batch.latents)
    objective.loss(Denoiser(family, adapter), batch, noise, torch.full((3,), 0.5))
    assert passes == [(6, False), (6, True)]


# The reference


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_reference_is_the_same_before_and_after_training_and_after_an_error(
    kind: str, frozen: bool, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = pair_bench(tmp_path, base, adapter={"kind": kind})
    family, pairs = bench.prepare()
    family.load("denoiser")
    adapter = Adapter(family.adapted(), bench.bench.config.adapter, family.lora_targets("all"), 0)
    if frozen:
        disturb(adapter)
    objective = Dpo(bench.bench.config.objective, continued=frozen)
    denoiser = Denoiser(family, adapter, objective.reference(adapter))
    batch = pairs.rows([0, 1])
    noise, sigma = (
        torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0.3, 0.7]),
    )

    def seen(*, reference: bool) -> Tensor:
        return denoiser.predict(batch.latents, batch.cond, noise, sigma, reference=reference)

    start = seen(reference=True)
    assert torch.equal(start, seen(reference=False).detach())
    optimizer = torch.optim.SGD(adapter.parameters(), 0.1)
    for _ in range(2):
        compare(denoiser, batch.latents, batch.cond, noise, sigma).error.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    trained, state = seen(reference=False).detach(), {name: one.clone() for name, one in adapter.state().items()}
    assert not torch.equal(trained, start) and torch.equal(seen(reference=True), start)

    whole = family.predict
    monkeypatch.setattr(family, "predict", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        seen(reference=True)
    monkeypatch.setattr(family, "predict", whole)
    assert torch.equal(seen(reference=False), trained) and torch.equal(seen(reference=True), start)
    assert_equal(adapter.state(), state)
    assert all(parameter.requires_grad for parameter in adapter.parameters())


def test_reference_of_a_continued_adapter_is_where_it_started(base: Path, tmp_path: Path) -> None:
    """auto: frozen. Against the base the margin would not be zero at the start. It is kept in no file."""
    first = pair_bench(tmp_path, base, "first", save={"dtype": "fp32"}, schedule={"max_steps": 3})
    result, (family, _) = first.train(), first.prepare()
    path = tmp_path / "first.safetensors"
    save_adapter(path, result.adapter, family, first.bench.config, result.step, 6)
    continued = {"adapter": {"resume_from": str(path)}, "schedule": {"max_steps": 3}}
    frozen = pair_bench(tmp_path, base, "frozen", objective=BARE, **continued)
    state = frozen.train().adapter.state()
    assert frozen.steps()[0].loss == pytest.approx(math.log(2), abs=1e-6)
    assert frozen.steps()[0].metrics["drift"] == 0 < frozen.steps()[1].metrics["drift"]
    saved = torch.load(frozen.bench.run.latest_checkpoint() / "state.pt", weights_only=True)
    assert_equal(saved["adapter"], state)
    against_base = pair_bench(tmp_path, base, "base", objective={"reference": "base"}, **continued)
    against_base.train()
    assert against_base.steps()[0].metrics["drift"] > 0


def test_resumed_run_keeps_the_reference_of_its_start(base: Path, tmp_path: Path) -> None:
    """The copy is made before the checkpoint is read."""
    first = pair_bench(tmp_path, base, "first", save={"dtype": "fp32"}, schedule={"max_steps": 2})
    result, (family, _) = first.train(), first.prepare()
    path = tmp_path / "first.safetensors"
    save_adapter(path, result.adapter, family, first.bench.config, result.step, 6)
    sections = {"adapter": {"resume_from": str(path)}, "schedule": {"max_steps": 4}}
    whole = weights(pair_bench(tmp_path, base, "whole", **sections))
    halves = pair_bench(tmp_path, base, "halves", **sections)
    halves.train(stop_after=2)
    assert_equal(whole, weights(halves, resume=True))


# Its steps


@pytest.mark.parametrize("settings", [{}, {"preference_loss": "dmpo", "sdpo": True}], ids=["sigmoid", "dmpo"])
def test_stopped_within_an_epoch_and_resumed_equals_uninterrupted_bit_for_bit(
    settings: dict, base: Path, tmp_path: Path
) -> None:
    """Six pairs in batches of two, two batches a step: step 3 of 6 ends within the second epoch."""
    sections = {
        "objective": settings,
        "schedule": {"max_steps": 6, "lr_scheduler": "cosine", "gradient_accumulation": 2},
    }
    whole = weights(pair_bench(tmp_path, base, "whole", **sections))
    halves = pair_bench(tmp_path, base, "halves", **sections)
    assert halves.train(stop_after=2).stopped
    assert_equal(whole, weights(halves, resume=True))


def test_accumulation_of_batches_of_one_equals_one_batch_with_weights(base: Path, tmp_path: Path) -> None:
    pairs = {"weight": torch.tensor([1.0, 0.2, 0.5, 0.9, 0.1, 0.7])}
    settings = {"adapter": {"rank": 4}, "objective": {"sdpo": True}}
    schedules = {"1x6": (6, 1), "6x1": (1, 6), "3x2": (2, 3)}
    found = {}
    for name, (size, times) in schedules.items():
        schedule = {"batch_size": size, "gradient_accumulation": times, "max_steps": 3}
        bench = pair_bench(tmp_path, base, name, pairs, schedule=schedule, **settings)
        found[name] = (weights(bench), [step.metrics["margin"] for step in bench.steps()])
    for name in ("6x1", "3x2"):
        assert_equal(found["1x6"][0], found[name][0], rtol=1e-3, atol=1e-5)
        assert found[name][1] == pytest.approx(found["1x6"][1], rel=1e-2, abs=1e-4)


def test_pairs_are_learned_and_a_large_beta_keeps_the_model_near(base: Path, tmp_path: Path) -> None:
    drift = {}
    for beta in (20.0, 5000.0):
        settings = {"objective": {**BARE, "beta": beta}, "optimizer": {"learning_rate": 5e-3}}
        schedule = {"max_steps": 40, "batch_size": 3}
        bench = pair_bench(tmp_path, base, f"beta-{beta:g}", schedule=schedule, **settings)
        bench.train()
        first, *_, last = bench.steps()
        assert last.metrics["accuracy"] > 0.9 and last.loss < 0.9 * first.loss
        drift[beta] = last.metrics["drift"]
    assert drift[5000.0] < drift[20.0] / 3


def test_plain_training_beside_it_keeps_the_preferred_pictures(base: Path, tmp_path: Path) -> None:
    changes = []
    for name, weight in (("without", 0.0), ("with", 50.0)):
        settings = {"objective": {"sft_weight": weight}, "optimizer": {"learning_rate": 5e-3}}
        bench = pair_bench(tmp_path, base, name, schedule={"max_steps": 30, "batch_size": 3}, **settings)
        bench.train()
        changes.append(sum(step.metrics["winner_change"] for step in bench.steps()[-10:]) / 10)
    assert changes[1] < changes[0]


def test_held_out_pairs_are_a_fixed_ruler_with_all_numbers(base: Path, tmp_path: Path) -> None:
    settings = {"validation": {"every_steps": 1, "sigmas": 3}, "optimizer": {"learning_rate": 1e-12}}
    bench = pair_bench(tmp_path, base, pairs={"held_out": (0, 3)}, objective=BARE, **settings)
    bench.train()
    looks = [event for event in bench.events if isinstance(event, ValidationDone)]
    assert len(looks) == 5 and max(one.loss for one in looks) - min(one.loss for one in looks) < 1e-5
    first = looks[0]
    assert first.loss == pytest.approx(math.log(2), abs=1e-6)
    assert first.metrics["accuracy"] == 0.5 and first.metrics["margin"] == 0 and first.metrics["drift"] == 0
    assert {"winner_error", "loser_error", "winner_change", "loser_change", "gradient_factor"} <= first.metrics.keys()
    assert list(first.by_sigma) == ["0.167", "0.500", "0.833"]


# Single pictures


def test_single_pictures_are_learned_by_what_is_wanted(base: Path, tmp_path: Path) -> None:
    """Batches without an unwanted picture have no numbers of it, and the others are not diluted."""
    wanted = torch.tensor([True, True, False, True, False, True])
    settings = {"objective": {"preference_loss": "kto", "beta": 200.0, **BARE}, "optimizer": {"learning_rate": 5e-3}}
    bench = pair_bench(
        tmp_path, base, pairs={"loser": None, "wanted": wanted}, schedule={"max_steps": 30, "batch_size": 3}, **settings
    )
    bench.train()
    assert bench.steps()[0].loss == pytest.approx(-0.5, abs=1e-6)
    later = [step.metrics for step in bench.steps()[-10:]]
    liked = [one["winner_change"] for one in later if "winner_change" in one]
    others = [one["loser_change"] for one in later if "loser_change" in one]
    assert sum(liked) / len(liked) < sum(others) / len(others)
    assert sum(one["accuracy"] for one in later) / len(later) > 0.7


def test_single_pictures_need_a_loss_that_learns_from_them(base: Path, tmp_path: Path) -> None:
    bench = pair_bench(tmp_path, base, pairs={"loser": None, "wanted": torch.ones(6, dtype=torch.bool)})
    with pytest.raises(ValueError, match="sigmoid is of pairs"):
        bench.train()
