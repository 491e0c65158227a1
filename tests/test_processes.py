"""The noise process in numbers that can be checked by hand."""

from __future__ import annotations

import pytest
import torch

from trainers.processes import RectifiedFlow, apply_shift, sample_sigma, sigma_grid
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
