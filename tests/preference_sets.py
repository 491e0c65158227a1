"""Small preference sets for tests: drawn scenes, scores by rule, votes of people who prefer what stands high."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from trainers import settings
from trainers.preferences import plan, report
from trainers.preferences.background import Seen
from trainers.preferences.config import CompareConfig
from trainers.preferences.duels import duels_of
from trainers.preferences.pairing import Rule, rebuild
from trainers.preferences.plan import Wanted
from trainers.preferences.prefset import Pair, Picture, Prefset, Score, image_id_of
from trainers.preferences.votes import Choice, Vote, left_of
from trainers.rundir import RunDir
from trainers.sandbox import scenes


def make_set(folder: Path, prompts: int = 4, each: int = 3) -> Prefset:
    """A set with drawn pictures of some prompts, all of the base "sandbox"."""
    prefset = Prefset.create(folder)
    rng = np.random.default_rng(5)
    for prompt in prefset.add_prompts((f"a scene, number {number}", "") for number in range(prompts)):
        pictures = []
        for index in range(each):
            data = _png(rng)
            path = f"images/{prompt.prompt_id}-{index}.png"
            (folder / path).write_bytes(data)
            gen = {"base": "sandbox", "adapters": [], "seed": index, "steps": 8, "cfg": 1.0}
            pictures.append(Picture(image_id_of(data), prompt.prompt_id, path, 64, 64, "generated", gen))
        prefset.add_pictures(pictures)
    return prefset


def _png(rng: np.random.Generator) -> bytes:
    data = io.BytesIO()
    scenes.draw(scenes.sample_scene(rng)).save(data, "png")
    return data.getvalue()


def height(prefset: Prefset, image_id: str) -> float:
    """By which the made-up scorer and the made-up people judge: it is different for every picture."""
    return int(image_id[8:16], 16) / 2**32


def score(prefset: Prefset, scorer: str = "rule", sign: float = 1.0) -> None:
    scores = [
        Score(one.image_id, one.prompt_id, scorer, "1", sign * height(prefset, one.image_id))
        for one in prefset.pictures.values()
    ]
    prefset.add_scores(scores)


def build(prefset: Prefset, rule: Rule | None = None) -> list[Pair]:
    return rebuild(prefset, rule or Rule("random", per_prompt=3))


def vote(prefset: Prefset, person: str = "ann", pairs: list[Pair] | None = None, ms: int = 900) -> None:
    """Everybody says the same of every pair, or of the given ones."""
    for pair in pairs if pairs is not None else list(prefset.pairs.values()):
        better: Choice = "a" if height(prefset, pair.a) > height(prefset, pair.b) else "b"
        left = left_of(pair.pair_id, person)
        prefset.votes.add(Vote(f"{person}-{pair.pair_id}", pair.pair_id, person, better, left, ms, 1_700_000_000.0))


def make_comparison(run: RunDir, folder: Path, policy: str, prompts: int = 12) -> Prefset:
    """A comparison that has ended: the scorer prefers every picture of the policy. folder: of its set."""
    prefset, rng = Prefset.create(folder), np.random.default_rng(11)
    todo: dict[str, list[Wanted]] = {"reference": [], "policy": []}
    for prompt in prefset.add_prompts((f"something new, number {number}", "") for number in range(prompts)):
        for value, (role, wanted) in enumerate(todo.items()):
            one = Wanted(prompt.prompt_id, prompt.prompt, "", 1, f"images/{prompt.prompt_id}-{role}.png")
            data = _png(rng)
            (folder / one.path).write_bytes(data)
            prefset.add_pictures([Picture(image_id_of(data), prompt.prompt_id, one.path, 64, 64)])
            prefset.add_scores([Score(image_id_of(data), prompt.prompt_id, "sandbox", "1", float(value))])
            wanted.append(one)
    values = {"set": {"folder": str(folder)}, "policy": {"file": policy}, "reference": {"file": ""}}
    values |= {"run": {"name": run.path.name}}
    config = settings.validate(values | {"scorers": {"names": ["sandbox"]}}, CompareConfig)
    run.create(settings.dump(config))
    plan.remember(run, [*todo["reference"], *todo["policy"]])
    prefset.add_pairs(duel.pair for duel in duels_of(run, prefset))
    report.write(run, config, prefset, Seen(0, prompts))
    return prefset
