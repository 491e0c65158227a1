"""What a run shows and leaves: previews, validation, files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainers.config.section import Amount, Auto, Count, Positive, Section, param


class Sample(Section):
    """Pictures drawn during training, always from the same noise."""

    prompts: tuple[str, ...] = param(
        (),
        "Preview prompts",
        "What is drawn before, during and after training; one a line.",
        level="beginner",
        aka="validation_prompt sample_prompts",
    )
    negative: str = param(
        "",
        "Negative prompt",
        "What previews should not show, for models with real guidance.",
        aka="negative_prompt",
    )
    every_steps: Count = param(
        250,
        "Preview every",
        "Draw the prompts each so many steps; 0: only before and after.",
        unit="steps",
        aka="sample_every_n_steps validation_steps",
    )
    seed: Count = param(42, "Preview seed", "Noise of the first prompt; the next prompts use the next numbers.")
    steps: Positive | Auto = param(
        "auto", "Preview steps", "Denoising steps of a preview. auto: by the model.", aka="num_inference_steps"
    )
    guidance: Amount | Auto = param(
        "auto", "Preview guidance", "Guidance of a preview. auto: by the model.", aka="cfg guidance_scale"
    )


class Validation(Section):
    """Loss on pictures kept out of training, at fixed noise: a curve that means something."""

    fraction: Annotated[float, Field(ge=0, le=0.5)] = param(
        0.0, "Held-out share", "Share of the pictures that is never trained on; 0 for none.", aka="validation_split"
    )
    every_steps: Positive = param(50, "Validate every", "Steps between two measurements.", unit="steps")
    sigmas: Annotated[int, Field(ge=1, le=64)] = param(
        8, "Noise levels", "Levels of noise that each held-out picture is measured at."
    )


class Save(Section):
    """Files that the run leaves."""

    every_steps: Count = param(
        250,
        "Checkpoint every",
        "Steps between two checkpoints; 0: only at the end.",
        unit="steps",
        aka="save_every_n_steps checkpointing_steps",
    )
    keep_last: Count = param(
        4, "Checkpoints kept", "Older ones are deleted; 0 keeps all.", aka="save_last_n checkpoints_total_limit"
    )
    dtype: Literal["bf16", "fp16", "fp32"] = param(
        "bf16", "File precision", "Number format of the adapter file.", aka="save_precision"
    )
    layout: Literal["auto", "diffusers", "kohya", "comfyui"] = param(
        "auto",
        "File layout",
        "Names of the weights in the file. auto: the layout that most programs load for this family.",
        aka="save_model_as lora_format",
    )
    thumbnail: bool = param(
        True, "Thumbnail", "Put the newest preview into the file, small, for programs that show it."
    )
