"""Everything that can be known before anything loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainers import plan
from trainers.config import Data, TrainConfig
from trainers.data import buckets, epoch, folder, walk
from trainers.data.epoch import Epochs, Sample
from trainers.data.index import Progress
from trainers.data.sources import SourceError, sources
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.preflight.copies import of_copies
from trainers.preflight.finding import Finding, change, tell
from trainers.preflight.folders import of_folders, unopened
from trainers.preflight.model import of_model
from trainers.preflight.room import of_output, of_space
from trainers.preflight.sizes import of_sizes
from trainers.preflight.texts import of_captions

Scanner = Callable[[Data, Progress | None], folder.Scan]
MOST_DECODED = 20_000  # pictures that a glance decodes


@dataclass(frozen=True)
class Report:
    """plan is None when the pictures cannot be counted."""

    findings: tuple[Finding, ...]
    plan: plan.Plan | None
    scan: folder.Scan | None

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "problem")

    def raise_problems(self) -> None:
        """Raises ConfigErrors when the run cannot start."""
        if self.problems:
            raise ConfigErrors([ConfigError(p.field or p.code, p.message, p.hint) for p in self.problems])


def thorough(data: Data, progress: Progress | None = None) -> folder.Scan:
    """Every picture decoded, unless it was once: what a run needs."""
    return folder.scan(data, progress=progress)


def glance(data: Data, progress: Progress | None = None) -> folder.Scan:
    """The same for data sets of a usual size; of very large ones only the headers are read."""
    pictures = sum(walk.count(source.folder) for source in sources(data))
    return folder.scan(data, content=pictures <= MOST_DECODED, progress=progress)


def check(
    config: TrainConfig,
    machine: Machine,
    *,
    resuming: bool = False,
    measured_step_s: float | None = None,
    progress: Progress | None = None,
    scanner: Scanner = thorough,
) -> Report:
    """Look at everything that a resolved config names. Reads every picture once; loads no weights.

    progress: is told (pictures read, pictures in all) while the data sets are read. scanner: reads them; the app gives
    one that remembers those that have not changed.
    """
    output = list(of_output(config, resuming))  # first: reading the data sets makes the cache folder
    found, scan = _opened(config, progress, scanner)
    forecast = None
    if scan and scan.pictures:
        samples = epoch.samples(scan, config)
        trained, _ = epoch.split(samples, scan, config)
        epochs = Epochs(trained, scan, config)
        latents = sum(_parts(sample, scan, config) for sample in samples)

        def forecast_of(changed: TrainConfig) -> plan.Plan:
            counts = {"batches": epochs.batches_per_epoch, "latents": latents}
            return plan.forecast(changed, machine, len(scan.pictures), measured_step_s, **counts)

        forecast = forecast_of(config)
        found += [*of_sizes(config, scan, samples, epochs), *of_copies(scan), *of_captions(config, scan)]
        found += _steps(config, forecast, epochs, pictures=len({id(sample.picture) for sample in trained}))
    found += [*of_model(config), *output]
    if forecast:
        found += of_space(config, machine, forecast_of)
    return Report(tuple(found), forecast, scan)


def _opened(
    config: TrainConfig, progress: Progress | None, scanner: Scanner
) -> tuple[list[Finding], folder.Scan | None]:
    if not config.data.folder and not config.data.sets:
        return [tell("problem", "no_folder", "data.folder")], None
    try:
        scan = scanner(config.data, progress)
    except SourceError as error:
        return [unopened(one, config) for one in (error, *error.others)], None
    return list(of_folders(config, scan)), scan


def _parts(sample: Sample, scan: folder.Scan, config: TrainConfig) -> int:
    """Entries that a sample takes in the cache."""
    source, picture = scan.sources[sample.picture.source], sample.picture
    is_moved = source.crop == "random" and buckets.is_cut(picture.width, picture.height, sample.bucket)
    return (config.data.crops if is_moved else 1) * (2 if source.flip else 1)


def _steps(config: TrainConfig, forecast: plan.Plan, epochs: Epochs, pictures: int) -> Iterator[Finding]:
    """pictures: that are trained on."""
    batches = epochs.batches_per_epoch
    steps = max(1, round(batches / config.schedule.gradient_accumulation))
    times = forecast.epochs * epochs.visits.total() / pictures
    shown = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
    yield tell("ok", "epoch", "schedule.max_epochs", batches=batches, per_epoch=steps, shown=shown)
    warmup = config.schedule.warmup_steps
    if warmup >= forecast.steps:
        fix = change("no_warmup", {"schedule.warmup_steps": 0})
        yield tell("warning", "warmup", "schedule.warmup_steps", fix, warmup=warmup, steps=forecast.steps)
