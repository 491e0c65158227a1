"""The one declaration of every training parameter: name, type, bounds, unit, help, default, level.

Presets, forms, the command line, stored runs and the parameter docs all read `TrainConfig`. Values that
say "auto" are filled by `trainers.resolve` from the catalog and the machine before a run starts.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

SCHEMA_VERSION = 1
MAX_NAME_BYTES = 200  # file systems take 255; endings and numbers are added
WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)

Auto = Literal["auto"]
Level = Literal["beginner", "expert"]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=10)]
Pixels = Annotated[int, Field(ge=16, le=8192)]


def param(default: Any, label: str, help: str, *, level: Level = "expert", unit: str = "", aka: str = "") -> Any:
    """A parameter. aka: names that other trainers give it, for the search."""
    return Field(default, title=label, description=help, json_schema_extra={"level": level, "unit": unit, "aka": aka})


class Section(BaseModel):
    """Base of all sections: frozen; unknown keys, infinities and NaN forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as 1: `adapter.rank = true` would train a rank of 1
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise PydanticCustomError("bool_type", "true and false are not meant here")
        return value


class Run(Section):
    """The run itself."""

    name: str = param(
        "auto",
        "Name",
        "Names the run's folder and its file. auto: the trigger word or the picture folder, and the model.",
        level="beginner",
        aka="output_name project",
    )
    seed: Count = param(42, "Seed", "Every random choice of the run follows from this number.", aka="random")
    output_dir: str = param(
        "auto",
        "Output folder",
        "Where the folders of runs are made. auto: the folder `runs` in Atelier's data folder.",
        aka="output_dir logging_dir save_path",
    )
    threads: Positive | Auto = param(
        "auto",
        "Processor threads",
        "Threads of the math library. auto: as many as the processor has cores.",
        aka="num_cpu_threads_per_process",
    )

    @field_validator("name")
    @classmethod
    def _is_file_name(cls, name: str) -> str:
        name = name.strip()
        if not name or name[0] == "." or name[-1] == "." or re.search(r'[<>:"/\\|?*\x00-\x1f]', name):
            raise ValueError('a file cannot be named so: leave out < > : " / \\ | ? * and a dot at either end')
        if WINDOWS_DEVICE.fullmatch(name.split(".")[0]):
            raise ValueError(f"{name} is the name of a device on Windows: choose another")
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ValueError(
                f"this name is too long: keep it below {MAX_NAME_BYTES} bytes (a Chinese character takes 3)"
            )
        return name


class Model(Section):
    """The model that the adapter is for."""

    base: Annotated[str, Field(min_length=1)] = param(
        "sandbox",
        "Base model",
        "A name of the model table, a folder in diffusers layout, or a Hugging Face id.",
        level="beginner",
        aka="pretrained_model_name_or_path checkpoint",
    )
    family: str = param(
        "auto",
        "Family",
        "Which architecture the base has. auto: read from the model table or folder.",
        aka="model_type arch",
    )
    revision: str = param("", "Revision", "Branch, tag or commit of a Hugging Face id; empty for the newest.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = param(
        "auto",
        "Precision",
        "Number format of the frozen base. auto: bf16 where the device has it, fp32 on a processor.",
        aka="mixed_precision dtype",
    )
    vae: str = param(
        "", "VAE", "Another autoencoder than the base's own: a folder or a Hugging Face id.", aka="vae_path ae"
    )
    guidance: Amount = param(
        1.0,
        "Training guidance",
        "Guidance value that a guidance-distilled model is told in training; others ignore it. "
        "1 keeps previews right without real guidance.",
        aka="guidance_scale flux_guidance_value",
    )


class Data(Section):
    """Pictures, and how they are cut."""

    folder: str = param(
        "",
        "Pictures",
        "Folder with pictures, each with a caption file of the same name beside it.",
        level="beginner",
        aka="train_data_dir dataset instance_data_dir",
    )
    resolution: Pixels | Auto = param(
        "auto",
        "Resolution",
        "Side of a square picture; others get the same area at their own shape. auto: the model's own.",
        unit="px",
        aka="size",
    )
    repeats: Positive = param(1, "Repeats", "How often an epoch shows each picture.", unit="times", aka="num_repeats")
    caption_extension: str = param(
        ".txt,.caption", "Caption files", "Endings of caption files, first match wins.", aka="caption_ext"
    )
    cache_dir: str = param(
        "auto",
        "Cache folder",
        "Where encoded pictures and captions are kept. auto: the folder `cache` in Atelier's data folder.",
        aka="cache_latents_to_disk",
    )

    @field_validator("caption_extension")
    @classmethod
    def _has_dots(cls, value: str) -> str:
        endings = [ending.strip() for ending in value.split(",")]
        if not all(re.fullmatch(r"\.\w+", ending) for ending in endings):
            raise ValueError("give endings with a dot, separated by commas, as in .txt,.caption")
        return ",".join(endings)


class Captions(Section):
    """What is done to captions before the text encoder reads them."""

    trigger: str = param(
        "",
        "Trigger word",
        "A rare word that calls the adapter; put in front of captions that lack it.",
        level="beginner",
        aka="instance_prompt concept token",
    )
    dropout: Share = param(
        0.0, "Caption dropout", "Share of visits that see an empty caption instead.", aka="caption_dropout_rate"
    )
    shuffle: bool = param(
        False, "Shuffle tags", "Put comma-separated tags in another order at each visit.", aka="shuffle_caption"
    )
    keep_tokens: Count = param(
        1, "Tags kept in front", "So many first tags stay where they are when tags are shuffled.", unit="tags"
    )


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


class Sample(Section):
    """Pictures drawn during training, always from the same noise."""

    prompts: tuple[str, ...] = param(
        (),
        "Preview prompts",
        "What is drawn before, during and after training; one a line.",
        level="beginner",
        aka="validation_prompt sample_prompts",
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


class TrainConfig(Section):
    """Everything that a training run depends on."""

    schema_version: int = SCHEMA_VERSION
    run: Run = Run()
    model: Model = Model()
    data: Data = Data()
    captions: Captions = Captions()
    adapter: Adapter = Adapter()
    objective: Sft = Sft()
    noise: Noise = Noise()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    memory: Memory = Memory()
    sample: Sample = Sample()
    validation: Validation = Validation()
    save: Save = Save()
