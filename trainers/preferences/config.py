"""The one declaration of the settings of the jobs on preference sets: generate, score and compare.

The Preferences tab, the command line, stored jobs and the docs all read it. Values that say "auto" are filled by
`trainers.preferences.resolve` from the catalogs and the machine before a job starts.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from trainers.config.model import Model
from trainers.config.section import Auto, Count, Pixels, Positive, Section, param

SCHEMA_VERSION = 1

JobKind = Literal["generate", "score", "compare"]
Strength = Annotated[float, Field(ge=-4, le=4)]


class Job(Section):
    """Name and place of the job."""

    name: str = param("auto", "Job name", "Name of the job's folder. auto: what it does, and the set.")
    output_dir: str = param("auto", "Output folder", "Where the folder of the job goes. auto: runs of the data folder.")
    threads: Positive | Auto = param(
        "auto", "Processor threads", "Threads for computing. auto: all cores; one for the sandbox.", unit="threads"
    )


class PreferenceSet(Section):
    """The set that the job works on."""

    folder: str = param(
        "",
        "Set",
        "A name, for a set in Atelier's data folder, or the path of a folder.",
        level="beginner",
        aka="preference_json",
    )


class Prompts(Section):
    """What is drawn: prompts from a file, from the captions of a data set, and typed ones, in this order."""

    file: str = param(
        "",
        "Prompt file",
        "A text file with a prompt a line. One that has a line of nothing but --- holds longer prompts, with that line "
        "between them.",
        level="beginner",
    )
    folder: str = param(
        "",
        "Captions of",
        "A data set: the first line of each caption is a prompt.",
        level="beginner",
        aka="train_data_dir",
    )
    texts: tuple[str, ...] = param((), "Prompts", "One a line.", level="beginner")
    limit: Count = param(0, "At most", "Only so many prompts, the first ones; 0 for all.", unit="prompts")
    negative: str = param(
        "",
        "Negative prompt",
        "What the pictures should not show, for models with real guidance. Empty is what training shows the model in "
        "place of a caption that was dropped.",
        aka="negative_prompt",
    )


class DrawnAdapter(Section):
    """The adapter that the pictures are drawn with."""

    file: str = param(
        "",
        "Adapter",
        "A LoRA file, or the folder of a run. Empty: the base alone.",
        level="beginner",
        aka="lora_path sft_lora_path",
    )
    strength: Strength = param(1.0, "Strength", "Of the adapter; 1 as it was trained.", aka="lora_scale")


class Pictures(Section):
    """How many pictures are drawn, and how."""

    per_prompt: Positive = param(
        4,
        "Pictures a prompt",
        "Each from noise of its own. A set that has some already gets only those that are missing.",
        unit="pictures",
        level="beginner",
        aka="num_samples num_images_per_prompt",
    )
    width: Pixels | Auto = param("auto", "Width", "auto: as the model likes it.", unit="px", level="beginner")
    height: Pixels | Auto = param("auto", "Height", "auto: as the model likes it.", unit="px", level="beginner")
    steps: Annotated[int, Field(ge=1, le=200)] | Auto = param(
        "auto", "Steps", "Denoising steps. auto: by the model.", level="beginner", aka="num_inference_steps"
    )
    guidance: Annotated[float, Field(ge=0, le=50)] | Auto = param(
        "auto", "Guidance", "auto: by the model.", level="beginner", aka="cfg_scale guidance_scale"
    )
    seed: Count = param(
        0, "Seed", "The noise of every picture follows from it, from the prompt and from the picture's number."
    )
    batch_size: Positive | Auto = param(
        "auto",
        "Batch",
        "Pictures that are drawn at a time; halved by itself when memory runs out. auto: by the size of the model.",
        unit="pictures",
    )


class ComparedPictures(Pictures):
    """How many pictures are drawn by each of the two models, and how."""

    per_prompt: Positive = param(
        1,
        "Pictures a prompt",
        "By each of the two models, from the same noise. More prompts tell more than more pictures of a prompt.",
        unit="pictures",
        level="beginner",
    )


class Memory(Section):
    """What is done for cards with little memory."""

    quantize: Literal["none", "fp8"] = param(
        "none",
        "Store the base in",
        "fp8: the frozen weights in 8 bits, half the memory, with a trace of quality.",
        aka="fp8_base",
    )


class Scorers(Section):
    """Who judges the pictures, and how they are loaded."""

    names: tuple[str, ...] = param(
        (), "Scorers", "Of `python launch.py pairs scorers`; one a line.", level="beginner", aka="reward_models"
    )
    weights: tuple[str, ...] = param(
        (),
        "Weights from",
        "Places of weights that are not the usual ones, as in hpsv2.1.weights = D:/HPS_v2.1_compressed.pt; one a line.",
        aka="hps_checkpoint",
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = param(
        "auto", "Device", "What the scorers run on. auto: the graphics card when there is one."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = param(
        "auto", "Precision", "Number format. auto: fp32 on a processor, bf16 on a card, fp16 on an old card."
    )
    batch_size: Positive = param(
        8, "Batch", "Pictures at a time; halved by itself when memory runs out.", unit="pictures"
    )
    again: bool = param(False, "Score again", "Also the pictures that have a score of the same scorer and weights.")


class Policy(Section):
    """The trained model of a comparison: the base with this adapter."""

    file: str = param("", "Trained adapter", "A LoRA file, or the folder of a run.", level="beginner")


class Reference(Section):
    """What the trained model is compared with."""

    file: str = param(
        "auto",
        "Compare with",
        "A LoRA file, or the folder of a run. Empty: the base alone. auto: what the trained one began with, the LoRA "
        "that it builds on or continued, else the base alone.",
        level="beginner",
    )


class GenerateConfig(Section):
    """Everything that a job depends on that draws pictures into a set."""

    kind: Literal["generate"] = "generate"
    schema_version: int = SCHEMA_VERSION
    run: Job = Job()
    set: PreferenceSet = PreferenceSet()
    prompts: Prompts = Prompts()
    model: Model = Model()
    adapter: DrawnAdapter = DrawnAdapter()
    pictures: Pictures = Pictures()
    memory: Memory = Memory()


class ScoreConfig(Section):
    """Everything that a job depends on that scores the pictures of a set."""

    kind: Literal["score"] = "score"
    schema_version: int = SCHEMA_VERSION
    run: Job = Job()
    set: PreferenceSet = PreferenceSet()
    scorers: Scorers = Scorers()


class CompareConfig(Section):
    """Everything that a job depends on that compares a trained model with its reference."""

    kind: Literal["compare"] = "compare"
    schema_version: int = SCHEMA_VERSION
    run: Job = Job()
    set: PreferenceSet = PreferenceSet()
    prompts: Prompts = Prompts()
    model: Model = Model()
    policy: Policy = Policy()
    reference: Reference = Reference()
    pictures: ComparedPictures = ComparedPictures()
    memory: Memory = Memory()
    scorers: Scorers = Scorers()


AnyConfig: TypeAlias = GenerateConfig | ScoreConfig | CompareConfig
CONFIGS: dict[JobKind, type[GenerateConfig] | type[ScoreConfig] | type[CompareConfig]] = {
    "generate": GenerateConfig,
    "score": ScoreConfig,
    "compare": CompareConfig,
}

__all__ = ["CONFIGS", "AnyConfig", "CompareConfig", "GenerateConfig", "JobKind", "ScoreConfig"]
