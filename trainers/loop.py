"""The training loop. It knows neither families nor objectives nor adapters by name."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trainers import checkpoint
from trainers.adapters import Adapter
from trainers.checkpoint import TrainState
from trainers.config import Noise, TrainConfig
from trainers.data.dataset import Batch, Batches, steps_of
from trainers.errors import AtelierError
from trainers.events import CheckpointSaved, Emit, PhaseChanged, StepDone, Warned
from trainers.families.base import ModelFamily, Runtime
from trainers.lora.merge import merge
from trainers.lora.read import read_lora
from trainers.memory import peak_gib
from trainers.objectives.base import Denoiser, Objective, means_of
from trainers.optim import make_lr_scheduler, make_optimizer
from trainers.processes import offset_noise, pyramid_noise, sample_sigma
from trainers.randomness import generator, seed_of
from trainers.rundir import Command, RunDir
from trainers.sampling import Previewer
from trainers.validation import Validator

MAX_SKIPPED = 10  # steps in a row with a gradient that is not finite, before giving up
PAUSE_S = 0.5

Control = Callable[[], list[Command]]  # what people asked for since the last call


@dataclass(frozen=True)
class RunResult:
    """step: the last one done; stopped: a person ended the run before its last step."""

    step: int
    total_steps: int
    adapter: Adapter
    stopped: bool


def train(
    config: TrainConfig,
    family: ModelFamily,
    objective: Objective,
    dataset: Batches,
    run: RunDir,
    runtime: Runtime,
    emit: Emit,
    control: Control,
    *,
    resume: bool = False,
    export: checkpoint.Export | None = None,
) -> RunResult:
    """Train an adapter on an encoded dataset; previews, validation and checkpoints go to the run folder.

    export: writes the adapter file that each checkpoint holds.

    A run that was stopped and resumed takes the same steps as one that was not.
    """
    total = steps_of(config, dataset)
    emit(PhaseChanged("loading", "base model"))
    family.load("denoiser")
    if runtime.train_text:
        family.load("trained_text")
    state = _start(config, family, runtime, total)
    denoiser = Denoiser(family, state.adapter, objective.reference(state.adapter))
    previews = Previewer(config, family, dataset, run, emit)
    validator = Validator(config, denoiser, objective, dataset, emit)
    save_due, sample_due, validate_due = (
        config.save.every_steps,
        config.sample.every_steps,
        config.validation.every_steps,
    )

    if resume and (latest := run.latest_checkpoint()):
        checkpoint.load(latest, state)
    else:
        previews.draw(0)
        validator.measure(0)

    def save() -> None:
        emit(PhaseChanged("saving", f"step {state.step}"))
        path = checkpoint.save(run, state, config.save.keep_last, export)
        emit(CheckpointSaved(state.step, path.relative_to(run.path).as_posix()))

    for module in family.adapted().values():
        module.train()
    epochs_per_step = config.schedule.gradient_accumulation / dataset.batches_per_epoch
    stopped, skipped, fresh_phase = False, 0, True
    while state.step < total:
        wishes = _wishes(control, emit)
        if "stop" in wishes:
            stopped = True
            break
        if "save" in wishes:
            save()
        if "sample" in wishes:
            previews.draw(state.step)
        if wishes or fresh_phase:
            emit(PhaseChanged("training", "", state.step, total))

        begun = time.perf_counter()
        step = state.step + 1
        torch.manual_seed(seed_of(config.run.seed, step, "dropout"))  # the layers' dropout has no generator of its own
        batches = _batches(dataset, step, config.schedule.gradient_accumulation)
        means = _accumulate(config, objective, denoiser, batches, step, runtime, state.scaler)
        grad_norm = _update(config, state)
        state.step = step
        loss, norm, *values = torch.stack([means.pop("loss"), grad_norm, *means.values()]).tolist()  # one wait
        metrics = dict(zip(means, values, strict=True))
        skipped = 0 if state.scaler.is_enabled() or math.isfinite(norm) else skipped + 1
        if skipped:
            _warn_skipped(emit, step, batches, skipped)
        emit(
            StepDone(
                step=step,
                loss=loss,
                learning_rate=state.lr_scheduler.get_last_lr()[0],
                grad_norm=norm,
                seconds=time.perf_counter() - begun,
                memory_gib=peak_gib(runtime.device),
                metrics={"epoch": epochs_per_step * step, **metrics},
            )
        )
        for warning in objective.watch(metrics):
            emit(warning)

        last = step == total
        due = [bool(every) and (step % every == 0 or last) for every in (validate_due, sample_due, save_due)]
        if due[0]:
            validator.measure(step)
        if due[1] or last:
            previews.draw(step)
        if due[2] and not last:
            save()
        fresh_phase = any(due)

    save()
    return RunResult(state.step, total, state.adapter, stopped)


def _start(config: TrainConfig, family: ModelFamily, runtime: Runtime, total: int) -> TrainState:
    resume_from, sft_lora = config.adapter.resume_from, config.objective.sft_lora
    below = None
    if sft_lora:
        below = merge(read_lora(Path(sft_lora), family.skeleton()), family.adapted(), Path(sft_lora).name)
    adapter = Adapter(
        family.adapted(),
        config.adapter,
        family.lora_targets(config.adapter.targets),
        config.run.seed,
        like=read_lora(Path(resume_from), family.skeleton()) if resume_from else None,
        below=below,
    )
    optimizer = make_optimizer(config.optimizer, adapter.parameter_groups())
    return TrainState(
        adapter=adapter,
        optimizer=optimizer,
        lr_scheduler=make_lr_scheduler(config.schedule, optimizer, total),
        # gradients below 6e-8 vanish in fp16 unless the loss is scaled up
        scaler=torch.amp.GradScaler(runtime.device.type, enabled=runtime.dtype == torch.float16),
    )


def _wishes(control: Control, emit: Emit) -> list[Command]:
    """Commands since the last step; while paused, waits for "resume" or "stop"."""
    wishes = control()
    paused = "pause" in wishes and "resume" not in wishes[wishes.index("pause") :]
    if paused:
        emit(PhaseChanged("paused"))
    while paused and "stop" not in wishes:
        time.sleep(PAUSE_S)
        news = control()
        wishes += news
        paused = "resume" not in news
    return wishes


def _batches(dataset: Batches, step: int, accumulation: int) -> list[Batch]:
    """The batches of an optimizer step; their numbers follow from the step."""
    first = (step - 1) * accumulation
    return [dataset.batch(number) for number in range(first, first + accumulation)]


def _accumulate(
    config: TrainConfig,
    objective: Objective,
    denoiser: Denoiser,
    batches: list[Batch],
    step: int,
    runtime: Runtime,
    scaler: torch.amp.GradScaler,
) -> dict[str, Tensor]:
    """Add up the gradients of the step's batches; every sample weighs the same.

    Returns "loss" and the objective's metrics, detached scalars, as means over the samples that have them.
    """
    count = sum(len(batch.ids) for batch in batches)
    seen: Counter[str] = Counter()
    loss: Tensor | float = 0.0
    metrics: dict[str, list[Tensor]] = defaultdict(list)
    for batch in batches:
        shift = config.noise.shift
        if shift == "auto":
            shift = denoiser.family.shift(*batch.latents.shape[-2:], config.noise.shift_kind)
        noise, sigma = draw_noise(config.noise, batch, float(shift), config.run.seed, step, seen)
        with _autocast(runtime):
            result = objective.loss(denoiser, batch, noise, sigma)
        share = len(batch.ids) / count
        scaler.scale(result.loss * share).backward()
        loss = loss + result.loss.detach().float() * share
        for name, values in result.metrics.items():
            metrics[name].append(values.float())
    return {"loss": torch.as_tensor(loss), **means_of(metrics)}


def draw_noise(
    config: Noise, batch: Batch, shift: float, seed: int, step: int, seen: Counter[str]
) -> tuple[Tensor, Tensor]:
    """Noise [B,C,h,w] and sigma [B], fp32 on the batch's device; each follows from (seed, step, sample id).

    seen counts visits within the step, so that a sample that comes twice gets other noise.
    """
    noise, sigma = [], []
    for sample in batch.ids:
        rng = generator(seed, step, sample, seen[sample])
        seen[sample] += 1
        kind, mean, std = config.timestep_sampling, config.logit_mean, config.logit_std
        sigma.append(sample_sigma(kind, mean, std, shift, rng, config.mode_scale))
        noise.append(_noise(config, batch.latents.shape[1:], rng))
    device = batch.latents.device
    return torch.stack(noise).to(device), torch.cat(sigma).to(device)


def _noise(config: Noise, shape: torch.Size, rng: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=rng)
    if config.offset:
        noise = offset_noise(noise, config.offset, rng)
    if config.pyramid_discount:
        noise = pyramid_noise(noise, config.pyramid_discount, config.pyramid_levels, rng)
    return noise


def _update(config: TrainConfig, state: TrainState) -> Tensor:
    """Clip, step, clear. A gradient that is not finite changes nothing. Returns its norm before clipping."""
    parameters = state.adapter.parameters()
    state.scaler.unscale_(state.optimizer)
    limit = config.optimizer.max_grad_norm or float("inf")
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
    if state.scaler.is_enabled():
        state.scaler.step(state.optimizer)  # skips by itself, and lowers its scale
        state.scaler.update()
    elif torch.isfinite(norm):
        state.optimizer.step()
    state.optimizer.zero_grad()
    state.lr_scheduler.step()
    return norm.detach()


def _warn_skipped(emit: Emit, step: int, batches: list[Batch], skipped: int) -> None:
    names = ", ".join(itertools.chain.from_iterable(batch.captions for batch in batches))
    emit(
        Warned(
            "not_finite",
            f"Step {step} gave no finite gradient and changed nothing ({names}).",
            "Lower optimizer.learning_rate.",
        )
    )
    if skipped >= MAX_SKIPPED:
        raise AtelierError(
            f"{skipped} steps in a row gave no finite gradient.",
            "Resume with a lower optimizer.learning_rate, or fp32.",
        )


def _autocast(runtime: Runtime) -> contextlib.AbstractContextManager[object]:
    """fp32 adapter weights meet a base in half precision: compute their products in half precision too."""
    if runtime.dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(runtime.device.type, runtime.dtype)
