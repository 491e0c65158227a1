"""The one declaration of every captioning parameter; the counterpart of `trainers.config`.

The Captions tab, the command line, stored jobs and the docs all read `CaptionConfig`. Values that say "auto" are
filled by `captioners.resolve` from the catalog and the machine before a job starts.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainers.config.section import Amount, Auto, Count, Positive, Section, param

SCHEMA_VERSION = 1

Existing = Literal["skip", "fill", "replace", "append", "prepend", "line"]
Precision = Literal["fp32", "bf16", "fp16"]
Quantize = Literal["none", "int8", "nf4"]
Threshold = Annotated[float, Field(gt=0, lt=1)]

ARROW = "=>"
PREAMBLES = (
    "The image shows",
    "The image depicts",
    "The image features",
    "The image is",
    "This image shows",
    "This image depicts",
    "This image features",
    "This image is",
    "The picture shows",
    "The photo shows",
)


class Job(Section):
    """Name and place of the job, and its randomness."""

    name: str = param("auto", "Job name", "Name of the job's folder. auto: the captioner and the folder.")
    output_dir: str = param("auto", "Output folder", "Where the folder of the job goes. auto: runs of the data folder.")
    seed: Count = param(0, "Seed", "Each picture draws its own random numbers from this one, whatever batch it is in.")
    threads: Positive | Auto = param(
        "auto", "Processor threads", "Threads for computing. auto: all cores; one for the tiny model.", unit="threads"
    )


class Captioner(Section):
    """Which model writes, and how it is loaded."""

    name: str = param("sandbox", "Captioner", "One of `python launch.py captioners`.", level="beginner")
    source: str = param(
        "",
        "Weights from",
        "A local folder, or another repository of the same kind. Empty: the usual one.",
        aka="model_path repo_id",
    )
    revision: str = param("", "Revision", "Commit, branch or tag of the repository. Empty: the newest.")
    device: Literal["auto", "cuda", "mps", "cpu"] = param(
        "auto", "Device", "What the model runs on. auto: the graphics card when there is one."
    )
    precision: Precision | Auto = param(
        "auto", "Precision", "Number format. auto: fp32 on a processor, bf16 on a card, fp16 on an old card."
    )
    quantize: Quantize = param(
        "none",
        "Quantisation",
        "Store the language model in 8 or 4 bits; the part that looks at the picture stays as it is. Needs a card for "
        "speed, and the package bitsandbytes.",
        aka="load_in_4bit load_in_8bit low_vram",
    )
    batch_size: Positive | Auto = param(
        "auto", "Batch", "Pictures at a time; halved by itself when memory runs out.", unit="pictures", level="beginner"
    )


class Pictures(Section):
    """Which pictures are captioned."""

    folder: str = param("", "Folder", "The pictures, with sub-folders.", level="beginner", aka="train_data_dir")
    extension: str = param(
        ".txt",
        "Caption ending",
        "Ending of caption files; of several, the first one is written.",
        aka="caption_extension",
    )
    only: tuple[str, ...] = param((), "Only these", "Names below the folder; empty for all pictures.")
    limit: Count = param(0, "At most", "Stop after so many pictures; 0 for all.", unit="pictures")
    dry_run: bool = param(False, "Dry run", "Show what would be written, and write nothing.")


class Prompt(Section):
    """What the model is asked."""

    text: str = param(
        "",
        "Prompt",
        "The question in your own words. {tags} stands for the caption that is there, {name} for the file, {directory} "
        "for its folder. Empty: the captioner's own, or what task, type and length say.",
        level="beginner",
        aka="custom_prompt",
    )
    task: str = param("auto", "Task", "What kind of text the model writes.", level="beginner")
    caption_type: str = param("Descriptive", "Caption type", "Style of the caption.", level="beginner")
    length: str = param(
        "long", "Length", "any, very short ... very long, or a number of words.", level="beginner", aka="caption_length"
    )
    options: tuple[str, ...] = param(
        (), "Extra options", "Further wishes, one a line: keys of the table, or sentences of your own."
    )
    person: str = param(
        "", "Name", "What a person or character in the picture is called: the trigger word, say.", aka="name_input"
    )
    system: str = param("", "System prompt", "Instruction in front of the prompt. Empty: the captioner's own.")


class Generate(Section):
    """How the text is drawn."""

    temperature: Amount | Auto = param("auto", "Temperature", "0: always the likeliest word. auto: by the captioner.")
    top_p: Annotated[float, Field(gt=0, le=1)] | Auto = param(
        "auto", "Top p", "Only the likeliest words that make up this share are drawn from. auto: by the captioner."
    )
    top_k: Count | Auto = param("auto", "Top k", "Only so many likeliest words are drawn from; 0 for all.")
    beams: Positive | Auto = param("auto", "Beams", "Texts that are followed at a time; 1 where words are drawn.")
    max_tokens: Positive | Auto = param(
        "auto",
        "Longest caption",
        "The text is cut off there, at the end of a sentence.",
        unit="tokens",
        aka="max_new_tokens",
    )


class Tags(Section):
    """What taggers keep."""

    general: Threshold = param(0.35, "General threshold", "Least probability of a tag.", aka="general_threshold")
    character: Threshold = param(
        0.85, "Character threshold", "Least probability of a character's name.", aka="character_threshold"
    )
    mcut: bool = param(
        False, "MCut", "Find the threshold of each picture and category by the largest gap between probabilities."
    )
    rating: Literal["none", "first", "last"] = param("none", "Rating", "Whether, and where, the rating is written.")
    character_first: bool = param(True, "Characters first", "Names of characters in front of other tags.")
    underscores: bool = param(
        False, "Underscores", "Keep underscores. Otherwise they become spaces, but for faces such as ^_^."
    )
    split_series: bool = param(False, "Split the series", "miku_(vocaloid) becomes two tags: miku, vocaloid.")
    escape: bool = param(False, "Escape brackets", "Write \\( and \\): for prompts of A1111, not for training.")
    at_most: Count = param(0, "Most tags", "Only the likeliest are kept; 0 for all.", unit="tags", aka="max_tags")
    first: tuple[str, ...] = param(
        (), "Always first", "Tags that come first where they are found.", aka="always_first_tags"
    )


class Server(Section):
    """A server that speaks OpenAI's protocol: vLLM, llama.cpp, LM Studio, Ollama, KoboldCpp, or a paid one."""

    url: str = param("", "Address", "As in http://127.0.0.1:11434/v1.", level="beginner", aka="base_url api_base")
    model: str = param("", "Model", "Name of the model at the server. Empty: its only one.", level="beginner")
    key_env: str = param(
        "ATELIER_SERVER_KEY", "Key from", "Environment variable that holds the key; the key itself is stored nowhere."
    )
    concurrency: Annotated[int, Field(ge=1, le=32)] = param(2, "At a time", "Questions that are open at a time.")
    retries: Annotated[int, Field(ge=0, le=20)] = param(
        4, "Retries", "Of a question that the server was too busy for, or did not answer."
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = param(
        300.0, "Patience", "Longest wait for an answer.", unit="s"
    )
    cost_free: bool = param(
        False, "Ask nothing", "Show what would be sent, at no cost. Nothing is written then, either."
    )
    max_side: Annotated[int, Field(ge=64, le=8192)] = param(
        1024, "Picture size", "Longer side of what is sent.", unit="px"
    )


class Policy(Section):
    """What becomes of captions that are there, and of the text before it is written."""

    existing: Existing = param(
        "skip",
        "Captions that are there",
        "skip: keep them; fill: write only where the file is missing or empty; replace; append or prepend to the text; "
        "line: add a further line, which is a further caption.",
        level="beginner",
        aka="overwrite append_tags",
    )
    separator: str = param(", ", "Separator", "Between the old text and the new one, and between tags.")
    trigger: str = param("", "Trigger word", "In front of every caption that lacks it.", level="beginner")
    prefix: str = param("", "Prefix", "In front of every new caption.", aka="prefix")
    suffix: str = param("", "Suffix", "Behind every new caption.", aka="postfix")
    replacements: tuple[str, ...] = param(
        (), "Find and replace", "One a line, as in: woman => lady. Any case is found."
    )
    blacklist: tuple[str, ...] = param((), "Never these tags", "Left out of captions of tags.", aka="undesired_tags")
    strip_preamble: bool = param(
        True, "Drop the preamble", 'Take phrases such as "The image shows" off the beginning.', level="beginner"
    )
    preambles: tuple[str, ...] = param(PREAMBLES, "Preambles", "The phrases that are taken off.")

    @field_validator("replacements")
    @classmethod
    def _have_an_arrow(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for line in value:
            if not line.partition(ARROW)[0].strip() or ARROW not in line:
                raise ValueError(f"{line!r} is not of the form old {ARROW} new")
        return value


class CaptionConfig(Section):
    """Everything that a captioning job depends on."""

    kind: Literal["caption"] = "caption"
    schema_version: int = SCHEMA_VERSION
    run: Job = Job()
    captioner: Captioner = Captioner()
    pictures: Pictures = Pictures()
    prompt: Prompt = Prompt()
    generate: Generate = Generate()
    tags: Tags = Tags()
    server: Server = Server()
    policy: Policy = Policy()


__all__ = ["ARROW", "CaptionConfig", "Existing", "Precision", "Quantize"]
