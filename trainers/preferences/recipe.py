"""What a generated picture depends on beside its prompt and its seed: kept with it, and the key of its name. Light."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers import catalog
from trainers.config import Model
from trainers.preferences.config import CompareConfig, GenerateConfig
from trainers.weights.header import WeightsError
from trainers.weights.identity import base_hash
from trainers.weights.source import place_of, source_of

WEIGHTS = ("*.safetensors", "*.bin")
KEY_DIGITS = 8
PLACES = ("hub", "endpoint", "allow_pickle", "guidance", "family")  # settings of the model that change no picture


@dataclass(frozen=True)
class Worn:
    """An adapter that pictures are drawn with. hash: SHA-256 of the file."""

    path: str
    hash: str
    scale: float


def worn(file: str, scale: float) -> tuple[Worn, ...]:
    """file: "" for the base alone. Raises OSError."""
    return (Worn(file, file_hash(Path(file)), scale),) if file else ()


def file_hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@dataclass(frozen=True)
class Recipe:
    """How all pictures of a model are drawn."""

    base: str
    base_hash: str
    model: dict[str, Any]  # settings that change the picture
    adapters: tuple[Worn, ...]
    sampler: str
    width: int
    height: int
    steps: int
    cfg: float
    quantize: str

    @property
    def key(self) -> str:
        """The same for all that draws the same pictures, wherever the files lie."""
        worn_by_hash = [(one.hash, one.scale) for one in self.adapters]
        base = self.base_hash or self.base
        size = [self.width, self.height, self.steps, self.cfg, self.sampler, self.quantize]
        told = json.dumps([base, self.model, worn_by_hash, size], sort_keys=True)
        return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_DIGITS]

    def facts(self, seed: int, prompt: str, shift: float, vae_hash: str, created: float) -> dict[str, Any]:
        """The field `gen` of a picture. shift: of the sampler's noise levels; created: seconds since 1970."""
        return {
            "base": self.base,
            "base_hash": self.base_hash,
            "adapters": [{"path": one.path, "hash": one.hash, "scale": one.scale} for one in self.adapters],
            "seed": seed,
            "sampler": self.sampler,
            "steps": self.steps,
            "cfg": self.cfg,
            "shift": round(shift, 6),
            "vae_hash": vae_hash,
            "precision": self.model["precision"],
            "quantize": self.quantize,
            "created": round(created, 3),
            "prompt": prompt,
        }


def recipe_of(config: GenerateConfig | CompareConfig, adapters: tuple[Worn, ...]) -> Recipe:
    """config: resolved. Hashes a checkpoint file where that was not done before. Raises WeightsError, OSError."""
    model, pictures = config.model, config.pictures
    changing = model.model_dump(mode="json", exclude={"base", *PLACES})
    return Recipe(
        base=model.base,
        base_hash=base_hash(source_of(model)),
        model=changing,
        adapters=adapters,
        sampler=sampler_of(model),
        width=int(pictures.width),
        height=int(pictures.height),
        steps=int(pictures.steps),
        cfg=float(pictures.guidance),
        quantize=config.memory.quantize,
    )


def sampler_of(model: Model) -> str:
    """All families draw with Euler's method, on their own table of noise levels."""
    return "flow_euler" if "flow" in catalog.FAMILIES[model.family].features else "euler"


def vae_hash(model: Model) -> str:
    """SHA-256 of the VAE's weights. Of a checkpoint file that holds the VAE too, that of the file, "" for one that is
    too large to be hashed. The weights have to be on this machine. Raises WeightsError, OSError."""
    source = source_of(model)
    place = place_of(source, "vae")
    if place.path == source.file:
        return base_hash(source)
    path = Path(place.path)
    files = [path] if place.is_file else sorted(f for one in WEIGHTS for f in (path / place.subfolder).glob(one))
    if not files:
        raise WeightsError(f"There are no weights of a VAE in {path}.", "Download the model again.")
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(file_hash(file)))
    return digest.hexdigest() if len(files) > 1 else file_hash(files[0])
