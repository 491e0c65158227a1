"""From a labelled set to the settings of a run that trains on it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from app.services.preferences.sets import Sets
from trainers.parameters import by_path
from trainers.paths import data_dir
from trainers.preferences.deriving import Terms
from trainers.preferences.prefset import Picture, Prefset
from trainers.preferences.snapshot import pin, usable_pairs
from trainers.preferences.summary import summarise
from trainers.preferences.training_pairs import TrainingPair
from trainers.presets import presets

BY_SCORES = Terms(sources=("votes", "scores"))
LEAST_REPEATS = 20  # votes that were asked twice, from which on the measured share of slips is worth using
MOST_SMOOTHING = 0.3
RATE, BETA, BATCH, STEPS = 1e-5, 2000.0, 8, 400  # where no preset is for pairs of the base
TAKEN = ("adapter", "objective", "noise", "optimizer", "schedule")  # sections of such a preset
PREVIEWS = 3
VISITS = 12  # of a pair
FEWEST = 100  # steps

Record = dict[str, Any]


def terms(*, use_scores: bool) -> Terms:
    """use_scores: where nobody has voted, the scorers decide."""
    return BY_SCORES if use_scores else Terms()


def settings(sets: Sets, name: str, *, use_scores: bool) -> Record:
    """Dotted path -> value of what training on the set changes in the draft.

    Raises DataError when nothing in the set is decided, or there is no such set.
    """
    with sets.opened(name) as prefset:
        rows = usable_pairs(prefset, terms(use_scores=use_scores))
        # the votes are read when the run starts; what the scores say has to be written down for it
        pairs = pin(prefset.folder, BY_SCORES) if use_scores else prefset.folder
        made = made_with(prefset)
        wanted = {path: one.default for path, one in by_path().items() if one.section == "objective"}
        wanted |= _amounts(rows, made["base"])
        wanted |= {"objective.kind": "dpo", "objective.pairs": str(pairs), "run.name": f"{name}-dpo"}
        if made["base"]:
            wanted["model.base"] = made["base"]
        if made["adapter"]:
            wanted["objective.sft_lora"] = made["adapter"]
        if (smoothing := _smoothing(prefset)) is not None:
            wanted["objective.label_smoothing"] = smoothing
        return wanted | _pictures(prefset, rows)


def made_with(prefset: Prefset) -> Record:
    """{base, adapter: file of a LoRA, or ""} that most of the generated pictures were drawn with."""
    bases = Counter(str(one.gen.get("base") or "") for one in prefset.pictures.values() if one.gen)
    adapters = Counter(_adapter(one) for one in prefset.pictures.values() if one.gen)
    base = bases.most_common(1)[0][0] if bases else ""
    return {"base": base, "adapter": adapters.most_common(1)[0][0] if adapters else ""}


def _adapter(picture: Picture) -> str:
    """The one adapter that it was drawn with, at full strength; others cannot be merged as they were used."""
    found = [one for one in picture.gen.get("adapters") or [] if isinstance(one, dict)]
    return str(found[0].get("path") or "") if len(found) == 1 and found[0].get("scale") in (1, 1.0, None) else ""


def _amounts(rows: Sequence[TrainingPair], base: str) -> Record:
    """How much is learned from so many pairs, and how: as a preset for pairs of this base says, if there is one."""
    pairs = sum(row.is_paired and row.split == "train" for row in rows)
    given = _preset(base)
    if given:
        return given | {"schedule.batch_size": max(1, min(int(given.get("schedule.batch_size", BATCH)), pairs))}
    batch = max(1, min(BATCH, pairs))
    return {
        "optimizer.learning_rate": RATE,
        "objective.beta": BETA,
        "schedule.batch_size": 1,
        "schedule.gradient_accumulation": batch,
        "schedule.max_steps": max(FEWEST, min(STEPS, math.ceil(VISITS * pairs / batch))),
        "adapter.dropout": 0.0,
    }


def _preset(base: str) -> Record:
    """Dotted path -> value of the last preset for pairs of this base; empty when there is none."""
    for info in reversed(presets(data_dir() / "presets")):
        objective, model = info.values.get("objective", {}), info.values.get("model", {})
        if objective.get("kind") == "dpo" and model.get("base") == base:
            sections = {name: info.values.get(name, {}) for name in TAKEN}
            return {f"{name}.{key}": value for name, part in sections.items() for key, value in part.items()}
    return {}


def _smoothing(prefset: Prefset) -> float | None:
    found = summarise(prefset)
    if found.label_smoothing is None or found.repeats < LEAST_REPEATS:
        return None
    return min(MOST_SMOOTHING, found.label_smoothing)


def _pictures(prefset: Prefset, rows: Sequence[TrainingPair]) -> Record:
    """Size and previews: of the pairs that training sees, and of the prompts that it does not."""
    sides = [math.sqrt(one.w * one.h) for one in prefset.pictures.values() if one.w and one.h]
    held_out = [row.prompt for row in rows if row.split == "held_out"] or [row.prompt for row in rows]
    previews = {"sample.prompts": list(dict.fromkeys(held_out))[:PREVIEWS]}
    return previews | ({"data.resolution": round(statistics.median(sides) / 64) * 64 or 64} if sides else {})
