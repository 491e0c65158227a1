"""One process, one run: `python -m trainers.worker RUN_DIR [--resume]`.

Reads the folder's config, writes its events, checkpoints, previews and the adapter file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from PIL import Image

from trainers import catalog, preflight, resolve
from trainers.boundary import FileControl, began, carry_out, is_out_of_memory, log_common, opened_run
from trainers.config import TrainConfig
from trainers.errors import EXIT_DONE, EXIT_STOPPED, StoppedEarly
from trainers.events import (
    CheckpointSaved,
    Emit,
    Event,
    Measured,
    PhaseChanged,
    RunFinished,
    StepDone,
    ValidationDone,
    Warned,
)
from trainers.machine import detect
from trainers.rundir import RunDir

if TYPE_CHECKING:
    from trainers.adapters import Adapter
    from trainers.checkpoint import Export
    from trainers.data.dataset import Batches
    from trainers.families.base import ModelFamily, Runtime
    from trainers.loop import RunResult

log = logging.getLogger(__name__)


def work(
    run: RunDir, *, resume: bool = False, since: float | None = None, watch: Callable[[Event], None] | None = None
) -> int:
    """Do the run and return its exit code; see `boundary.carry_out`."""

    def train(emit: Emit, control: FileControl) -> int:
        return _run(run, emit, control, resume)

    hint = "Resume from the last checkpoint."
    return carry_out(run, train, explain, resume_hint=hint, since=since, watch=watch)


def log_event(event: Event) -> None:
    """The run's log for people: what happens, and every 25th step."""
    match event:
        case StepDone(step=step) if step == 1 or step % 25 == 0:
            log.info("step %d: loss %.4f, gradient %.3f, %.2f s", step, event.loss, event.grad_norm, event.seconds)
        case ValidationDone(step=step, loss=loss):
            log.info("step %d: validation %.4f", step, loss)
        case CheckpointSaved(path=path):
            log.info("saved %s", path)
        case _:
            log_common(log, event)


def explain(error: Exception) -> tuple[str, str]:
    """What happened and what to do, for errors that users meet."""
    if is_out_of_memory(error):
        return (
            "Out of memory.",
            "Set memory.quantize = fp8 or memory.gradient_checkpointing = on, lower data.resolution or "
            "schedule.batch_size, or close other programs that use the card. Then resume.",
        )
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full.", "Free some space, then resume."
    if isinstance(error, OSError) and "huggingface.co" in str(error):
        return (
            "The base model could not be downloaded.",
            "Check the network. A gated model needs its licence accepted on huggingface.co, and `hf auth login`.",
        )
    return f"{type(error).__name__}: {error}", "The log has the details."


def _run(run: RunDir, emit: Emit, control: FileControl, resume: bool) -> int:
    begun = time.monotonic()
    emit(PhaseChanged("preparing", "checking pictures"))
    config = resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))
    machine = detect()
    report = preflight.check(config, machine, resuming=True)
    report.raise_problems()
    for finding in report.findings:
        if finding.level == "warning":
            emit(Warned(finding.code, finding.message, finding.hint))

    emit(PhaseChanged("loading", "libraries"))
    quiet_libraries()
    from trainers.families import load_family
    from trainers.loop import train
    from trainers.objectives import make_objective
    from trainers.weights.hub import fetch

    runtime = make_runtime(config)
    fetch(config.model, _download_progress(emit, control))
    family = load_family(config, runtime)
    dataset = _dataset(report, config, family, runtime, run)
    probe = _probe(config)
    texts = (*config.sample.prompts, config.sample.negative, *(probe.prompts() if probe else ()))
    dataset.encode(texts, lambda what, done, total: emit(PhaseChanged("caching", what, done, total)))

    objective, export = make_objective(config), _exporter(run, config, family, report, len(dataset.samples))
    result = train(config, family, objective, dataset, run, runtime, emit, control, resume=resume, export=export)

    path = run.adapter(config.run.name)
    export(result.adapter, result.step, path)
    summary = ""
    if probe and not result.stopped:
        summary = _measure(probe, config, family, dataset, result, emit)
    if not result.stopped:
        dataset.forget_texts()
    emit(RunFinished(result.step, path.name, round(time.monotonic() - begun, 1), result.stopped, summary))
    return EXIT_STOPPED if result.stopped else EXIT_DONE


def _dataset(
    report: preflight.Report, config: TrainConfig, family: ModelFamily, runtime: Runtime, run: RunDir
) -> Batches:
    """The pictures with captions, or the pairs, that the check has found."""
    if report.pairs:
        from trainers.data.pairs import PairDataset

        return PairDataset(report.pairs, config, family, runtime.device, run.path)
    from trainers.data.dataset import Dataset

    assert report.scan  # or the check has told of a problem
    return Dataset(report.scan, config, family, runtime.device, run.path)


def _download_progress(emit: Emit, control: FileControl) -> Callable[[str, int, int], None]:
    """Tells of a download, and ends it when asked to: what is there stays there."""

    def tell(file: str, done: int, total: int) -> None:
        emit(PhaseChanged("downloading", file, done, total))
        if "stop" in control():
            raise StoppedEarly("Stopped during the download.", "Resume goes on where it stopped.")

    return tell


def _exporter(run: RunDir, config: TrainConfig, family: ModelFamily, report: preflight.Report, samples: int) -> Export:
    """What writes an adapter file with all that is known of it. Captions that are sentences are no tags, and prompts of
    pairs are no captions."""
    from trainers.data.tags import frequencies, is_tags
    from trainers.export import save_adapter
    from trainers.weights.identity import base_hash
    from trainers.weights.source import source_of

    pictures = report.scan.pictures if report.scan else ()
    captions = ["\n".join(picture.lines) for picture in pictures if picture.lines]
    tags = frequencies(caption for caption in captions if is_tags(caption))
    known = {"tags": tags, "base_hash": base_hash(source_of(config.model))}

    def export(adapter: Adapter, step: int, path: Path) -> None:
        newest = max(run.samples.glob("step-*-00.png"), default=None)
        with contextlib.ExitStack() as stack:
            thumbnail = stack.enter_context(Image.open(newest)) if newest else None
            save_adapter(path, adapter, family, config, step, samples, thumbnail=thumbnail, **known)

    return export


def make_runtime(config: TrainConfig) -> Runtime:
    """Device and number format of this process. A card that torch cannot use is said, not passed over."""
    import torch

    from trainers.families.base import DTYPES, Runtime

    torch.set_num_threads(int(config.run.threads))
    name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        torch.set_float32_matmul_precision("high")
        # cuDNN's attention breaks off with an illegal memory access in FLUX's backward pass (torch 2.11 on an H100)
        torch.backends.cuda.enable_cudnn_sdp(False)
    return Runtime(
        device=torch.device(name),
        dtype=DTYPES[config.model.precision],
        quantize=config.memory.quantize,
        gradient_checkpointing=config.memory.gradient_checkpointing == "on",
        train_text=config.adapter.text_encoders,
    )


def quiet_libraries() -> None:
    """Progress is told by events; bars and advice of the libraries would only clutter the log."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def _probe(config: TrainConfig) -> ModuleType | None:
    """What can judge by rule whether a concept was learned, where there is such a thing."""
    model = catalog.model_of(config.model.base, config.model.family)
    if not model.probe or config.objective.kind != "sft":
        return None
    module = importlib.import_module(model.probe)
    return module if module.applies(config) else None


def _measure(
    probe: ModuleType, config: TrainConfig, family: ModelFamily, dataset: Batches, result: RunResult, emit: Emit
) -> str:
    """Judge the model with the adapter and without; the sentence that says how it came out."""
    from trainers.sampling import draw_prompts

    def draw(prompts: list[str], seeds: list[int]) -> list:
        return draw_prompts(family, dataset, config, prompts, seeds)

    emit(PhaseChanged("measuring", "what was learned"))
    with result.adapter.disabled():
        before = probe.measure(draw)
    after = probe.measure(draw)
    for step, shares in ((0, before), (result.step, after)):
        emit(Measured(step, {"concept": shares.concept, "others": shares.others}))
    return probe.line(before, after)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainers.worker", description=__doc__)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    run, args = opened_run(parser, argv)
    return work(run, resume=args.resume, since=began(), watch=log_event)


if __name__ == "__main__":
    sys.exit(main())
