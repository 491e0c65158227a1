"""What the run that trained an adapter says of it: what it began with, and which prompts it saw. Light."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trainers.config import TrainConfig
from trainers.errors import ConfigError, DataError
from trainers.preferences.adapters import find_adapter
from trainers.preferences.config import CompareConfig, Prompts
from trainers.preferences.deriving import training_pairs
from trainers.preferences.prefset import Prefset
from trainers.preferences.training_pairs import TrainingPair, read_training_pairs

BESIDE = "-proof"  # of the name of the policy: its pictures do not get among those that are trained on
MAX_STEM = 40


def compared(config: CompareConfig) -> CompareConfig:
    """With what follows from the run that trained the policy: its file, the reference, prompts that training did not
    see, and a set of its own. What was asked for stays. Raises ConfigError."""
    if not config.policy.file:
        raise ConfigError("policy.file", "it is empty.", "Give the LoRA or the run that is to be compared.")
    given = find_adapter("policy.file", config.policy.file)
    values = config.model_dump()
    values["policy"]["file"] = str(given.file)
    if config.reference.file == "auto":
        values["reference"]["file"] = began_with(given.run)
    if not _has_source(config.prompts):
        values["prompts"]["texts"] = _held_out(given.run)
    if not config.set.folder.strip():
        stem = re.sub(r"[^\w.+-]+", "-", given.file.stem).strip("-.+") or "adapter"
        values["set"]["folder"] = stem[:MAX_STEM] + BESIDE
    parts = {name: type(getattr(config, name))(**values[name]) for name in ("policy", "reference", "prompts", "set")}
    return config.model_copy(update=parts)


def began_with(run: TrainConfig | None) -> str:
    """The file of the LoRA that a run builds on or continues, "" for the base alone."""
    return (run.objective.sft_lora or run.adapter.resume_from) if run else ""


def _has_source(prompts: Prompts) -> bool:
    return bool(prompts.file or prompts.folder or any(text.strip() for text in prompts.texts))


def _held_out(run: TrainConfig | None) -> tuple[str, ...]:
    rows = pairs_of(run) if run else []
    return tuple(dict.fromkeys(row.prompt for row in rows if row.split == "held_out"))


def pairs_of(run: TrainConfig) -> list[TrainingPair]:
    """The pairs that a run trains on and validates with; none for a run without, or whose pairs are gone."""
    if run.objective.kind != "dpo" or not run.objective.pairs:
        return []
    path = Path(run.objective.pairs)
    try:
        return training_pairs(Prefset(path)) if path.is_dir() else read_training_pairs(path)
    except DataError:
        return []  # what was deleted since cannot be asked; the comparison can do without


# --------------------------------------------------------------------------- what training saw


@dataclass(frozen=True)
class Seen:
    """Of the prompts of a comparison. trained_on, held_out: how many its training used, and kept for validation; None
    where nothing is known of the training."""

    trained_on: int | None
    held_out: int | None


def seen(policy: str, prompts: list[str]) -> Seen:
    """policy: file of the adapter. Raises ConfigError when it is gone."""
    run = find_adapter("policy.file", policy).run
    rows = pairs_of(run) if run else []
    if not rows:
        return Seen(None, None)
    trained = {_plain(row.prompt) for row in rows if row.split == "train"}
    kept = {_plain(row.prompt) for row in rows if row.split == "held_out"} - trained
    wanted = [_plain(prompt) for prompt in prompts]
    return Seen(sum(one in trained for one in wanted), sum(one in kept for one in wanted))


def _plain(prompt: str) -> str:
    """Blanks and case make no other prompt."""
    return " ".join(prompt.split()).casefold()
