"""What a run will take, known before it starts: steps, time, memory, disk. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainers import catalog
from trainers.config import Data, TrainConfig
from trainers.machine import GIB, Machine

BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0}
# Numbers multiplied per second that a training step sustains; a run that was measured replaces the guess.
FLOPS = {"cuda": 6e13, "mps": 4e12, "cpu": 6e10}
FIXED_STEP_S = {"cuda": 0.03, "mps": 0.03, "cpu": 0.02}
LAYER_STEP_S = {"cuda": 0.004, "mps": 0.004, "cpu": 0.0}  # starting the kernels of a block and of its adapters
# of a token: 16 channels in fp32 for each of 2 x 2 places, or 4 channels for each of 4 x 4
LATENT_BYTES = 16 * 4 * 4
T5_PACKED = 0.761  # share of T5 in 8 bits: all linear layers but the last of each feed-forward
UNPAIRED_LOSSES = ("kto",)  # of preference training: they learn from single pictures, liked or not
OVERHEAD_GIB = {"cuda": 1.0, "mps": 0.8, "cpu": 0.9}  # context, kernels and libraries


@dataclass(frozen=True)
class Plan:
    """pictures: in the folder; steps: of the optimizer; seconds: from start to file; memory_gib: peak on the device.

    disk_gib: that the run's folder takes; cache_gib: that the cache takes, if nothing of it is there yet; measured:
    seconds_per_step comes from an earlier run, not from a guess.
    """

    pictures: int
    steps: int
    epochs: float
    seconds_per_step: float
    seconds: float
    memory_gib: float
    disk_gib: float
    cache_gib: float
    measured: bool

    def sentence(self) -> str:
        """As in "300 steps, about 1 min 20 s, peak about 1.2 GB"."""
        return f"{self.steps} steps, about {duration(self.seconds)}, peak about {self.memory_gib:.1f} GB"


def duration(seconds: float) -> str:
    """As in "45 s", "4 min 20 s", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def resolutions(data: Data) -> tuple[int, ...]:
    """The sizes that pictures are trained at unless their data set says otherwise, the first one first."""
    return tuple(dict.fromkeys([int(data.resolution), *data.more_resolutions]))


def batches_per_epoch(pictures: int, config: TrainConfig) -> int:
    """Batches in which an epoch shows every picture `repeats` times, if all have one size."""
    return max(1, math.ceil(pictures * config.data.repeats / config.schedule.batch_size))


def total_steps(config: TrainConfig, batches: int) -> int:
    """Optimizer steps of the run: max_steps, or max_epochs rounds if that is earlier. batches: in an epoch."""
    steps = config.schedule.max_steps
    if config.schedule.max_epochs:
        rounds = math.ceil(batches * config.schedule.max_epochs / config.schedule.gradient_accumulation)
        steps = min(steps, max(1, rounds))
    return steps


def training_pictures(pictures: int, config: TrainConfig) -> int:
    """Pictures that are trained on, without those held out for validation."""
    return pictures - held_out(pictures, config)


def held_out(pictures: int, config: TrainConfig) -> int:
    """Pictures kept for validation: at least one when a share is asked for, and never all."""
    if not config.validation.fraction or pictures < 2:
        return 0
    return max(1, round(pictures * config.validation.fraction))  # the share is a half at most


def forecast(
    config: TrainConfig,
    machine: Machine,
    pictures: int,
    measured_step_s: float | None = None,
    *,
    batches: int | None = None,
    latents: int | None = None,
) -> Plan:
    """The plan of a resolved config.

    measured_step_s: seconds a step took in an earlier run of this kind; batches: in an epoch, when the
    sizes of the pictures are known (a batch has one size); latents: pictures in the cache, one for each size and cut.
    """
    model = catalog.model_of(config.model.base, config.model.family)
    batches = batches or batches_per_epoch(training_pictures(pictures, config), config)
    steps = total_steps(config, batches)
    tokens = _tokens(config, model)
    step_s = measured_step_s or _guess_step_s(config, machine, model, tokens)
    previews, texts, kept = _previews(config, steps), _texts_gib(config, model, pictures), config.data.cache_text
    latents_gib = (latents or pictures) * (tokens - model.text_tokens) * LATENT_BYTES / GIB
    preview_s = model.denoiser_params * 2e9 * tokens / FLOPS[machine.device] * int(config.sample.steps)
    return Plan(
        pictures=pictures,
        steps=steps,
        epochs=steps * config.schedule.gradient_accumulation / batches,
        seconds_per_step=step_s,
        seconds=step_s * steps + previews * preview_s + _start_s(model),
        memory_gib=_memory_gib(config, machine, model, tokens),
        disk_gib=_disk_gib(config, model, steps, previews) + (texts if kept == "run" else 0),
        cache_gib=latents_gib + (texts if kept == "disk" else 0),
        measured=measured_step_s is not None,
    )


def _previews(config: TrainConfig, steps: int) -> int:
    """Pictures drawn: of each prompt one before, one after, and those on the way."""
    every = config.sample.every_steps
    on_the_way = (steps - 1) // every if every else 0
    return len(config.sample.prompts) * (2 + on_the_way)


def _tokens(config: TrainConfig, model: catalog.ModelSpec) -> int:
    token_pixels = catalog.FAMILIES[model.family].token_pixels
    largest = max(*resolutions(config.data), *(side for one in config.data.sets for side in one.resolution), 0)
    return (largest // token_pixels) ** 2 + model.text_tokens


def _guess_step_s(config: TrainConfig, machine: Machine, model: catalog.ModelSpec, tokens: int) -> float:
    # forward 2, backward to the inputs 2, and forward again with checkpointing, per parameter and token
    passes = 6 if config.memory.gradient_checkpointing == "on" else 4
    if config.objective.kind == "dpo":
        passes += 2  # a forward of the reference
    elif config.objective.preservation:
        passes = 2 * passes + 2  # the same again under another word, and a forward of the base
    work = passes * model.denoiser_params * 1e9 * tokens * _batch(config) * config.schedule.gradient_accumulation
    fixed = FIXED_STEP_S[machine.device] + LAYER_STEP_S[machine.device] * model.layers
    return fixed + work / FLOPS[machine.device]


def _batch(config: TrainConfig) -> int:
    """Pictures that go through the model together: two for each pair."""
    of_pairs = config.objective.kind == "dpo" and config.objective.preference_loss not in UNPAIRED_LOSSES
    return config.schedule.batch_size * (2 if of_pairs else 1)


def _start_s(model: catalog.ModelSpec) -> float:
    """Imports, and two seconds for each billion of weights that is read."""
    return 10 + 2 * (model.denoiser_params + model.text_params)


def adapter_params(config: TrainConfig, model: catalog.ModelSpec) -> float:
    """Weights of a LoRA on about six square layers a block."""
    return model.layers * 6 * 2 * model.width * int(config.adapter.rank)


def _memory_gib(config: TrainConfig, machine: Machine, model: catalog.ModelSpec, tokens: int) -> float:
    """The largest of two stages: encoding captions, and training (base, adapter with AdamW, activations)."""
    compute = BYTES[config.model.precision]
    packed = model.packable if config.memory.quantize == "fp8" else 0.0
    checkpointing = config.memory.gradient_checkpointing == "on"
    weights = model.denoiser_params * 1e9
    stored = weights * (packed * BYTES["fp8"] + (1 - packed) * compute)
    # 8-bit weights become the compute format for their block's turn; without checkpointing autograd keeps them so
    unpacked = packed * weights * compute * (2 / model.layers if checkpointing else 1)
    adapter = adapter_params(config, model) * 16  # weight, gradient and two moments in fp32
    # a block keeps about 34 activations as wide as its input; with checkpointing its input alone, and the rest of one
    # block while that is computed again
    kept = model.layers * (1 if checkpointing else 34) + 34
    activations = kept * tokens * _batch(config) * model.width * compute
    encoders = _text_bytes(config, model) + model.vae_params * 1e9 * compute
    training = stored + unpacked + adapter + activations
    if config.data.cache_text == "none":
        training += _text_bytes(config, model)
    elif config.adapter.text_encoders:
        training += model.clip_params * 1e9 * compute
    return max(training, encoders) / GIB + OVERHEAD_GIB[machine.device]


def _text_bytes(config: TrainConfig, model: catalog.ModelSpec) -> float:
    """Of all text encoders; of T5, which no adapter is put on, most is in 8 bits where the base is."""
    compute = BYTES[config.model.precision]
    packed = T5_PACKED if config.memory.quantize == "fp8" else 0.0
    t5 = (model.text_params - model.clip_params) * 1e9
    return model.clip_params * 1e9 * compute + t5 * (packed * BYTES["fp8"] + (1 - packed) * compute)


def _disk_gib(config: TrainConfig, model: catalog.ModelSpec, steps: int, previews: int) -> float:
    adapter = adapter_params(config, model)
    every = config.save.every_steps
    made = 1 + (steps - 1) // every if every else 1
    kept = min(made, config.save.keep_last) if config.save.keep_last else made
    file = adapter * BYTES[config.save.dtype]
    # weight and two moments in fp32, and the file; one more while the next is written
    checkpoints = (kept + 1) * (adapter * 12 + file)
    return (checkpoints + previews * 2e6 + file) / GIB


def _texts_gib(config: TrainConfig, model: catalog.ModelSpec, pictures: int) -> float:
    """Encoded captions in half precision, in as many variants as are asked for."""
    is_random = config.captions.shuffle or config.captions.tag_dropout > 0
    texts = pictures * (config.captions.variants if is_random else 1)
    return texts * model.text_tokens * model.text_width * 2 / GIB
