"""What is trained, on what noise, by which optimizer, for how long."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from trainers.config.section import Amount, Auto, Count, Positive, Rate, Section, Share, param


class Adapter(Section):
    """The small set of weights that is trained."""

    kind: Literal["lora", "dora"] = param(
        "lora",
        "Kind",
        "Form of the adapter. dora: direction and length of the weights apart; closer to full training, slower.",
        aka="network_module network_type lycoris algo use_dora",
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
    text_encoders: bool = param(
        False,
        "Train text encoders",
        "Put the adapter on the CLIP text encoders too (never on T5). They stay loaded, and captions are read anew.",
        aka="train_text_encoder network_train_unet_only te_lora",
    )
    resume_from: str = param(
        "",
        "Continue from",
        "A LoRA file whose weights training starts with, of any program; its rank, alpha and layers are taken over.",
        aka="network_weights init_lora",
    )


class Objective(Section):
    """What is minimised: the error on pictures with captions, or how a preferred picture stands against the other."""

    kind: Literal["sft", "dpo"] = param(
        "sft",
        "Objective",
        "What is learned from. sft: your pictures and their captions. dpo: pairs of pictures, one preferred to the "
        "other.",
        aka="loss preference orpo mapo",
    )
    pairs: str = param(
        "",
        "Preference pairs",
        "A preference set, whose votes are read when the run starts, or a pairs.train.jsonl file. Prompts are read as "
        "they stand, without trigger word.",
        aka="preference_json dpo_dataset image_beta",
    )
    preference_loss: Literal["sigmoid", "ipo", "hinge", "dmpo", "kto"] = param(
        "sigmoid",
        "Preference loss",
        "How a pair counts. sigmoid: DPO. ipo: towards a fixed margin. hinge: until a margin is reached. dmpo: towards "
        "a fixed certainty. kto: single pictures too, liked or not.",
        aka="loss_type dpo_loss",
    )
    beta: Annotated[float, Field(gt=0, le=1_000_000)] = param(
        2000.0,
        "Beta",
        "How closely the model stays with its reference: more is closer. 500 to 5000 is usual for large models.",
        aka="beta_dpo dpo_beta",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = param(
        0.0,
        "Label smoothing",
        "Share of votes taken to be wrong (conservative DPO): people who vote twice disagree with themselves so often.",
        aka="cdpo",
    )
    dmpo_alpha: Annotated[float, Field(gt=0, lt=0.5)] = param(
        0.01, "DMPO alpha", "Certainty that dmpo goes for is 1 - alpha.", aka="dmpo"
    )
    sdpo: bool = param(
        False,
        "Protect the preferred",
        "Weakens the push away from the other picture where it would harm the preferred one too (SDPO).",
        aka="safeguard diffusion_sdpo",
    )
    sdpo_mu: Share = param(
        0.6, "Strength of protection", "How much of the harm is prevented; 1 lets nothing of it through.", aka="mu"
    )
    sft_weight: Amount = param(
        1.0,
        "Weight of plain training",
        "How much the error on the preferred pictures counts beside the preference; it keeps them from getting worse.",
        aka="sft_lambda rpo_alpha",
    )
    reference: Literal["auto", "base", "frozen"] = param(
        "auto",
        "Reference",
        "What the model is compared with. base: the model without this adapter. frozen: with the adapter as it was at "
        "the start. auto: frozen when a LoRA is continued, else base.",
        aka="ref_model reference_lora",
    )
    sft_lora: str = param(
        "",
        "LoRA to build on",
        "A LoRA file that is merged into the base first, and is part of the result.",
        aka="sft_lora_path base_lora network_weights",
    )
    real_ratio: Share = param(
        0.0,
        "Share of real pictures",
        "Share of visits that see a pair with a real picture as the preferred one in another's place, where there is "
        "such a pair of the same size.",
        aka="gt_pairs",
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
    loss: Literal["l2", "huber", "smooth_l1"] = param(
        "l2",
        "Loss",
        "How an error counts. l2: by its square. huber, smooth_l1: large errors count less, against bad pictures.",
        aka="loss_type",
    )
    huber_c: Annotated[float, Field(gt=0, le=10)] = param(
        0.1, "Huber threshold", "Errors above it count by their size, below it by their square.", aka="huber_c"
    )
    huber_schedule: Literal["constant", "exponential", "snr"] = param(
        "constant",
        "Huber schedule",
        "How the threshold moves with noise. exponential: from 1 without noise down to the threshold at pure noise. "
        "snr: by the signal-to-noise ratio.",
        aka="huber_schedule",
    )


class Noise(Section):
    """How much noise the training pictures get."""

    timestep_sampling: Literal["auto", "logit_normal", "uniform", "mode"] = param(
        "auto",
        "Noise levels",
        "Distribution of noise levels, before the shift. auto: the family's own.",
        aka="weighting_scheme sigmoid",
    )
    logit_mean: float = param(0.0, "Mean of noise levels", "Mean of logit(sigma) for logit_normal; more is noisier.")
    logit_std: Annotated[float, Field(gt=0)] = param(
        1.0, "Spread of noise levels", "Deviation of logit(sigma) for logit_normal."
    )
    mode_scale: Annotated[float, Field(ge=-1, le=1.75)] = param(
        1.29, "Weight of the middle", "For mode: above 0 draws middle noise levels more often, below 0 the ends."
    )
    shift: Annotated[float, Field(gt=0)] | Auto = param(
        "auto",
        "Shift",
        "Moves noise levels towards pure noise (above 1) or clean pictures (below). "
        "auto: by the family and the picture's size.",
        aka="discrete_flow_shift flux_shift time_shift",
    )
    shift_kind: Literal["auto", "static", "resolution"] = param(
        "auto",
        "Kind of shift",
        "What an automatic shift follows. static: the number of the model's scheduler. "
        "resolution: more for larger pictures. auto: as the model's own sampler does.",
        aka="use_dynamic_shifting dynamic_timestep_shifting",
    )
    weighting: Literal["none", "sigma_sqrt", "cosmap", "min_snr", "debiased"] = param(
        "none",
        "Weight of noise levels",
        "How much each noise level counts. sigma_sqrt, cosmap: for flow models. "
        "min_snr, debiased: for older models; they learn more evenly.",
        aka="weighting_scheme min_snr_gamma debiased_estimation_loss",
    )
    min_snr_gamma: Annotated[float, Field(gt=0, le=100)] = param(
        5.0, "Min-SNR gamma", "Above this signal-to-noise ratio a level counts less; 5 is usual.", aka="snr_gamma"
    )
    offset: Annotated[float, Field(ge=0, le=1)] = param(
        0.0,
        "Noise offset",
        "Shifts the brightness of the noise, so that very dark and very bright pictures can be learned; 0.05 is usual.",
        aka="noise_offset",
    )
    pyramid_discount: Annotated[float, Field(ge=0, lt=1)] = param(
        0.0,
        "Pyramid noise",
        "Adds coarser noise, each level weaker by this factor; 0.3 is usual, 0 switches it off.",
        aka="multires_noise_discount",
    )
    pyramid_levels: Annotated[int, Field(ge=1, le=12)] = param(
        6, "Levels of pyramid noise", "So many coarser levels at most.", aka="multires_noise_iterations"
    )
    zero_snr: Literal["auto", "on", "off"] = param(
        "auto",
        "Zero terminal SNR",
        "The last noise level holds no trace of the picture. auto: as the base's scheduler or file says.",
        aka="zero_terminal_snr rescale_betas_zero_snr ztsnr",
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
    text_encoder_learning_rate: Rate | Auto = param(
        "auto",
        "Text encoder rate",
        "Learning rate of the text encoders' adapter. auto: half of the learning rate.",
        aka="text_encoder_lr te_lr",
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
        "fp8 keeps the frozen base and T5 in 8 bits: about half the memory of bf16, a little slower.",
        aka="fp8_base quantization base_model_precision",
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = param(
        "auto",
        "Gradient checkpointing",
        "Computes parts twice to save memory; about a third slower. auto: on for large models.",
        aka="activation",
    )
