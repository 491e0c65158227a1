"""Findings about preference pairs: how many there are, which cannot be used, and how hard they will pull."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from trainers import catalog, fitting
from trainers.config import Captions, TrainConfig
from trainers.data import buckets, pair_samples, pair_scan
from trainers.data.epoch import Sample
from trainers.data.index import Progress
from trainers.data.pair_samples import REAL, PairSample, PairSamples
from trainers.data.pair_scan import PairScan, scan_pairs
from trainers.errors import DataError
from trainers.preflight.finding import Finding, Reasons, change, named, tell
from trainers.preflight.sizes import MAX_CROP_LOSS, listed
from trainers.preflight.texts import cut_off

PairScanner = Callable[[Path, Path, Progress | None], PairScan]  # pairs, folder where files are remembered
MOST_DECODED = 20_000  # pictures that a glance decodes

PROMPT_LETTERS = 40
REAL_MODEL = 0.5  # billions of weights from which on published numbers say something
BETAS = (500.0, 5000.0)
HIGHEST_RATE = 5e-5


def thorough(path: Path, index_dir: Path, progress: Progress | None = None) -> PairScan:
    """Every picture decoded, unless it was once: what a run needs."""
    return scan_pairs(path, index_dir, progress=progress)


def glance(path: Path, index_dir: Path, progress: Progress | None = None) -> PairScan:
    """The same for sets of a usual size; of very large ones only the headers are read."""
    pictures = len({side for row in pair_scan.rows_of(path) for side in pair_scan.sides(row)})
    return scan_pairs(path, index_dir, content=pictures <= MOST_DECODED, progress=progress)


def opened(
    config: TrainConfig, progress: Progress | None, scanner: PairScanner
) -> tuple[list[Finding], PairScan | None]:
    """The pairs of the config, or why there are none."""
    if not config.objective.pairs:
        return [tell("problem", "no_pairs", "objective.pairs")], None
    try:
        return [], scanner(Path(config.objective.pairs), Path(config.data.cache_dir) / "index", progress)
    except DataError as error:
        return [tell("problem", "bad_pairs", "objective.pairs", reason=error.message, remedy=error.hint)], None


def of_pairs(config: TrainConfig, scan: PairScan, found: PairSamples) -> Iterator[Finding]:
    yield from _broken(scan, found)
    if not found.trained:
        if scan.pictures and found.held_out:
            yield tell("problem", "all_held_out", "objective.pairs", n=len(found.held_out))
        return
    yield _counted(config, found)
    yield from _split(config, found)
    if found.unpaired:
        loss = config.objective.preference_loss
        yield tell("warning", "unpaired", "objective.preference_loss", n=found.unpaired, loss=loss)
    if config.objective.real_ratio and not any(pair.source == REAL for pair in found.trained):
        yield tell("warning", "no_real_pairs", "objective.real_ratio", change("no_real", {"objective.real_ratio": 0.0}))
    yield from _sizes(config, found)
    yield from _prompts(config, found)


def _broken(scan: PairScan, found: PairSamples) -> Iterator[Finding]:
    if not found.broken:
        return
    names = Reasons(tuple((bad.path.name, bad.reason) for bad in scan.bad))
    nothing_left = not found.trained and not found.held_out
    level, code = ("problem", "all_pairs_broken") if nothing_left else ("warning", "broken_pairs")
    yield tell(level, code, "objective.pairs", n=len(found.broken), names=names)  # type: ignore[arg-type]


def _counted(config: TrainConfig, found: PairSamples) -> Finding:
    """What is trained on, and what only measured."""
    prompts, held = len({pair.prompt for pair in found.trained}), len(found.held_out)
    if not pair_samples.uses_singles(config):
        return tell("ok", "pairs", "objective.pairs", n=len(found.trained), prompts=prompts, held=held)
    liked = sum(pair.winner is not None for pair in found.trained)
    others = len(found.trained) - liked
    if not liked or not others:
        return tell("problem", "one_sided", "objective.preference_loss", n=len(found.trained))
    return tell("ok", "liked_pictures", "objective.pairs", liked=liked, others=others, prompts=prompts, held=held)


def _split(config: TrainConfig, found: PairSamples) -> Iterator[Finding]:
    if found.divided:
        yield tell("warning", "divided_prompts", "objective.pairs", n=found.divided)
    if not found.held_out:
        fix = change("hold_out", {"validation.fraction": 0.1}) if not config.validation.fraction else None
        yield tell("warning", "none_held_out", "validation.fraction", fix)


def _sizes(config: TrainConfig, found: PairSamples) -> Iterator[Finding]:
    everything = [side for pair in (*found.trained, *found.held_out) for side in pair.sides]
    different = {(side.id, side.bucket): side for side in everything}
    shapes = Counter(bucket for _, bucket in different)
    side = int(config.data.resolution)
    yield tell("ok", "pictures", n=len(different), side=str(side), sizes=len(shapes), shapes=listed(shapes))
    small = sum(_area(one) < side**2 / 2 for one in different.values())
    if small and config.data.upscale:
        yield tell("warning", "small_pictures", "data.resolution", n=small, side=str(side))
    if cut := sum(map(_is_cut_short, (*found.trained, *found.held_out))):
        yield tell("warning", "pairs_cut", "data.aspect", n=cut, loss=f"{MAX_CROP_LOSS:.0%}")


def _area(side: Sample) -> int:
    return side.picture.width * side.picture.height


def _is_cut_short(pair: PairSample) -> bool:
    """Whether much of one of the two is cut away, as of a loser of another shape."""
    losses = (buckets.crop_loss(side.picture.width, side.picture.height, side.bucket) for side in pair.sides)
    return any(loss > MAX_CROP_LOSS for loss in losses)


def _prompts(config: TrainConfig, found: PairSamples) -> Iterator[Finding]:
    """Prompts that a text encoder reads in part: they are read as they stand, without trigger word and choices."""
    prompts = tuple(dict.fromkeys(pair.prompt for pair in (*found.trained, *found.held_out)))
    as_written = Captions(wildcards=False, keep_separator="")
    lines = tuple((prompt,) for prompt in prompts)
    encoder, places = cut_off(lines, as_written, config.model.base, config.model.family)
    if places:
        names = named(repr(prompts[place][:PROMPT_LETTERS]) for place in places)
        said = {"encoder": encoder.title, "limit": encoder.limit, "names": names}
        yield tell("warning", "long_prompts", "objective.pairs", None, n=len(places), **said)


# --------------------------------------------------------------------------- settings


def of_objective(config: TrainConfig) -> Iterator[Finding]:
    """Settings that the objective does not read, or that pull harder than anybody has published."""
    if unread := fitting.unread(config):
        yield tell("warning", "unread_options", unread[0], names=", ".join(unread))
    if config.objective.kind != "dpo":
        return
    lora = config.objective.sft_lora
    if lora and not Path(lora).is_file():
        yield tell("problem", "no_sft_lora", "objective.sft_lora", file=lora)
    if config.objective.preference_loss == "kto" and config.schedule.batch_size == 1:
        yield tell("warning", "kto_alone", "schedule.batch_size")
    if catalog.model_of(config.model.base, config.model.family).denoiser_params < REAL_MODEL:
        return
    beta, rate = config.objective.beta, float(config.optimizer.learning_rate)
    if config.objective.preference_loss != "ipo" and not BETAS[0] <= beta <= BETAS[1]:
        code = "beta_low" if beta < BETAS[0] else "beta_high"
        yield tell("warning", code, "objective.beta", beta=f"{beta:g}", low=f"{BETAS[0]:g}", high=f"{BETAS[1]:g}")
    if rate > HIGHEST_RATE:
        fix = change("usual_rate", {"optimizer.learning_rate": "auto"})
        yield tell("warning", "pair_rate", "optimizer.learning_rate", fix, rate=f"{rate:g}")
