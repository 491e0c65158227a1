"""Commands for people who prefer a terminal: `python launch.py COMMAND ...` ends up here."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from trainers import catalog, overview, preflight, resolve, settings
from trainers.config import TrainConfig
from trainers.data import storage
from trainers.errors import EXIT_DONE, AtelierError, ConfigError
from trainers.events import Event, Measured, PhaseChanged, RunFailed, RunFinished, StepDone, ValidationDone, Warned
from trainers.machine import GIB, detect
from trainers.paths import data_dir
from trainers.presets import presets
from trainers.rundir import RunDir, worker_info

READING_SHOWS_S, READING_PAUSE_S = 1.0, 0.2
JOBS = {"caption": "captioners.cli"} | dict.fromkeys(("generate", "score", "compare"), "trainers.preferences.cli")


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code follows `trainers.errors`."""
    return dispatch(_parser(), argv)


def dispatch(parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parse, and do what the arguments ask for with their `run`; `wishes` are key=value arguments."""
    args, rest = parser.parse_known_args(argv)
    # argparse stops to collect key=value at the first option; those behind it are wishes too
    if [word for word in rest if word.startswith("-") or not hasattr(args, "wishes")]:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.wishes += rest
    try:
        code: int = args.run(args)
        return code
    except AtelierError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader has seen enough, as in `launch.py families | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or flushing at the end would fail again
        return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.py")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        return added

    def config_arguments(added: argparse.ArgumentParser) -> None:
        added.add_argument("preset", metavar="PRESET_OR_TOML")
        added.add_argument("wishes", nargs="*", metavar="section.key=value")

    train = command("train", _train, "train an adapter; ends with the path of its file")
    config_arguments(train)
    train.add_argument("--run-dir", type=Path, help="folder of the run; default: a new one in the data folder")
    resume = command("resume", _resume, "go on with a run from its newest checkpoint")
    resume.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    config_arguments(command("check", _check, "everything that can be known before loading"))
    sample = command("sample", _sample, "draw prompts with an adapter")
    sample.add_argument("adapter", type=Path, metavar="LORA_OR_RUN")
    sample.add_argument(
        "wishes",
        nargs="*",
        metavar="key=value",
        help="prompt, negative, seed, count, steps, guidance, width, height, strength=0,0.5,1 (a sheet too), "
        "compare=true (without and with, side by side), base, out",
    )
    export = command("export", _export, "write a LoRA of any program in another layout, and check it")
    export.add_argument("lora", type=Path, metavar="LORA")
    export.add_argument(
        "--layout",
        required=True,
        choices=catalog.LAYOUTS,
        help="names of the weights. kohya: for A1111, Forge, ComfyUI, kohya; diffusers: for diffusers and what builds "
        "on it; comfyui: the names of the original model",
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="the new file; an old one is replaced")
    export.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), default="", help="default: as in the file")
    export.add_argument(
        "--base", default="", metavar="NAME_OR_FOLDER", help="the model it is for, where the file does not tell"
    )
    cache = command("cache", _cache, "what encoded pictures and captions take on disk; get the room back")
    cache.add_argument("--prune", type=float, metavar="DAYS", help="remove what no run asked for in so many days")
    command("presets", _presets, "table of presets")
    command("families", _families, "table of families and models")
    return parser


# --------------------------------------------------------------------------- train, resume, check


def _load(args: argparse.Namespace) -> TrainConfig:
    values = resolve.override(resolve.load(args.preset), args.wishes)
    return resolve.resolve(resolve.validate(values), detect())


def _train(args: argparse.Namespace) -> int:
    config = _load(args)
    if args.run_dir:
        target = args.run_dir.expanduser().absolute()
        config = resolve.with_changes(config, {"run": {"output_dir": str(target.parent), "name": target.name}})
    report = _checked(config)
    _print_report(report, sys.stderr, levels=("ok",))  # the run itself tells its warnings
    report.raise_problems()
    config = resolve.pinned(config)
    run = RunDir(Path(config.run.output_dir) / config.run.name)
    run.create(resolve.dump(config))
    return _work(run, resume=False)


def _resume(args: argparse.Namespace) -> int:
    run = RunDir(args.run_dir.expanduser().absolute())
    if not run.config.is_file():
        raise ConfigError("RUN_DIR", f"{run.path} holds no run.", "Give a folder with a config.toml.")
    info = worker_info(run)
    if info and info.alive:
        raise ConfigError("RUN_DIR", f"the run is going on in process {info.pid}.", "Stop it first.")
    kind = settings.read_toml(run.config.read_text(encoding="utf-8")).get("kind")
    if module := JOBS.get(str(kind)):
        code: int = importlib.import_module(module).work_on(run)
        return code
    return _work(run, resume=True)


def _work(run: RunDir, *, resume: bool) -> int:
    """Do the run in this process, with a progress bar."""
    from trainers.worker import work

    progress = Progress()
    try:
        code = work(run, resume=resume, watch=progress)
    finally:
        progress.close()
    if progress.failed:
        print(f"{progress.failed.message} {progress.failed.hint}".strip(), file=sys.stderr)
    elif progress.finished:
        if progress.finished.summary:
            print(progress.finished.summary)
        print(run.path / progress.finished.path)
    return code


class Progress:
    """Shows a run's events as a bar with loss and speed."""

    def __init__(self) -> None:
        self.failed: RunFailed | None = None
        self.finished: RunFinished | None = None
        self._bar: Any = None  # a tqdm, once training starts
        self._file: Any = None  # a tqdm of the download that goes on
        self._validation = ""

    def __call__(self, event: Event) -> None:
        match event:
            case PhaseChanged(phase="training", total=int(total)):
                self._open(total, event.done or 0)
            case PhaseChanged(phase="downloading", detail=file, done=int(done), total=int(total)):
                self._download(file, done, total)
            case PhaseChanged(phase=phase, detail=detail, done=done) if phase != "training" and not done:
                self._say(f"{phase}{f': {detail}' if detail else ''}")
            case StepDone():
                self._step(event)
            case ValidationDone(loss=loss):
                self._validation = f", validation {loss:.4f}"
            case Warned():
                self._say(f"warning: {event.message} {event.hint}".strip())
            case Measured(step=step, values=values):
                self._say(f"measured at step {step}: " + ", ".join(f"{k} {v:.0%}" for k, v in values.items()))
            case RunFailed():
                self.failed = event
            case RunFinished():
                self.finished = event

    def _open(self, total: int, done: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True)

    def _download(self, file: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._file is None or self._file.desc != file:
            self._close_download()
            self._file = tqdm(total=total, desc=file, unit="B", unit_scale=True, dynamic_ncols=True)
        self._file.update(done - self._file.n)

    def _close_download(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _step(self, event: StepDone) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {event.loss:.4f}{self._validation}", refresh=False)
            self._bar.update(event.step - self._bar.n)

    def _say(self, text: str) -> None:
        self._close_download()
        if self._bar is None:
            print(text, file=sys.stderr)
        elif text.startswith(("warning", "measur")):
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._close_download()
        if self._bar is not None:
            self._bar.close()


def _checked(config: TrainConfig) -> preflight.Report:
    reading = Reading()
    try:
        scanners: dict[str, Any] = {"scanner": preflight.glance, "pair_scanner": preflight.glance_pairs}
        return preflight.check(config, detect(), progress=reading, **scanners)
    finally:
        reading.close()


class Reading:
    """A line that counts pictures while large folders are read; small ones are done before it shows."""

    def __init__(self) -> None:
        self._due, self._shown = time.monotonic() + READING_SHOWS_S, False

    def __call__(self, done: int, total: int | None) -> None:
        if (now := time.monotonic()) < self._due:
            return
        self._due, self._shown = now + READING_PAUSE_S, True
        count = f"{done:,} of {total:,}" if total else "counting"
        print(f"\rReading the pictures: {count}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._shown:
            print(file=sys.stderr)


def _check(args: argparse.Namespace) -> int:
    report = _checked(_load(args))
    _print_report(report, sys.stdout, levels=("ok", "warning"))  # problems follow as the command's error
    report.raise_problems()
    return EXIT_DONE


def _print_report(report: preflight.Report, file: TextIO, levels: tuple[preflight.Level, ...]) -> None:
    for finding in report.findings:
        if finding.level in levels:
            print(f"{finding.level:8}{finding.message} {finding.hint}".rstrip(), file=file)
    if report.plan:
        print(f"{'plan':8}{report.plan.sentence()}", file=file)


# --------------------------------------------------------------------------- sample


def _sample(args: argparse.Namespace) -> int:
    from trainers.worker import quiet_libraries

    quiet_libraries()
    from trainers.sample_command import sample

    progress = Progress()

    def download(file: str, done: int, total: int) -> None:
        progress(PhaseChanged("downloading", file, done, total))

    try:
        for path in sample(args.adapter.expanduser().absolute(), args.wishes, download):
            progress.close()
            print(path)
    finally:
        progress.close()
    return EXIT_DONE


# --------------------------------------------------------------------------- export


def _export(args: argparse.Namespace) -> int:
    from trainers.worker import quiet_libraries

    quiet_libraries()
    from trainers.lora.convert import convert_lora

    out = args.out.expanduser().absolute()
    convert_lora(args.lora.expanduser().absolute(), out, args.layout, args.dtype, args.base)
    print(out)
    return EXIT_DONE


# --------------------------------------------------------------------------- cache


def _cache(args: argparse.Namespace) -> int:
    folder = data_dir() / "cache"
    if args.prune is not None:
        freed = storage.prune(folder, args.prune)
        print(f"Removed {freed.files} file{'s' * (freed.files != 1)}, {freed.bytes / GIB:.2f} GB.")
    for used in storage.usage(folder):
        size = f"{used.bytes / GIB:8.2f} GB in {used.files:,} files"
        print(f"{used.kind:8} {size}, last wanted {used.idle_days:.0f} days ago")
    return EXIT_DONE


# --------------------------------------------------------------------------- tables


def _presets(args: argparse.Namespace) -> int:
    for preset in presets(data_dir() / "presets"):
        print(f"{preset.name:20} {preset.title}\n{'':20} {preset.summary}")
    return EXIT_DONE


def _families(args: argparse.Namespace) -> int:
    for line in overview.families(detect()):
        print(line)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
