"""How much a job would do, in numbers that a page can show while it is set up."""

from __future__ import annotations

from collections import Counter
from typing import Any

from trainers.errors import ConfigError
from trainers.preferences.config import AnyConfig, CompareConfig, GenerateConfig, ScoreConfig
from trainers.preferences.prefset import Picture, Prefset, prompt_id_of
from trainers.preferences.prompts import read_prompts

Record = dict[str, Any]


def facts_of(config: AnyConfig, prefset: Prefset | None) -> Record:
    """config: resolved; prefset: None for a set that is not there yet. {} while the prompts cannot be read."""
    if isinstance(config, ScoreConfig):
        return _to_score(config, prefset)
    try:
        prompts = read_prompts(config.prompts)
    except ConfigError:
        return {}
    if isinstance(config, CompareConfig):
        drawn = 2 * len(prompts) * config.pictures.per_prompt
        return {"prompts": len(prompts), "to_do": drawn, "scorers": len(config.scorers.names)}
    ids = [prompt_id_of(text, config.prompts.negative) for text in prompts]
    made = Counter(one.prompt_id for one in prefset.pictures.values() if _is_of(one, config)) if prefset else Counter()
    there = sum(len(prefset.pictures_of(prompt_id)) for prompt_id in ids) if prefset else 0
    to_do = sum(max(0, config.pictures.per_prompt - made[prompt_id]) for prompt_id in ids)
    return {"prompts": len(prompts), "there": there, "to_do": to_do}


def _is_of(picture: Picture, config: GenerateConfig) -> bool:
    """Drawn with the same settings, as far as the picture's line tells without reading weights."""
    gen, pictures = picture.gen, config.pictures
    worn = [(one.get("path"), one.get("scale")) for one in gen.get("adapters") or []]
    wanted = [(config.adapter.file, config.adapter.strength)] if config.adapter.file else []
    size = (picture.w, picture.h, gen.get("steps"), gen.get("cfg"))
    asked = (pictures.width, pictures.height, pictures.steps, pictures.guidance)
    return gen.get("base") == config.model.base and worn == wanted and size == asked


def _to_score(config: ScoreConfig, prefset: Prefset | None) -> Record:
    pictures = len(prefset.pictures) if prefset else 0
    known = Counter(scorer for scorer, _, _ in prefset.scores) if prefset else Counter()
    missing = [pictures if config.scorers.again else max(0, pictures - known[name]) for name in config.scorers.names]
    return {"scorers": len(config.scorers.names), "pictures": pictures, "to_do": sum(missing)}
