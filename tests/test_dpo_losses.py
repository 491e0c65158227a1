"""The losses of preference training against numbers that were worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trainers.config import Objective
from trainers.objectives import preference_losses as losses

PAIR_LOSSES = ("sigmoid", "ipo", "hinge", "dmpo")


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pair_loss(name: str, **settings: object) -> losses.PairLoss:
    return losses.make_pair_loss(Objective(kind="dpo", preference_loss=name, **settings))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sigmoid", math.log(2)),
        ("ipo", 0.25),  # beta^2 / (4 tau^2) with tau = beta
        ("hinge", 1.0),
        ("dmpo", 0.5 * math.log(0.5 / 0.99) + 0.5 * math.log(0.5 / 0.01)),  # KL of (.5, .5) from (.99, .01) = 1.6145
    ],
)
def test_value_when_the_model_is_its_reference(name: str, value: float) -> None:
    for smoothing in (0.0, 0.2):  # at z = 0 both ways round are the same
        loss = pair_loss(name, label_smoothing=smoothing)(numbers(0.0))
        assert loss.item() == pytest.approx(value, abs=1e-12)


def test_values_at_a_margin_of_two() -> None:
    """sigma(2) = 0.880797: -ln of it is 0.126928, -ln(1 - it) = 2.126928. With a fifth of the votes wrong:
    0.8 * 0.126928 + 0.2 * 2.126928 = 0.526928. (2 - 0.5)^2 = 2.25. max(0, 1 - 2) = 0, and at -2 it is 3."""
    z = numbers(2.0, -2.0)
    assert pair_loss("sigmoid")(z).tolist() == pytest.approx([0.126928, 2.126928], abs=1e-6)
    assert pair_loss("sigmoid", label_smoothing=0.2)(z).tolist() == pytest.approx([0.526928, 1.726928], abs=1e-6)
    assert pair_loss("ipo")(z).tolist() == [2.25, 6.25]
    assert pair_loss("hinge")(z).tolist() == [0.0, 3.0]


def test_dmpo_is_least_at_the_logit_of_its_certainty() -> None:
    best = math.log(0.99 / 0.01)
    at_best, *around = pair_loss("dmpo")(numbers(best, best - 0.1, best + 0.1, 0.0, 20.0)).tolist()
    assert at_best == pytest.approx(0, abs=1e-12) and min(around) > 0


def test_ipo_is_that_of_the_paper_times_beta_squared() -> None:
    beta, z = 40.0, numbers(-3.0, 0.0, 0.7)
    paper = (z / beta - 1 / (2 * beta)).square()
    torch.testing.assert_close(pair_loss("ipo")(z), beta**2 * paper)


def test_margin_by_hand_and_swapped() -> None:
    """e_w = 0.9 of r_w = 1.0, e_l = 1.4 of r_l = 1.2, beta = 10: z = -5 (-0.1 - 0.2) = 1.5."""
    winner, loser = numbers(0.9 - 1.0), numbers(1.4 - 1.2)
    assert losses.margin(winner, loser, 10.0).item() == pytest.approx(1.5)
    torch.testing.assert_close(losses.margin(loser, winner, 10.0), -losses.margin(winner, loser, 10.0))


def test_beta_of_means_is_beta_of_sums_times_the_numbers_of_a_picture() -> None:
    size = 16 * 8 * 8
    winner, loser = torch.randn(2, 5, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    by_mean = losses.margin(winner.mean(1), loser.mean(1), 500.0)
    by_sum = losses.margin(winner.sum(1), loser.sum(1), 500.0 / size)
    torch.testing.assert_close(by_mean, by_sum)


def test_no_loss_overflows() -> None:
    z = torch.tensor([-1e5, 1e5], requires_grad=True)
    for name in PAIR_LOSSES:
        loss = pair_loss(name, label_smoothing=0.1)(z).sum()
        assert loss.isfinite() and torch.autograd.grad(loss, z)[0].isfinite().all()


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """Of the loss by the four errors, in fp64; hinge away from its corner."""
    errors = torch.rand(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    before = torch.rand(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    loss = pair_loss(name, label_smoothing=0.1)

    def total(now: Tensor) -> Tensor:
        return loss(losses.margin(*(now - before), 3.0)).sum()

    assert torch.autograd.gradcheck(total, (errors,))


def test_gradient_of_one_parameter_by_hand() -> None:
    """The model predicts a for both pictures, whose truths are 1 and -1; the reference predicts 0.

    d_w = (a - 1)^2 - 1 = a^2 - 2a and d_l = (a + 1)^2 - 1 = a^2 + 2a, so z = -(beta / 2) (-4a) = 2 beta a, and
    dL/da = -2 beta sigma(-2 beta a): -beta at a = 0. With beta = 3 and a = 0.2: z = 1.2, -6 * 0.231475 = -1.388851.
    """
    for value, slope in ((0.0, -3.0), (0.2, -1.388851)):
        a = torch.tensor([value], dtype=torch.float64, requires_grad=True)
        z = losses.margin((a - 1).square() - 1, (a + 1).square() - 1, 3.0)
        assert z.item() == pytest.approx(6 * value)
        losses.sigmoid(z).sum().backward()
        assert a.grad is not None and a.grad.item() == pytest.approx(slope, abs=1e-6)


def test_protection_has_a_scale_for_each_pair_and_keeps_the_value() -> None:
    """mu = 0.6. |g_w|^2 = 4, <g_w, g_l> = 8: 0.4 * 4 / 8 = 0.2. Against each other (-8), or across (0): 1.
    <g_w, g_l> = 1: 0.4 * 4 / 1 = 1.6, held at 1."""
    winner = numbers(2, 0).reshape(1, 2).repeat(4, 1)
    loser = torch.stack([numbers(4, 1), numbers(-4, 1), numbers(0, 3), numbers(0.5, 0)]).requires_grad_()
    error = loser.square().mean(1)
    weaker, scale = losses.protected(error, winner, loser, mu=0.6)
    assert scale.tolist() == pytest.approx([0.2, 1.0, 1.0, 1.0])
    assert torch.equal(weaker, error)
    plain, scaled = (torch.autograd.grad(one.sum(), loser, retain_graph=True)[0] for one in (error, weaker))
    torch.testing.assert_close(scaled, plain * scale[:, None])


def test_protection_leaves_its_share_of_the_winners_gain() -> None:
    """One step along both gradients lowers e_w by |g_w|^2 - lambda <g_w, g_l>, to first order: mu |g_w|^2 or more."""
    rng = torch.Generator().manual_seed(3)
    winner = torch.randn(200, 12, dtype=torch.float64, generator=rng)
    loser = torch.randn(200, 12, dtype=torch.float64, generator=rng)
    _, scale = losses.protected(loser.square().mean(1), winner, loser, mu=0.7)
    alone = winner.square().sum(1)
    assert (scale < 1).any() and (alone - scale * (winner * loser).sum(1) >= 0.7 * alone - 1e-9).all()


def test_kto_by_hand() -> None:
    """beta = 10, d = (-0.2, 0.1, 0.0): rewards 2, -1, 0, of mean 1/3 = Q. Wanted, not wanted, wanted:
    h = 5/3, -(-4/3) = 4/3, -1/3; the losses are -sigma of them: -0.841131, -0.791391, -0.417430."""
    change = numbers(-0.2, 0.1, 0.0).requires_grad_()
    loss, h = losses.kto(change, torch.tensor([True, False, True]), 10.0)
    assert h.tolist() == pytest.approx([5 / 3, 4 / 3, -1 / 3])
    assert loss.tolist() == pytest.approx([-0.841131, -0.791391, -0.417430], abs=1e-6)
    # Q has no gradient: dL/dd = w beta sigma'(h)
    slope = torch.autograd.grad(loss.sum(), change)[0]
    expected = [sign * 10 * (1 + value) * -value for sign, value in zip((1, -1, 1), loss.tolist(), strict=True)]
    assert slope.tolist() == pytest.approx(expected)
    # a batch that got worse on the whole has Q = 0
    _, h = losses.kto(numbers(0.2, 0.2), torch.tensor([True, False]), 10.0)
    assert h.tolist() == pytest.approx([-2.0, 2.0])
    assert losses.kto(numbers(0.0), torch.tensor([True]), 10.0)[0].item() == -0.5
