"""What is trained, on what noise, by which optimizer, for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from trainers.config.section import Amount, Auto, Count, Positive, Rate, Section, param


class Adapter(Section):
    """The small set of weights that is trained."""

    kind: Literal["lora"] = param(
        "lora", "Kind", "Form of the adapter.", aka="network_module network_type lycoris algo"
    )
    rank: Annotated[int, Field(ge=1, le=1024)] | Auto = param(
        "auto",
        "Rank",
        "Size of the adapter: more can hold more detail, and more of what you did not mean. auto: by the model.",
        aka="network_dim r dim",
    )
    alpha: Annotated[float, Field(gt=0)] | Auto = param(
        "auto",
        "Alpha",
        "Strength of the adapter is alpha / rank. auto: the same as rank.",
        aka="network_alpha lora_alpha",
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = param(
        0.0, "Adapter dropout", "Share of the adapter's inputs set to zero in training.", aka="network_dropout"
    )
    targets: str = param(
        "auto",
        "Target layers",
        "A named set of layers of the family, or comma-separated endings of layer names. auto: the family's default.",
        aka="lora_target target_modules flux_lora_target",
    )
    resume_from: str = param(
        "", "Continue from", "A LoRA file whose weights training starts with.", aka="network_weights init_lora"
    )


class Sft(Section):
    """Plain training on pictures with captions."""

    kind: Literal["sft"] = param(
        "sft", "Objective", "What is minimised: the error of the prediction on your pictures.", aka="loss"
    )
    preservation: Amount = param(
        0.0,
        "Preservation",
        "Weight of leaving other words alone: under another word each picture must be seen as the base sees it. "
        "Steps take more than twice as long; 0 switches it off.",
        aka="diff_output_preservation blank_prompt_preservation prior_loss_weight regularization",
    )
    preserved_words: tuple[str, ...] = param(
        (),
        "Preserved words",
        "What stands in the trigger word's place for that, one a line, such as dog for your dog; none: no caption.",
        aka="diff_output_preservation_class class_prompt",
    )


class Noise(Section):
    """How much noise the training pictures get."""

    timestep_sampling: Literal["auto", "logit_normal", "uniform"] = param(
        "auto",
        "Noise levels",
        "Distribution of noise levels, before the shift. auto: the family's own.",
        aka="weighting_scheme sigmoid",
    )
    logit_mean: float = param(0.0, "Mean of noise levels", "Mean of logit(sigma) for logit_normal; more is noisier.")
    logit_std: Annotated[float, Field(gt=0)] = param(
        1.0, "Spread of noise levels", "Deviation of logit(sigma) for logit_normal."
    )
    shift: Annotated[float, Field(gt=0)] | Auto = param(
        "auto",
        "Shift",
        "Moves noise levels towards pure noise (above 1) or clean pictures (below). "
        "auto: by the family and the picture's size.",
        aka="discrete_flow_shift flux_shift time_shift",
    )


class Optimizer(Section):
    """The optimizer of the adapter's weights."""

    kind: Literal["adamw"] = param("adamw", "Optimizer", "AdamW, fused where the device has it.", aka="optimizer_type")
    learning_rate: Rate | Auto = param(
        "auto",
        "Learning rate",
        "Size of a step. auto: by the model. Too high burns, too low teaches nothing.",
        aka="lr unet_lr",
    )
    weight_decay: Amount = param(0.01, "Weight decay", "Pulls the adapter's weights towards zero.")
    beta1: Annotated[float, Field(ge=0, lt=1)] = param(
        0.9, "Beta 1", "Memory of the mean of gradients.", aka="adam_beta1 betas"
    )
    beta2: Annotated[float, Field(ge=0, lt=1)] = param(
        0.999, "Beta 2", "Memory of the square of gradients.", aka="adam_beta2 betas"
    )
    eps: Annotated[float, Field(gt=0)] = param(
        1e-8, "Epsilon", "Keeps the division by small squares finite.", aka="adam_epsilon"
    )
    max_grad_norm: Amount = param(
        1.0, "Gradient clipping", "Longest gradient that is allowed; 0 switches clipping off.", aka="clip"
    )


class Schedule(Section):
    """How long, in which portions, and how the learning rate moves."""

    max_steps: Positive = param(
        1000, "Steps", "Optimizer steps of the run.", level="beginner", unit="steps", aka="max_train_steps iterations"
    )
    max_epochs: Count = param(
        0,
        "Epochs",
        "End after so many rounds through the pictures, if that is earlier; 0 for no limit.",
        unit="epochs",
        aka="max_train_epochs",
    )
    batch_size: Positive = param(
        1, "Batch size", "Pictures that go through the model together.", unit="pictures", aka="train_batch_size"
    )
    gradient_accumulation: Positive = param(
        1,
        "Gradient accumulation",
        "Batches that are summed before a step: a larger batch for no more memory.",
        unit="batches",
        aka="gradient_accumulation_steps",
    )
    lr_scheduler: Literal[
        "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"
    ] = param("constant", "Learning-rate schedule", "How the learning rate moves over the run.", aka="lr_scheduler")
    warmup_steps: Count = param(
        0, "Warm-up", "Steps over which the learning rate rises from zero.", unit="steps", aka="lr_warmup_steps"
    )

    @field_validator("warmup_steps")
    @classmethod
    def _warmup_is_used(cls, steps: int, info: ValidationInfo) -> int:
        if steps and info.data.get("lr_scheduler") == "constant":
            raise ValueError("lr_scheduler = constant has no warm-up: use constant_with_warmup, or set this to 0")
        return steps


class Memory(Section):
    """What is given up to fit into memory."""

    quantize: Literal["none", "fp8"] = param(
        "none",
        "Quantised base",
        "fp8 keeps the frozen base in 8 bits: half the memory of bf16, a little slower.",
        aka="fp8_base quantization base_model_precision",
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = param(
        "auto",
        "Gradient checkpointing",
        "Computes parts twice to save memory; about a third slower. auto: on for large models.",
        aka="activation",
    )
