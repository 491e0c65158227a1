"""Which model a file holds, told by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Literal

from trainers.weights.denoisers import Layout, denoiser_of
from trainers.weights.header import Header
from trainers.weights.lora_kinds import lora_of

Kind = Literal["base", "vae", "text_encoder", "lora", "unknown"]
VAE_PREFIXES = ("first_stage_model.", "vae.", "")
# where text encoders lie in whole checkpoints, and which is there
TEXT_PREFIXES = (
    ("cond_stage_model.transformer.", "clip_l"),
    ("conditioner.embedders.0.transformer.", "clip_l"),
    ("text_encoders.clip_l.transformer.", "clip_l"),
    ("conditioner.embedders.1.model.", "clip_g"),
    ("text_encoders.clip_g.transformer.", "clip_g"),
    ("text_encoders.t5xxl.transformer.", "t5"),
)
OWN_PREFIXES = ("transformer.", "model.", "")  # of a text encoder in a file of its own
CLIP_WORDS = ("text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight")
OPEN_CLIP_WORDS = "token_embedding.weight"
T5_WORDS, T5_GATE = "shared.weight", "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
WIDTH_OF_G = 1280  # numbers per token of CLIP-G
MANY_WORDS = 100_000  # T5 knows 32,128; its multilingual kin 250,000
ENCODERS = {"clip_l": "CLIP-L", "clip_g": "CLIP-G", "t5": "T5-XXL"}
PACKED = (".absmax", "quant_state", ".weight_scale_2", ".qweight", ".smooth_factor")  # of numbers below 8 bits


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    title: as in "an SDXL checkpoint"; family: of a base or a LoRA, empty where it cannot be trained; model: the nearest
    of the catalog; parts: which lie in it (denoiser, vae, clip_l, clip_g, t5), each with the prefix of its names;
    layout: of the denoiser's names; prediction: empty where the file does not tell; zero_snr: its noise schedule ends
    in pure noise; channels: of a VAE's latents.
    """

    kind: Kind
    title: str
    family: str = ""
    model: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    layout: Layout = "original"
    prediction: Literal["", "epsilon", "v_prediction"] = ""
    zero_snr: bool = False
    channels: int = 0


@lru_cache(maxsize=4096)
def recognise(header: Header) -> Recognised:
    """Never raises: what is not known is of kind "unknown"."""
    if any(mark in name for name in header.tensors for mark in PACKED):
        return Recognised("unknown", "a file whose weights are packed to 4 bits")
    if lora := lora_of(header):
        return Recognised("lora", f"a LoRA for {lora.name or 'an unknown model'}", lora.family)
    parts = dict(_parts(header))
    if found := denoiser_of(header):
        if not found.family:
            return Recognised("unknown", _with_article(found.name))
        parts = {"denoiser": found.prefix, **parts}
        title = _with_article(f"{found.name} {'checkpoint' if len(parts) > 1 else 'model'}")
        marks = {"prediction": _prediction(header), "zero_snr": "ztsnr" in header.tensors}
        return Recognised("base", title, found.family, found.model, parts, found.layout, **marks)  # type: ignore[arg-type]
    if "vae" in parts:
        channels = _latent_channels(header, parts["vae"])
        return Recognised("vae", f"a VAE of {channels} channels", parts=parts, channels=channels)
    if parts:
        return Recognised("text_encoder", " and ".join(ENCODERS[part] for part in parts), parts=parts)
    return Recognised("unknown", "a file of an unknown kind")


def _with_article(name: str) -> str:
    return f"{'an' if name.startswith(('SDXL', 'A', 'I', 'u', 'LTX')) else 'a'} {name}"


def _prediction(header: Header) -> str:
    told = header.metadata.get("modelspec.prediction_type", "")
    if "v_pred" in header.tensors or told in ("v", "v_prediction"):
        return "v_prediction"
    return "epsilon" if told == "epsilon" else ""


def _parts(header: Header) -> Iterator[tuple[str, str]]:
    """The VAE and the text encoders of a file, each with its prefix."""
    for prefix in VAE_PREFIXES:
        if _latent_channels(header, prefix):
            yield "vae", prefix
            break
    within = [(name, prefix) for prefix, name in TEXT_PREFIXES if _encoder(header, prefix)]
    own = ((name, prefix) for prefix in OWN_PREFIXES if (name := _encoder(header, prefix)))
    yield from within or islice(own, 1)


def _latent_channels(header: Header, prefix: str) -> int:
    """Channels of the latents that a VAE at this prefix takes; 0 for no VAE of pictures."""
    shape = header.shape(f"{prefix}decoder.conv_in.weight")
    is_vae = len(shape) == 4 and f"{prefix}encoder.conv_in.weight" in header.tensors
    return shape[1] if is_vae else 0


def _encoder(header: Header, prefix: str) -> str:
    """Which text encoder lies at the prefix; empty for none that is known."""
    words = header.shape(prefix + T5_WORDS)
    if words and words[0] < MANY_WORDS and prefix + T5_GATE in header.tensors:
        return "t5"
    if prefix + OPEN_CLIP_WORDS in header.tensors and prefix + "ln_final.weight" in header.tensors:
        return "clip_g"
    for name in CLIP_WORDS:
        if shape := header.shape(prefix + name):
            return "clip_g" if shape[1] == WIDTH_OF_G else "clip_l"
    return ""
