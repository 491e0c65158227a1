"""The run and the model that it is about."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainers.config.section import Amount, Auto, Count, Positive, Section, param

MAX_NAME_BYTES = 200  # file systems take 255; endings and numbers are added
WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


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
        "A name of the model table, a checkpoint file, a folder in diffusers layout, or a hub id.",
        level="beginner",
        aka="pretrained_model_name_or_path checkpoint",
    )
    family: str = param(
        "auto",
        "Family",
        "Which architecture the base has. auto: read from the model table or folder.",
        aka="model_type arch",
    )
    hub: Literal["huggingface", "modelscope"] = param(
        "huggingface", "Hub", "Where ids are downloaded from. modelscope needs its extra package.", aka="modelscope"
    )
    endpoint: str = param(
        "",
        "Mirror of the hub",
        "Address of a mirror of Hugging Face, as in https://hf-mirror.com; empty for HF_ENDPOINT, or the hub itself.",
        aka="hf_endpoint mirror",
    )
    revision: str = param("", "Revision", "Branch, tag or commit of a hub id; empty for the newest.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = param(
        "auto",
        "Precision",
        "Number format of the frozen base. auto: bf16 where the device has it, fp32 on a processor.",
        aka="mixed_precision dtype",
    )
    vae: str = param(
        "",
        "VAE",
        "Another autoencoder than the base's own: a file, a folder or a hub id. "
        "For a checkpoint file without one, empty looks beside the file and in Atelier's models folder.",
        aka="vae_path ae",
    )
    vae_precision: Literal["auto", "fp32", "bf16", "fp16"] = param(
        "auto",
        "VAE precision",
        "Number format of the VAE. auto: as the base, but fp32 for a VAE that says it overflows in fp16.",
        aka="no_half_vae fp16_fix",
    )
    text_encoders: tuple[str, ...] = param(
        (),
        "Text encoder files",
        "For a checkpoint file without text encoders, one a line, in any order: which is which is read from the file. "
        "Empty looks beside the file and in Atelier's models folder.",
        aka="clip_l t5xxl clip_g",
    )
    config: str = param(
        "",
        "Configuration from",
        "A diffusers folder that says how a checkpoint file is built, for models of an unusual size. "
        "Empty: known by the names of its weights.",
        aka="original_config",
    )
    allow_pickle: bool = param(
        False,
        "Allow pickles",
        "Read .ckpt, .pt and .bin files too. Such a file can run any program: allow it only from people you trust.",
    )
    prediction: Literal["auto", "epsilon", "v_prediction"] = param(
        "auto",
        "Prediction",
        "What the base was trained to predict. auto: read from its scheduler, or from marks in the file.",
        aka="v_parameterization prediction_type",
    )
    clip_skip: Annotated[int, Field(ge=1, le=12)] = param(
        1,
        "CLIP skip",
        "Which of CLIP's layers the base reads, counted from the last: 1 for photo models, 2 for most anime models.",
        aka="clip_skip",
    )
    text_chunks: Annotated[int, Field(ge=1, le=8)] = param(
        1,
        "Pieces of a prompt",
        "CLIP reads 75 tokens. So many pieces of 75 are read one by one and joined: 3 for captions of 225 tokens.",
        aka="max_token_length",
    )
    guidance: Amount = param(
        1.0,
        "Training guidance",
        "Guidance value that a guidance-distilled model is told in training; others ignore it. "
        "1 keeps previews right without real guidance.",
        aka="guidance_scale flux_guidance_value",
    )
