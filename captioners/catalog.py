"""The captioners that there are: plain data that the table, the page, the checks and the loader read. Light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from captioners.config import Quantize
from captioners.joycaption_prompts import Dialect

Kind = Literal["sandbox", "florence2", "joycaption", "joycaption_folders", "wd", "blip", "blip2", "qwen_vl", "server"]

LANGUAGE_BYTES = {"none": 2.0, "int8": 1.06, "nf4": 0.56}  # of one weight, scales included
OVERHEAD_GIB = 0.8  # context of the card, activations of one picture


@dataclass(frozen=True)
class Defaults:
    """What "auto" of `generate` means. batch: on a card; on a processor it is 1 for all but small models."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    beams: int = 1
    max_tokens: int = 256
    batch: int = 4


@dataclass(frozen=True)
class CaptionerSpec:
    """One captioner.

    source: hub id, or path below the program; params: in billions, language: those of the part that can be quantised;
    download_gib: 0 for what needs none; writes: what its captions are; tasks: values of `prompt.task`, the default
    first; note: what a person should know before choosing it; dialect: which prompts of JoyCaption it was trained on.
    """

    kind: Kind
    title: str
    source: str
    licence: str
    writes: Literal["prose", "tags", "both"]
    params: float = 0.0
    language: float = 0.0
    download_gib: float = 0.0
    tasks: tuple[str, ...] = ()
    defaults: Defaults = Defaults()
    note: str = ""
    gated: bool = False
    files: tuple[str, ...] = ("*.json", "*.txt", "*.safetensors", "*.model", "*.jinja")
    dialect: Dialect = "beta"

    @property
    def built_in(self) -> bool:
        return self.source.startswith("assets/")

    @property
    def quantizable(self) -> bool:
        return self.language > 0 and self.kind != "joycaption_folders"

    def memory_gib(self, quantize: Quantize = "none", bytes_each: float = 2.0) -> float:
        """Forecast of the peak at a batch of one. bytes_each: of a weight that is not quantised."""
        if not self.params:
            return 0.0
        language = LANGUAGE_BYTES[quantize] if quantize != "none" else bytes_each
        weights = (self.params - self.language) * bytes_each + self.language * language
        return round(weights * 1e9 / 2**30 + OVERHEAD_GIB, 1)


MODULES: Mapping[Kind, str] = {
    "sandbox": "captioners.sandbox.captioner",
    "florence2": "captioners.florence2",
    "joycaption": "captioners.joycaption",
    "joycaption_folders": "captioners.joycaption_folders",
    "wd": "captioners.wd_tagger",
    "blip": "captioners.blip",
    "blip2": "captioners.blip2",
    "qwen_vl": "captioners.qwen_vl",
    "server": "captioners.server",
}

# which settings a kind of captioner reads, beside those that all do; others are refused when they are set
_TEXT = frozenset({"generate.temperature", "generate.top_p", "generate.top_k", "generate.max_tokens"})
_JOY = frozenset({"prompt.text", "prompt.caption_type", "prompt.length", "prompt.options", "prompt.person"})
_LOCAL = frozenset({"captioner.source", "captioner.revision", "captioner.device", "captioner.precision"})
_BEAMS = frozenset({"generate.beams", "generate.max_tokens"})
READS: Mapping[Kind, frozenset[str]] = {
    "sandbox": _LOCAL | _TEXT,
    "florence2": _LOCAL | _BEAMS | {"prompt.task"},
    "joycaption": _LOCAL | _TEXT | _JOY | {"prompt.system", "captioner.quantize"},
    "joycaption_folders": _LOCAL | _TEXT | _JOY | {"prompt.system"},
    "wd": frozenset(
        {"captioner.source", "captioner.revision", "captioner.device"}
        | {f"tags.{name}" for name in ("general", "character", "mcut", "rating", "character_first", "underscores")}
        | {f"tags.{name}" for name in ("split_series", "escape", "at_most", "first")}
    ),
    "blip": _LOCAL | _BEAMS | {"prompt.text"},
    "blip2": _LOCAL | _BEAMS | {"prompt.text", "captioner.quantize"},
    "qwen_vl": _LOCAL | _TEXT | {"prompt.text", "prompt.system", "captioner.quantize"},
    "server": _TEXT
    | {"prompt.text", "prompt.system", "prompt.person"}
    | {f"server.{name}" for name in ("url", "model", "key_env", "concurrency", "retries", "timeout_s", "max_side")}
    | {"server.cost_free"},
}
ONLY_SOME_READ = frozenset().union(*READS.values())

FLORENCE_TASKS = ("more_detailed", "detailed", "caption", "tags")
PROMPTGEN_TASKS = ("more_detailed", "detailed", "caption", "tags", "mixed", "mixed_plus", "analyze")
_FLORENCE = Defaults(beams=3, max_tokens=1024, batch=8)
_JOYCAPTION = Defaults(temperature=0.6, top_p=0.9, max_tokens=512, batch=4)
_WD = Defaults(batch=8)
_BLIP = Defaults(beams=3, max_tokens=75, batch=8)
_QWEN = Defaults(temperature=0.7, top_p=0.8, top_k=20, max_tokens=512, batch=2)
_WD_FILES = ("model.onnx", "selected_tags.csv", "config.json", "model_optimized.onnx", "tag_mapping.json")
_TAGS_NOTE = "Danbooru tags for anime pictures. Needs the package onnxruntime."


def _florence(
    title: str, source: str, params: float, download: float, note: str, tasks: tuple[str, ...] = FLORENCE_TASKS
) -> CaptionerSpec:
    return CaptionerSpec("florence2", title, source, "MIT", "both", params, 0, download, tasks, _FLORENCE, note)


def _wd(title: str, name: str, params: float, download: float) -> CaptionerSpec:
    source = f"SmilingWolf/wd-{name}-tagger-v3"
    return CaptionerSpec(
        "wd", title, source, "Apache-2.0", "tags", params, 0, download, (), _WD, _TAGS_NOTE, files=_WD_FILES
    )


def _qwen(title: str, source: str, params: float, language: float, licence: str = "Apache-2.0") -> CaptionerSpec:
    note = "Follows instructions; reads text in pictures. Never in fp16."
    download = round(params * 2e9 / 2**30, 1)
    return CaptionerSpec("qwen_vl", title, source, licence, "prose", params, language, download, (), _QWEN, note)


CAPTIONERS: Mapping[str, CaptionerSpec] = {
    "sandbox": CaptionerSpec(
        "sandbox",
        "Sandbox captioner",
        "assets/sandbox/captioner",
        "Apache-2.0",
        "prose",
        0.001,
        defaults=Defaults(max_tokens=32, batch=16),
        note="A tiny model for the drawn scenes of the sandbox; it knows nothing else. Works on any machine at once.",
    ),
    "florence2-base": _florence(
        "Florence-2 base",
        "florence-community/Florence-2-base-ft",
        0.23,
        0.4,
        "Small and quick, also on a processor.",
    ),
    "florence2-large": _florence(
        "Florence-2 large",
        "florence-community/Florence-2-large-ft",
        0.77,
        1.4,
        "Good sentences in little memory.",
    ),
    "florence2-large-no-flash": _florence(
        "Florence-2 large (older files)",
        "multimodalart/Florence-2-large-no-flash-attn",
        0.77,
        1.4,
        "The files that older tools have downloaded; the same model.",
    ),
    "florence2-promptgen": _florence(
        "Florence-2 PromptGen 2.0",
        "MiaoshouAI/Florence-2-large-PromptGen-v2.0",
        0.77,
        2.9,
        "Trained to write prompts: sentences, tags, or both.",
        PROMPTGEN_TASKS,
    ),
    "joycaption-beta-one": CaptionerSpec(
        "joycaption",
        "JoyCaption Beta One",
        "fancyfeast/llama-joycaption-beta-one-hf-llava",
        "Llama 3.1 Community",
        "both",
        8.48,
        6.98,
        15.8,
        defaults=_JOYCAPTION,
        note="Uncensored captions in many styles. A card of 24 GB, or of 10 GB with captioner.quantize = nf4.",
    ),
    "joycaption-alpha-two": CaptionerSpec(
        "joycaption",
        "JoyCaption Alpha Two",
        "fancyfeast/llama-joycaption-alpha-two-hf-llava",
        "Llama 3.1 Community",
        "both",
        8.48,
        6.98,
        15.8,
        defaults=_JOYCAPTION,
        note="The version before Beta One.",
        dialect="alpha",
    ),
    "joycaption-alpha-two-folders": CaptionerSpec(
        "joycaption_folders",
        "JoyCaption Alpha Two (three folders)",
        "",
        "Llama 3.1 Community",
        "both",
        8.48,
        6.98,
        defaults=Defaults(temperature=0.6, top_p=0.9, max_tokens=300, batch=1),
        note="The older files: joy-caption-alpha-two, clip and llm in one folder, which captioner.source names.",
        dialect="alpha",
    ),
    "wd-swinv2": _wd("WD SwinV2 tagger v3", "swinv2", 0.098, 0.4),
    "wd-eva02-large": _wd("WD EVA02-Large tagger v3", "eva02-large", 0.315, 1.2),
    "wd-vit-large": _wd("WD ViT-Large tagger v3", "vit-large", 0.315, 1.2),
    "wd-vit": _wd("WD ViT tagger v3", "vit", 0.095, 0.4),
    "wd-convnext": _wd("WD ConvNext tagger v3", "convnext", 0.099, 0.4),
    "blip-base": CaptionerSpec(
        "blip",
        "BLIP base",
        "Salesforce/blip-image-captioning-base",
        "BSD-3-Clause",
        "prose",
        0.224,
        download_gib=0.9,
        defaults=_BLIP,
        note="One short sentence. For old machines.",
    ),
    "blip-large": CaptionerSpec(
        "blip",
        "BLIP large",
        "Salesforce/blip-image-captioning-large",
        "BSD-3-Clause",
        "prose",
        0.446,
        download_gib=1.8,
        defaults=_BLIP,
        note="One short sentence.",
    ),
    "blip2": CaptionerSpec(
        "blip2",
        "BLIP-2 OPT 2.7B",
        "Salesforce/blip2-opt-2.7b",
        "MIT, OPT licence (no commercial use)",
        "prose",
        3.74,
        2.52,
        14.0,
        defaults=_BLIP,
        note="One short sentence; answers a question.",
    ),
    "qwen3-vl-2b": _qwen("Qwen3-VL 2B", "Qwen/Qwen3-VL-2B-Instruct", 2.13, 1.4),
    "qwen3-vl-4b": _qwen("Qwen3-VL 4B", "Qwen/Qwen3-VL-4B-Instruct", 4.44, 3.6),
    "qwen3-vl-8b": _qwen("Qwen3-VL 8B", "Qwen/Qwen3-VL-8B-Instruct", 8.77, 6.9),
    "qwen2.5-vl-3b": _qwen(
        "Qwen2.5-VL 3B", "Qwen/Qwen2.5-VL-3B-Instruct", 3.75, 2.8, "Qwen Research (no commercial use)"
    ),
    "qwen2.5-vl-7b": _qwen("Qwen2.5-VL 7B", "Qwen/Qwen2.5-VL-7B-Instruct", 8.29, 6.5),
    "server": CaptionerSpec(
        "server",
        "OpenAI-compatible server",
        "",
        "that of its model",
        "both",
        defaults=Defaults(temperature=0.6, max_tokens=512),
        note="vLLM, llama.cpp, LM Studio, Ollama, KoboldCpp, or a paid service. Pictures are sent to it.",
    ),
}
