"""The scorers that there are: plain data that the table, the page, the checks and the loader read. Light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Judges = Literal["preference", "alignment", "aesthetics", "anatomy", "scene"]

OVERHEAD_GIB = 0.6  # context of the card, activations of a few pictures


@dataclass(frozen=True)
class Part:
    """Something that a scorer needs from the hub.

    source: hub id; needed: of each tuple one file has to be there, the first is the usual one; files: patterns of what
    is downloaded beside them; is_file: the scorer opens the one needed file, else the folder.
    """

    source: str
    needed: tuple[tuple[str, ...], ...]
    files: tuple[str, ...] = ()
    is_file: bool = False


@dataclass(frozen=True)
class ScorerSpec:
    """One scorer.

    module: of `trainers.preferences.rewards`; judges: what its score is about; low, high: where scores usually are;
    params: in billions; download_gib: 0 for what needs none; reads_prompt: False for one that looks at the picture
    alone; revision: of the preprocessing, part of a score's version; note: what a person should know before choosing
    it; package: one that is not among the core ones; needs_card: too slow and too large for a processor.
    """

    title: str
    module: str
    judges: Judges
    licence: str
    low: float
    high: float
    parts: Mapping[str, Part]
    params: float = 0.0
    download_gib: float = 0.0
    reads_prompt: bool = True
    revision: int = 1
    note: str = ""
    package: str = ""
    needs_card: bool = False

    @property
    def built_in(self) -> bool:
        return not self.parts

    def memory_gib(self, bytes_each: float = 2.0) -> float:
        """Forecast of the peak for a batch of a few pictures. bytes_each: of a weight."""
        return round(self.params * 1e9 * bytes_each / 2**30 + OVERHEAD_GIB, 1) if self.params else 0.0


RTMLIB = "rtmlib"
HPSV3 = "hpsv3"
REQUIREMENTS = {RTMLIB: "requirements-scorers.txt", HPSV3: "requirements-hpsv3.txt"}

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FOLDER = (("config.json",), _WEIGHTS)
_ANIME = "It learned from photos and from older models, not from anime."


def _clip(source: str) -> Part:
    """A CLIP in transformers' layout; the tokenizer is that of `assets/tokenizers`."""
    return Part(source, _FOLDER, ("config.json", *_WEIGHTS))


SCORERS: Mapping[str, ScorerSpec] = {
    "hpsv2.1": ScorerSpec(
        "HPS v2.1",
        "hpsv2",
        "preference",
        "Apache-2.0",
        0.2,
        0.35,
        {"weights": Part("xswu/HPSv2", (("HPS_v2.1_compressed.pt",),), is_file=True)},
        0.986,
        1.9,
        note=f"Which picture people like better for a prompt. The usual first choice. {_ANIME}",
    ),
    "pickscore": ScorerSpec(
        "PickScore",
        "pickscore",
        "preference",
        "MIT",
        16.0,
        26.0,
        {"clip": _clip("yuvalkirstain/PickScore_v1")},
        0.986,
        3.7,
        note=f"Which picture people like better for a prompt, by the choices of one web page. {_ANIME}",
    ),
    "clip": ScorerSpec(
        "CLIP score",
        "clip_score",
        "alignment",
        "MIT",
        0.0,
        50.0,
        {"clip": _clip("openai/clip-vit-large-patch14")},
        0.428,
        1.6,
        note="How well the picture fits its prompt. It says nothing of quality.",
    ),
    "aesthetic": ScorerSpec(
        "LAION aesthetics",
        "aesthetic",
        "aesthetics",
        "Apache-2.0",
        3.0,
        8.0,
        {
            "clip": _clip("openai/clip-vit-large-patch14"),
            "head": Part(
                "trl-lib/ddpo-aesthetic-predictor",
                (("aesthetic-model.pth", "sac+logos+ava1-l14-linearMSE.pth"),),
                is_file=True,
            ),
        },
        0.429,
        1.6,
        reads_prompt=False,
        note=f"How pleasing the picture is, whatever its prompt. {_ANIME}",
    ),
    "imagereward": ScorerSpec(
        "ImageReward",
        "image_reward",
        "preference",
        "Apache-2.0",
        -2.0,
        2.0,
        {
            "weights": Part("zai-org/ImageReward", (("ImageReward.pt",),), is_file=True),
            "tokenizer": Part("google-bert/bert-base-uncased", (("vocab.txt",),), is_file=True),
        },
        0.446,
        1.7,
        note=f"Which picture people like better for a prompt; reads 35 tokens of it. {_ANIME}",
    ),
    "hpsv3": ScorerSpec(
        "HPS v3",
        "hpsv3",
        "preference",
        "MIT",
        -5.0,
        15.0,
        {
            "weights": Part("MizzenAI/HPSv3", (("HPSv3.safetensors",),), is_file=True),
            "base": Part(
                "Qwen/Qwen2-VL-7B-Instruct",
                (("config.json",), ("tokenizer.json",), ("preprocessor_config.json",)),
                (
                    "config.json",
                    "tokenizer*",
                    "vocab.json",
                    "merges.txt",
                    "*preprocessor_config.json",
                    "chat_template*",
                ),
            ),
        },
        8.29,
        15.5,
        note="The most accurate one, by a language model that looks at the picture. Needs a card of 24 GB.",
        package=HPSV3,
        needs_card=True,
    ),
    "anatomy": ScorerSpec(
        "Anatomy",
        "rtmlib_backend",
        "anatomy",
        "Apache-2.0",
        0.0,
        1.0,
        {
            "detector": Part(
                "Tau-J/RTMPose",
                (("rtmposev1/onnx_sdk/yolox_m_8xb8-300e_humanart-c2c7a14a.zip", "yolox_l.onnx"),),
                is_file=True,
            ),
            "pose": Part(
                "Tau-J/RTMPose",
                (("rtmw/onnx_sdk/rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122.zip", "dw-ll_ucoco_384.onnx"),),
                is_file=True,
            ),
        },
        0.08,
        0.3,
        note="Bodies, hands and feet, and how many people the prompt asks for. Knows drawn people too.",
        package=RTMLIB,
    ),
    "anatomy-vitpose": ScorerSpec(
        "Anatomy (ViTPose)",
        "vitpose_backend",
        "anatomy",
        "Apache-2.0",
        0.0,
        1.0,
        {
            "detector": Part("PekingU/rtdetr_r50vd_coco_o365", _FOLDER, ("config.json", *_WEIGHTS)),
            "pose": Part("usyd-community/vitpose-plus-base", _FOLDER, ("config.json", *_WEIGHTS)),
        },
        0.17,
        0.7,
        note="The same without another package; its detector was trained on photos and misses many drawn people.",
    ),
    "sandbox": ScorerSpec(
        "Sandbox",
        "sandbox",
        "scene",
        "Apache-2.0",
        0.0,
        1.0,
        {},
        note="Reads the drawn scenes of the sandbox by rule; it knows nothing else.",
    ),
}
