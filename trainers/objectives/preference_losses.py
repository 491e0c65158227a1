"""How a pair counts: the losses of preference training as functions of its z.

e_w, e_l: mean squared error on the noisy preferred picture and on the other one; r_w, r_l: the same of the reference;
d = e - r. With them z = -(beta / 2) (d_w - d_l): above 0 the model has come closer to the preferred picture than to
the other one (Wallace et al. 2024, eq. 14, with T w(lambda) folded into beta; for velocities Liu et al. 2025).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config import Objective

PairLoss = Callable[[Tensor], Tensor]  # z [B] -> loss [B]


def margin(winner_change: Tensor, loser_change: Tensor, beta: float) -> Tensor:
    """z = -(beta / 2) (d_w - d_l), all [B]. Errors are means, so beta is the same at every resolution."""
    return -(beta / 2) * (winner_change - loser_change)


def sigmoid(z: Tensor) -> Tensor:
    """-log sigma(z): ln 2 at z = 0 (Rafailov et al. 2023)."""
    return F.softplus(-z)


def ipo(z: Tensor) -> Tensor:
    """(z - 1/2)^2: 1/4 at z = 0.

    Azar et al. 2024 have (h - 1 / (2 tau))^2 of h = z / beta. With tau = beta that is this divided by beta^2: the same
    minimum, and here a gradient as large as those of the other losses.
    """
    return (z - 0.5).square()


def hinge(z: Tensor) -> Tensor:
    """max(0, 1 - z): 1 at z = 0, and nothing more to gain from z = 1 on."""
    return F.relu(1 - z)


def dmpo(z: Tensor, alpha: float) -> Tensor:
    """KL(p || q) of p = sigma(z) from q = 1 - alpha: least at z = logit(1 - alpha) (Li et al. 2025)."""
    log_p, log_rest = F.logsigmoid(z), F.logsigmoid(-z)
    return log_p.exp() * (log_p - math.log(1 - alpha)) + log_rest.exp() * (log_rest - math.log(alpha))


def smoothed(loss: PairLoss, share: float) -> PairLoss:
    """(1 - eps) L(z) + eps L(-z): the share eps of the votes is taken to be wrong (cDPO, Mitchell 2023)."""
    return lambda z: (1 - share) * loss(z) + share * loss(-z)


def make_pair_loss(config: Objective) -> PairLoss:
    """The loss of this name, of pairs."""
    losses: dict[str, PairLoss] = {
        "sigmoid": sigmoid,
        "ipo": ipo,
        "hinge": hinge,
        "dmpo": lambda z: dmpo(z, config.dmpo_alpha),
    }
    loss = losses[config.preference_loss]
    return smoothed(loss, config.label_smoothing) if config.label_smoothing else loss


def kto(change: Tensor, wanted: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """-sigma(h) of h = w (-beta d - Q), and h: both [B]; -1/2 at d = 0 (Li et al. 2024, Diffusion-KTO).

    change: d [B]; wanted [B] bool: w is 1, or -1 for what is not. Q = max(0, mean of -beta d) over the batch, without
    gradient: how far the model has moved on the whole. A batch of one picture is its own mean, so use several.
    """
    reward = -beta * change
    moved = reward.detach().mean().clamp_min(0)
    h = torch.where(wanted, 1.0, -1.0) * (reward - moved)
    return -torch.sigmoid(h), h


def protected(loser_error: Tensor, winner_gap: Tensor, loser_gap: Tensor, mu: float) -> tuple[Tensor, Tensor]:
    """The loser's error with the same value and a weaker gradient, and what that is multiplied by: both [B].

    winner_gap, loser_gap [B,C,h,w]: g = prediction - target, which the errors' gradients are along. With <g_w, g_l> > 0
    pushing the loser's prediction away moves the winner's too; lambda = clamp((1 - mu) |g_w|^2 / <g_w, g_l>, 0, 1)
    leaves mu of the winner's gain to first order, else lambda = 1 (Diffusion-SDPO, Fu et al. 2025; there one lambda
    is taken for a batch, here each pair has its own).
    """
    of_winner, of_loser = winner_gap.detach().flatten(1), loser_gap.detach().flatten(1)
    shared = (of_winner * of_loser).sum(1)
    scale = torch.where(shared > 0, ((1 - mu) * of_winner.square().sum(1) / shared).clamp(0, 1), 1.0)
    fixed = loser_error.detach()
    return fixed + scale * (loser_error - fixed), scale
