"""The one declaration of every training parameter: name, type, bounds, unit, help, default, level.

Presets, forms, the command line, stored runs and the parameter docs all read `TrainConfig`. Values that
say "auto" are filled by `trainers.resolve` from the catalog and the machine before a run starts.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal, get_args

from PIL import ImageColor
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
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
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
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


Crop = Literal["centre", "random", "detail"]
Side = Annotated[int, Field(ge=16, le=8192)]


class DataSet(Section):
    """One more data set of a run. What is left out is as in section `data`.

    In a form and on the command line it is a line of text: the folder, then key=value, as in
    `photos/dog repeats=10 resolution=512,768`.
    """

    folder: Annotated[str, Field(min_length=1)]
    repeats: Positive | None = None
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    resolution: tuple[Side, ...] = ()
    crop: Crop | None = None
    flip: bool | None = None
    regularisation: bool = False
    loss_weight: Amount = 1.0
    prompt: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_line(cls, value: Any) -> Any:
        return cls.parse(value) if isinstance(value, str) else value

    @field_validator("resolution", mode="before")
    @classmethod
    def _from_sides(cls, value: Any) -> Any:
        return sides(value)

    @staticmethod
    def parse(line: str) -> dict[str, str]:
        """The fields that a line names, as text. Raises ValueError for a word that is no key=value."""
        lexer = shlex.shlex(line, posix=True)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""  # a Windows path has backslashes
        folder, *words = [*lexer] or [""]
        pairs = [word.partition("=") for word in words]
        if wrong := [word for word, equals, _ in pairs if not equals]:
            raise ValueError(f"{wrong[0]!r} is not of the form key=value; put a folder with spaces into quotes")
        return {"folder": folder, **{key: text for key, _, text in pairs}}

    def line(self) -> str:
        """The line that gives this data set again."""
        words = [_quoted(self.folder)]
        for name, value in self.model_dump(exclude_defaults=True).items():
            if name != "folder":
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                words.append(f"{name}={_quoted(text.lower() if isinstance(value, bool) else text)}")
        return " ".join(words)


def _quoted(text: str) -> str:
    """For a lexer without an escape character: in the quotes that the text does not have."""
    if text and not re.search(r"""[\s'"]""", text):
        return text
    return f"'{text}'" if "'" not in text else f'"{text}"'


def sides(value: Any) -> Any:
    """Sides from "512, 768", 512 or a list; anything else as it is, for the check to name."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


class Data(Section):
    """Pictures, and how they are cut."""

    folder: str = param(
        "",
        "Pictures",
        "A folder of pictures with their captions, a zip of one, or a multidatabackend.json. "
        "Caption files, tables and kohya folders are recognised.",
        level="beginner",
        aka="train_data_dir dataset instance_data_dir data_backend_config",
    )
    sets: tuple[DataSet, ...] = param(
        (),
        "More data sets",
        "One a line: a folder, then what is different there, as in photos/dog repeats=10 weight=0.5 "
        "resolution=512,768 crop=random flip=true regularisation=true loss_weight=0.5.",
        aka="reg_data_dir class_data_dir concepts datasets",
    )
    resolution: Pixels | Auto = param(
        "auto",
        "Resolution",
        "Side of a square picture; others get the same area at their own shape. auto: the model's own.",
        unit="px",
        aka="size",
    )
    more_resolutions: tuple[Side, ...] = param(
        (),
        "Further resolutions",
        "The same pictures at these sizes too, as in 512, 768. An epoch shows each picture at every size.",
        unit="px",
        aka="multires resolutions",
    )
    repeats: Positive = param(1, "Repeats", "How often an epoch shows each picture.", unit="times", aka="num_repeats")
    aspect: Literal["buckets", "square", "area"] = param(
        "buckets",
        "Shapes",
        "buckets: the nearest of a few shapes. square: all cut square. "
        "area: each its own shape and the same number of pixels; few share a batch.",
        aka="enable_bucket crop_aspect resolution_type pixel_area",
    )
    bucket_step: Positive | Auto = param(
        "auto",
        "Step of sizes",
        "Widths and heights are multiples of it. auto: the finest that the family allows.",
        unit="px",
        aka="bucket_reso_steps",
    )
    upscale: bool = param(
        True,
        "Enlarge small pictures",
        "Off: a small picture is trained at its own size, rounded down.",
        aka="bucket_no_upscale no_upscale",
    )
    crop: Crop = param(
        "centre",
        "Crop",
        "Which part stays where a shape does not fit. random: another part at each visit. "
        "detail: the part with the most detail, which keeps faces and subjects without searching for faces.",
        aka="random_crop crop_style center_crop face_crop_aug_range",
    )
    crops: Annotated[int, Field(ge=1, le=64)] = param(
        4, "Random crops", "So many parts of a picture are prepared when the crop is random."
    )
    flip: bool = param(
        False,
        "Mirror",
        "Half of the visits see the picture mirrored. Not for faces, letters or anything with a left and a right.",
        aka="flip_aug random_flip",
    )
    background: str = param(
        "white", "Background", "Colour behind transparent parts: a name, or as in #808080.", aka="alpha"
    )
    mask: Literal["none", "alpha", "file", "any"] = param(
        "none",
        "Mask",
        "What of a picture counts. alpha: its opaque parts. file: white in NAME-masklabel.png beside it. "
        "any: the file, else alpha.",
        aka="alpha_mask masked_loss masked_training conditioning_data_dir",
    )
    unmasked_weight: Share = param(
        0.1, "Weight outside", "How much the rest of a masked picture counts.", aka="unmasked_weight"
    )
    prior_weight: Amount = param(
        1.0,
        "Weight of regularisation",
        "How much the pictures of regularisation sets count.",
        aka="prior_loss_weight reg_weight",
    )
    skip_bad: bool = param(
        False, "Go on without damaged files", "Off: a file that cannot be read stops the run before it starts."
    )
    caption_extension: str = param(
        ".txt,.caption", "Caption files", "Endings of caption files, first match wins.", aka="caption_ext"
    )
    cache_text: Literal["run", "disk", "none"] = param(
        "run",
        "Keep encoded captions",
        "run: until the run is done. disk: for later runs too. "
        "none: the text encoder stays loaded and reads every caption as it is drawn.",
        aka="cache_text_encoder_outputs text_embeds latents_only",
    )
    cache_dir: str = param(
        "auto",
        "Cache folder",
        "Where encoded pictures and captions are kept. auto: the folder `cache` in Atelier's data folder.",
        aka="cache_latents_to_disk",
    )

    @model_validator(mode="before")
    @classmethod
    def _first_is_resolution(cls, values: Any) -> Any:
        """Several sizes in `resolution` are the largest and the further ones."""
        if not isinstance(values, dict) or values.get("more_resolutions"):
            return values
        found = values.get("resolution")
        several = sides(found) if isinstance(found, (list, tuple)) or (isinstance(found, str) and "," in found) else []
        if len(several) < 2 or not all(str(side).isdecimal() for side in several):
            return values
        first, *more = sorted({int(side) for side in several}, reverse=True)
        return {**values, "resolution": first, "more_resolutions": more}

    @field_validator("more_resolutions", mode="before")
    @classmethod
    def _from_sides(cls, value: Any) -> Any:
        return sides(value)

    @field_validator("background")
    @classmethod
    def _is_colour(cls, value: str) -> str:
        try:
            ImageColor.getrgb(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no colour: give a name such as white, or #rrggbb") from error
        return value

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
    prefix: str = param("", "In front of captions", "Text in front of every caption.", aka="caption_prefix")
    suffix: str = param("", "Behind captions", "Text behind every caption.", aka="caption_suffix")
    lines: Literal["draw", "first", "join"] = param(
        "draw",
        "Several lines",
        "What the lines of a caption file are. draw: captions of their own, one drawn at each visit. "
        "first: only the first counts. join: one caption.",
        aka="enable_wildcard caption_strategy multiline",
    )
    fallback: Literal["concept", "folder", "trigger", "empty"] = param(
        "concept",
        "Without caption",
        "What stands in for a missing caption. concept: the name of a kohya folder such as 10_dog, "
        "else the trigger word. folder: the folder's name.",
        aka="class_tokens instance_prompt",
    )
    dropout: Share = param(
        0.0, "Caption dropout", "Share of visits that see an empty caption instead.", aka="caption_dropout_rate"
    )
    shuffle: bool = param(
        False, "Shuffle tags", "Put tags in another order at each visit.", aka="shuffle_caption shuffle_tokens"
    )
    keep_tokens: Count = param(
        1, "Tags kept in front", "So many first tags stay where they are when tags are shuffled.", unit="tags"
    )
    separator: Annotated[str, Field(min_length=1)] = param(
        ",", "Between tags", "What separates the tags of a caption.", aka="caption_separator"
    )
    keep_separator: str = param(
        "|||",
        "End of kept tags",
        "Where a caption has it, everything in front of it stays, and behind a second one too; empty for none.",
        aka="keep_tokens_separator",
    )
    tag_dropout: Share = param(
        0.0,
        "Tag dropout",
        "Share of tags that are left out at each visit; kept tags and the trigger word stay.",
        aka="caption_tag_dropout_rate",
    )
    wildcards: bool = param(
        True, "Choices in captions", "{a|b} in a caption is a or b, drawn at each visit.", aka="enable_wildcard"
    )
    variants: Annotated[int, Field(ge=1, le=256)] = param(
        8,
        "Variants of a caption",
        "So many orders and choices of each caption are encoded; a visit draws one of them.",
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
