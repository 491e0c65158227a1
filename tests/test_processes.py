"""The noise process in numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trainers.objectives.losses import Huber, l2
from trainers.processes import (
    Diffusion,
    NoiseProcess,
    RectifiedFlow,
    apply_shift,
    offset_noise,
    pyramid_noise,
    sample_sigma,
    sigma_grid,
)
from trainers.randomness import generator, seed_of


def test_noise_is_a_straight_line_and_velocity_its_slope() -> None:
    """x0 = 2, eps = 10: at sigma 0.25 z = 0.75 * 2 + 0.25 * 10 = 4; velocity = 10 - 2 = 8; z - sigma v = 2."""
    x0, eps, sigma = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 10.0), torch.tensor([0.25])
    flow = RectifiedFlow()
    z, v = flow.add_noise(x0, eps, sigma), flow.target(x0, eps, sigma)
    assert z.item() == 4 and v.item() == 8
    assert (z - sigma * v).item() == 2


def test_shift_by_hand() -> None:
    """S = 3, sigma = 0.5: 3 * 0.5 / (1 + 2 * 0.5) = 0.75; ends stay, 1 changes nothing."""
    assert apply_shift(torch.tensor(0.5), 3.0).item() == 0.75
    torch.testing.assert_close(apply_shift(torch.tensor([0.0, 1.0]), 3.0), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(apply_shift(torch.tensor([0.3]), 1.0), torch.tensor([0.3]))


@pytest.mark.parametrize(("mean", "expected"), [(0.0, 0.5), (1.0, 0.697), (-1.0, 0.303)])
def test_more_mean_is_more_noise(mean: float, expected: float) -> None:
    """E sigmoid(N(1,1)) = 0.697: our sign, where others count timesteps downwards."""
    drawn = torch.cat([sample_sigma("logit_normal", mean, 1.0, 1.0, generator(i)) for i in range(4000)])
    assert drawn.mean().item() == pytest.approx(expected, abs=0.02)
    assert drawn.dtype == torch.float32 and drawn.min() > 0 and drawn.max() < 1


def test_uniform_covers_the_range_and_other_names_are_refused() -> None:
    drawn = torch.cat([sample_sigma("uniform", 0, 1, 1.0, generator(i)) for i in range(2000)])
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03) and drawn.min() < 0.02 and drawn.max() > 0.98
    with pytest.raises(ValueError, match="cosmic"):
        sample_sigma("cosmic", 0, 1, 1.0, generator(0))


def test_grid_is_even() -> None:
    torch.testing.assert_close(sigma_grid(4), torch.tensor([0.125, 0.375, 0.625, 0.875]))


def test_seeds_follow_from_their_keys_alone() -> None:
    assert seed_of(1, "a") != seed_of("a", 1)
    assert seed_of(1, "a") == 2461651067226055738  # pinned: a resumed run on another version draws the same noise
    assert 0 <= seed_of("x") < 2**63
    assert torch.equal(torch.randn(3, generator=generator(5)), torch.randn(3, generator=generator(5)))


# --------------------------------------------------------------------------- diffusion


def schedule(prediction: str = "epsilon") -> Diffusion:
    """Four timesteps with abar 0.96, 0.64, 0.36, 0.04: roots that can be written down."""
    return Diffusion(torch.tensor([0.96, 0.64, 0.36, 0.04]), prediction)


def test_a_share_of_the_schedule_is_a_timestep_and_back() -> None:
    """Of four timesteps the shares [0, 1/4), [1/4, 1/2) ... mean 0, 1 ...; 1 itself is the last."""
    process = schedule()
    assert process.timesteps(torch.tensor([0.0, 0.24, 0.25, 0.74, 0.99, 1.0])).tolist() == [0, 0, 1, 2, 3, 3]
    thousand = Diffusion(torch.linspace(0.999, 0.01, 1000), "epsilon")
    every = torch.arange(1000)
    assert torch.equal(thousand.timesteps(thousand.sigma_of(every)), every)


def test_diffusion_by_hand() -> None:
    """x0 = 2, eps = 10 at abar 0.36: z = 0.6 * 2 + 0.8 * 10 = 9.2; v = 0.6 * 10 - 0.8 * 2 = 4.4; snr = 0.36 / 0.64."""
    x0, eps, sigma = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 10.0), torch.tensor([0.6])
    for prediction, expected in (("epsilon", 10.0), ("v_prediction", 4.4)):
        process = schedule(prediction)
        assert process.add_noise(x0, eps, sigma).item() == pytest.approx(9.2)
        assert process.target(x0, eps, sigma).item() == pytest.approx(expected)
        assert process.snr(sigma).item() == pytest.approx(0.5625)


@pytest.mark.parametrize(
    ("prediction", "kind", "expected"),
    [
        # snr of the four timesteps: 24, 1.7778, 0.5625, 0.041667; gamma 5
        ("epsilon", "none", [1, 1, 1, 1]),
        ("epsilon", "min_snr", [5 / 24, 1, 1, 1]),
        ("v_prediction", "min_snr", [5 / 25, 0.64, 0.36, 0.04]),  # snr / (snr + 1) is abar
        ("epsilon", "debiased", [24**-0.5, 0.75, 4 / 3, 24**0.5]),
        ("v_prediction", "debiased", [0.04, 0.36, 0.64, 0.96]),
    ],
)
def test_weights_of_noise_levels_by_hand(prediction: str, kind: str, expected: list[float]) -> None:
    weights = schedule(prediction).weight(torch.tensor([0.1, 0.3, 0.6, 0.9]), kind, 5.0)
    torch.testing.assert_close(weights, torch.tensor(expected).float(), rtol=1e-4, atol=1e-6)


def test_a_level_without_any_signal_has_a_finite_weight() -> None:
    """snr = 0: min-SNR gives 0 / (0 + 1) to a v model."""
    process = Diffusion(torch.tensor([0.5, 0.0]), "v_prediction")
    assert process.weight(torch.tensor([0.9]), "min_snr", 5.0).item() == 0


def test_weights_of_a_flow_by_hand() -> None:
    """At 0.5: sigma^-2 = 4; 2 / (pi (1 - 1 + 0.5)) = 4 / pi. Where there is hardly any noise the first one ends."""
    flow, half = RectifiedFlow(), torch.tensor([0.5])
    assert flow.weight(half, "none", 0).item() == 1
    assert flow.weight(half, "sigma_sqrt", 0).item() == 4
    assert flow.weight(half, "cosmap", 0).item() == pytest.approx(4 / math.pi)
    assert flow.weight(torch.tensor([0.0]), "sigma_sqrt", 0).isfinite().all()
    assert flow.snr(half).item() == 1


@pytest.mark.parametrize(
    ("process", "kind"), [(RectifiedFlow(), "min_snr"), (schedule(), "cosmap"), (schedule(), "sigma_sqrt")]
)
def test_weights_of_another_kind_of_model_are_refused(process: NoiseProcess, kind: str) -> None:
    with pytest.raises(ValueError, match=kind):
        process.weight(torch.tensor([0.5]), kind, 5.0)


def test_unknown_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="sample"):
        schedule("sample")


def test_mode_sampling_prefers_the_middle_and_stays_in_range() -> None:
    """1 - u - s (cos^2(pi u / 2) - 1 + u) at s = 1.29: the middle third holds more than a third, the ends less."""
    drawn = torch.cat([sample_sigma("mode", 0, 1, 1.0, generator(i), 1.29) for i in range(3000)])
    assert drawn.min() >= 0 and drawn.max() <= 1
    assert ((drawn > 1 / 3) & (drawn < 2 / 3)).float().mean() > 0.5
    even = torch.cat([sample_sigma("mode", 0, 1, 1.0, generator(i), 0.0) for i in range(3000)])
    assert ((even > 1 / 3) & (even < 2 / 3)).float().mean().item() == pytest.approx(1 / 3, abs=0.03)


# --------------------------------------------------------------------------- noise


def test_offset_moves_the_mean_of_each_channel_alone() -> None:
    noise = torch.randn(4, 8, 8, generator=generator("a"))
    moved = offset_noise(noise, 0.1, generator("b")) - noise
    assert torch.allclose(moved, moved[:, :1, :1].expand_as(moved), atol=1e-6)
    assert 0.01 < moved[:, 0, 0].std() < 0.5 and moved[:, 0, 0].unique().numel() == 4


def test_pyramid_noise_is_coarser_and_as_strong() -> None:
    """Neighbours of plain noise do not correlate; with coarse levels they do. The deviation is 1 again."""
    plain = torch.randn(4, 64, 64, generator=generator("a"))
    coarse = pyramid_noise(plain, 0.8, 6, generator("b"))
    assert coarse.shape == plain.shape and coarse.std().item() == pytest.approx(1)

    def neighbours(noise: torch.Tensor) -> float:
        return (noise[..., 1:] * noise[..., :-1]).mean().item()

    assert abs(neighbours(plain)) < 0.03 < 0.1 < neighbours(coarse)
    assert torch.equal(coarse, pyramid_noise(plain, 0.8, 6, generator("b")))


# --------------------------------------------------------------------------- losses


def test_huber_by_hand() -> None:
    """d = 3, c = 4: sqrt(9 + 16) = 5, so huber is 2 * 4 * (5 - 4) = 8 and smooth_l1 2 * (5 - 4) = 2; d^2 is 9."""
    difference, sigma, flow = torch.full((1, 1, 1, 1), 3.0), torch.tensor([0.5]), RectifiedFlow()
    assert Huber(4.0, "constant")(difference, sigma, flow).item() == pytest.approx(8)
    assert Huber(4.0, "constant", smooth=True)(difference, sigma, flow).item() == pytest.approx(2)
    assert l2(difference, sigma, flow).item() == 9


def test_huber_is_the_square_for_small_differences() -> None:
    difference = torch.full((1, 1, 1, 1), 0.01)
    loss = Huber(1.0, "constant")(difference, torch.tensor([0.5]), RectifiedFlow())
    assert loss.item() == pytest.approx(1e-4, rel=2e-3)


@pytest.mark.parametrize(
    ("schedule_name", "at_0", "at_1"), [("constant", 0.1, 0.1), ("exponential", 1.0, 0.1), ("snr", None, None)]
)
def test_threshold_moves_with_noise(schedule_name: str, at_0: float | None, at_1: float | None) -> None:
    """exponential: c^sigma. snr at abar 0.5: s = 1, so (1 - 0.1) / (1 + 1)^2 + 0.1 = 0.325."""
    if schedule_name == "snr":
        process = Diffusion(torch.tensor([0.5]), "epsilon")
        assert Huber(0.1, "snr").threshold(torch.tensor([0.5]), process).item() == pytest.approx(0.325)
        return
    ends = Huber(0.1, schedule_name).threshold(torch.tensor([0.0, 1.0]), RectifiedFlow())
    assert ends.tolist() == pytest.approx([at_0, at_1])
