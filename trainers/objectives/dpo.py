"""Preference training: the model comes closer to the preferred picture of a pair than to the other one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.adapters import Adapter
from trainers.config import Objective
from trainers.data.dataset import Batch
from trainers.events import Warned
from trainers.families.base import Conditioning
from trainers.objectives import preference_losses as losses
from trainers.objectives.base import Denoiser, LossResult, Reference
from trainers.objectives.monitor import Monitor


@dataclass(frozen=True)
class Compared:
    """Noisy pictures as the model sees them, and as the reference does.

    error, reference_error [B] fp32: mean squared; gap [B,C,h,w]: prediction - target; drift [B]: mean squared distance
    of the two predictions, without gradient.
    """

    error: Tensor
    reference_error: Tensor
    gap: Tensor
    drift: Tensor

    @property
    def change(self) -> Tensor:
        """d = e - r [B]: below 0 the model has come closer to the pictures."""
        return self.error - self.reference_error

    def rows(self, chosen: slice | Tensor) -> Compared:
        return Compared(self.error[chosen], self.reference_error[chosen], self.gap[chosen], self.drift[chosen])


def compare(denoiser: Denoiser, latents: Tensor, cond: Conditioning, noise: Tensor, sigma: Tensor) -> Compared:
    """latents, noise [B,C,h,w] fp32; sigma [B] fp32. The same batch in one pass each, the reference first: it keeps
    nothing for a gradient, so that the memory of both is never needed at once."""
    target = denoiser.process.target(latents, noise, sigma)
    before = denoiser.predict(latents, cond, noise, sigma, reference=True)
    after = denoiser.predict(latents, cond, noise, sigma)
    gap = after - target
    return Compared(_mean_square(gap), _mean_square(before - target), gap, _mean_square(after.detach() - before))


@dataclass(frozen=True)
class _Judged:
    """preference, plain [B]: the two terms of the loss, with gradient; metrics: detached, [n]."""

    preference: Tensor
    plain: Tensor
    metrics: dict[str, Tensor]


class Dpo:
    """loss = mean of weight * (L(z) + sft_weight * e_w); see `preference_losses` for z and L.

    Winner and loser of a pair get the same noise, noise level and caption, so that nothing but the picture differs.
    The second term is plain training on the preferred pictures: without it the errors on both rise, that on the other
    one faster, and the pictures get worse while the margin grows.
    """

    def __init__(self, config: Objective, *, continued: bool) -> None:
        """continued: the adapter starts with weights of a file."""
        self._kind, self._beta, self._plain_weight = config.preference_loss, config.beta, config.sft_weight
        self._mu = config.sdpo_mu if config.sdpo else None
        self._frozen = config.reference == "frozen" or (config.reference == "auto" and continued)
        self._pair_loss = None if self._kind == "kto" else losses.make_pair_loss(config)
        self._monitor = Monitor(saturated_below=min(0.02, config.dmpo_alpha / 2) if self._kind == "dmpo" else 0.02)

    def reference(self, adapter: Adapter) -> Reference:
        if not self._frozen:
            return adapter.disabled
        adapter.keep_start()
        return adapter.as_at_start

    def loss(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> LossResult:
        judged = self._judge(denoiser, batch, noise, sigma)
        return LossResult(self._total(judged, batch).mean(), judged.metrics)

    def measure(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        judged = self._judge(denoiser, batch, noise, sigma)
        return {"loss": self._total(judged, batch), **judged.metrics}

    def watch(self, metrics: dict[str, float], *, held_out: bool = False) -> list[Warned]:
        return self._monitor.held_out(metrics) if held_out else self._monitor.trained(metrics)

    def _total(self, judged: _Judged, batch: Batch) -> Tensor:
        return batch.weight * (judged.preference + self._plain_weight * judged.plain)

    def _judge(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> _Judged:
        if batch.loser is None:
            return self._singles(denoiser, batch, noise, sigma)
        both = compare(
            denoiser,
            torch.cat([batch.latents, batch.loser]),
            Conditioning.stack([batch.cond, batch.cond]),
            noise.repeat(2, 1, 1, 1),
            sigma.repeat(2),
        )
        count = len(batch.ids)
        winner, loser = both.rows(slice(None, count)), both.rows(slice(count, None))
        if self._kind == "kto":
            return self._liked_and_not(winner, loser)
        return self._pairs(winner, loser)

    def _pairs(self, winner: Compared, loser: Compared) -> _Judged:
        assert self._pair_loss
        loser_change, extra = loser.change, {}
        if self._mu is not None:
            error, scale = losses.protected(loser.error, winner.gap, loser.gap, self._mu)
            loser_change, extra = error - loser.reference_error, {"sdpo_scale": scale}
        z = losses.margin(winner.change, loser_change, self._beta)
        preference = self._pair_loss(z)
        metrics = {**_pair_metrics(z, winner, loser), "gradient_factor": torch.sigmoid(-z), **extra}
        return _judged(preference, winner.error, metrics)

    def _liked_and_not(self, winner: Compared, loser: Compared) -> _Judged:
        """KTO of both sides, of which each counts half."""
        wanted = torch.arange(2 * len(winner.error), device=winner.error.device) < len(winner.error)
        preference, h = losses.kto(torch.cat([winner.change, loser.change]), wanted, self._beta)
        z = losses.margin(winner.change, loser.change, self._beta)
        metrics = {**_pair_metrics(z, winner, loser), "gradient_factor": _slope(h)}
        return _judged(torch.stack(preference.chunk(2)).mean(0), winner.error, metrics)

    def _singles(self, denoiser: Denoiser, batch: Batch, noise: Tensor, sigma: Tensor) -> _Judged:
        """KTO of pictures that are wanted or not; the term of plain training is for those that are."""
        if batch.wanted is None or self._kind != "kto":
            raise ValueError(f"the loss {self._kind} is of pairs, and this batch has none")
        seen, wanted = compare(denoiser, batch.latents, batch.cond, noise, sigma), batch.wanted
        preference, h = losses.kto(seen.change, wanted, self._beta)
        liked, disliked = seen.rows(wanted), seen.rows(~wanted)
        half_z = torch.where(wanted, -1.0, 1.0) * self._beta / 2 * seen.change
        metrics = {**_margin_metrics(half_z), **_side_metrics(liked, disliked), "gradient_factor": _slope(h)}
        return _judged(preference, torch.where(wanted, seen.error, 0.0), metrics)


def _judged(preference: Tensor, plain: Tensor, metrics: dict[str, Tensor]) -> _Judged:
    known = {"preference_loss": preference, **metrics}
    return _Judged(preference, plain, {name: values.detach() for name, values in known.items()})


def _pair_metrics(z: Tensor, winner: Compared, loser: Compared) -> dict[str, Tensor]:
    return {**_margin_metrics(z), **_side_metrics(winner, loser)}


def _margin_metrics(z: Tensor) -> dict[str, Tensor]:
    """accuracy: of a tie it is a half, which an adapter that does nothing has."""
    return {"accuracy": (z > 0).float() + 0.5 * (z == 0).float(), "margin": z}


def _side_metrics(winner: Compared, loser: Compared) -> dict[str, Tensor]:
    return {
        "winner_error": winner.error,
        "loser_error": loser.error,
        "winner_change": winner.change,
        "loser_change": loser.change,
        "drift": torch.cat([winner.drift, loser.drift]),
    }


def _slope(h: Tensor) -> Tensor:
    """Of sigma at h: 1/4 at h = 0."""
    return torch.sigmoid(h) * torch.sigmoid(-h)


def _mean_square(values: Tensor) -> Tensor:
    return values.square().flatten(1).mean(1)
