"""Everything that can be known before anything loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainers import plan
from trainers.config import Data, TrainConfig
from trainers.data import buckets, epoch, folder, pair_samples, walk
from trainers.data.epoch import Epochs, Sample
from trainers.data.index import Progress
from trainers.data.pair_samples import PairEpochs, PairSample
from trainers.data.pair_scan import PairScan
from trainers.data.sources import SourceError, sources
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.preflight import pairs
from trainers.preflight.copies import of_copies
from trainers.preflight.finding import Finding, change, tell
from trainers.preflight.folders import of_folders, unopened
from trainers.preflight.model import of_model
from trainers.preflight.pairs import PairScanner
from trainers.preflight.room import Forecast, of_output, of_space
from trainers.preflight.sizes import of_sizes
from trainers.preflight.texts import of_captions

Scanner = Callable[[Data, Progress | None], folder.Scan]
MOST_DECODED = 20_000  # pictures that a glance decodes


@dataclass(frozen=True)
class Report:
    """plan is None when the pictures cannot be counted. scan: of pictures with captions; pairs: in its place, of
    preference pairs."""

    findings: tuple[Finding, ...]
    plan: plan.Plan | None
    scan: folder.Scan | None
    pairs: PairScan | None = None

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
    pair_scanner: PairScanner = pairs.thorough,
) -> Report:
    """Look at everything that a resolved config names. Reads every picture once; loads no weights.

    progress: is told (pictures read, pictures in all) while the data sets are read. scanner, pair_scanner: read them;
    the app gives some that remember those that have not changed.
    """
    output = list(of_output(config, resuming))  # first: reading the data sets makes the cache folder

    def forecast_of(pictures: int, batches: int, latents: int) -> Forecast:
        counts = {"batches": batches, "latents": latents}
        return lambda changed: plan.forecast(changed, machine, pictures, measured_step_s, **counts)

    if config.objective.kind == "dpo":
        data = _of_pairs(config, progress, pair_scanner, forecast_of)
    else:
        data = _of_pictures(config, progress, scanner, forecast_of)
    found = [*data.findings, *pairs.of_objective(config), *of_model(config), *output]
    if data.forecast:
        found += of_space(config, machine, data.forecast)
    return Report(tuple(found), data.forecast(config) if data.forecast else None, data.scan, data.pairs)


@dataclass(frozen=True)
class _Looked:
    """What the data of a run say. forecast: None when there is nothing to train on."""

    findings: list[Finding]
    forecast: Forecast | None = None
    scan: folder.Scan | None = None
    pairs: PairScan | None = None


ForecastOf = Callable[[int, int, int], Forecast]  # pictures, batches in an epoch, latents


def _of_pictures(config: TrainConfig, progress: Progress | None, scanner: Scanner, forecast_of: ForecastOf) -> _Looked:
    found, scan = _opened(config, progress, scanner)
    if not scan or not scan.pictures:
        return _Looked(found, None, scan)
    samples = epoch.samples(scan, config)
    trained, _ = epoch.split(samples, scan, config)
    epochs = Epochs(trained, scan, config)
    latents = sum(_parts(sample, scan, config) for sample in samples)
    forecast = forecast_of(len(scan.pictures), epochs.batches_per_epoch, latents)
    found += [*of_sizes(config, scan, samples, epochs), *of_copies(scan), *of_captions(config, scan)]
    pictures = len({id(sample.picture) for sample in trained})
    expected = forecast(config)
    times = expected.epochs * epochs.visits.total() / pictures
    found += _steps(config, expected, epochs.batches_per_epoch, times, "epoch")
    return _Looked(found, forecast, scan)


def _of_pairs(config: TrainConfig, progress: Progress | None, scanner: PairScanner, forecast_of: ForecastOf) -> _Looked:
    found, scan = pairs.opened(config, progress, scanner)
    if not scan:
        return _Looked(found)
    samples = pair_samples.arranged(scan, config)
    found += pairs.of_pairs(config, scan, samples)
    if not samples.trained:
        return _Looked(found, None, None, scan)
    batches = PairEpochs(samples.trained, config).batches_per_epoch
    latents = sum(_pair_parts(pair, config) for pair in (*samples.trained, *samples.held_out))
    forecast = forecast_of(len(scan.pictures), batches, min(latents, len(scan.pictures) * _most_parts(config)))
    expected = forecast(config)
    found += _steps(config, expected, batches, expected.epochs, "pair_epoch")
    return _Looked(found, forecast, None, scan)


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


def _pair_parts(pair: PairSample, config: TrainConfig) -> int:
    """The same of a pair."""
    places = len(pair_samples.places_of(pair, config))
    return len(pair.sides) * places * (2 if config.data.flip else 1)


def _most_parts(config: TrainConfig) -> int:
    """Entries of a picture, in however many pairs of its shape it is."""
    return (config.data.crops if config.data.crop == "random" else 1) * (2 if config.data.flip else 1)


def _steps(config: TrainConfig, forecast: plan.Plan, batches: int, times: float, code: str) -> Iterator[Finding]:
    """batches: in an epoch; times: visits of each in the run; code: what visits are of."""
    steps = max(1, round(batches / config.schedule.gradient_accumulation))
    shown = f"{times:,.0f}" if times >= 10 else f"{times:.2g}"
    yield tell("ok", code, "schedule.max_epochs", batches=batches, per_epoch=steps, shown=shown)
    warmup = config.schedule.warmup_steps
    if warmup >= forecast.steps:
        fix = change("no_warmup", {"schedule.warmup_steps": 0})
        yield tell("warning", "warmup", "schedule.warmup_steps", fix, warmup=warmup, steps=forecast.steps)
