"""The command `sample`: pictures from a LoRA file or a run, files beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from trainers import catalog, resolve
from trainers.config import TrainConfig
from trainers.draw import Drawer, DrawRequest, nothing_to_tell
from trainers.errors import ConfigError
from trainers.machine import detect
from trainers.rundir import RunDir
from trainers.sheets import sheet, strength_label
from trainers.trials import Strength
from trainers.weights.hub import Progress

HOW = {
    "strength": "Give one number or several, as in strength=0,0.5,1.",
    "compare": "Give true or false.",
    "width": "Give a number of pixels, or leave it out.",
    "height": "Give a number of pixels, or leave it out.",
}


def _numbers(text: Any) -> Any:
    return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


Auto = Literal["auto"]


class Wishes(BaseModel):
    """What `sample` can be told by key=value. "auto": as in the run, or as the model likes it."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = "auto"
    negative: str = "auto"
    base: str = "auto"
    seed: int = Field(42, ge=0)
    count: int = Field(1, ge=1)
    width: Annotated[int, Field(ge=16)] | Auto = "auto"
    height: Annotated[int, Field(ge=16)] | Auto = "auto"
    steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    guidance: Annotated[float, Field(ge=0)] | Auto = "auto"
    strength: Annotated[list[Strength], BeforeValidator(_numbers), Field(min_length=1)] = [1.0]
    compare: bool = False
    out: str = "."


def sample(path: Path, wishes: list[str], download: Progress = nothing_to_tell) -> Iterator[Path]:
    """Draw with a LoRA file or the file of a run folder: each prompt, `count` seeds, each strength.

    download: hears of a base that has to be downloaded. Yields the files as they are written; after several strengths
    a sheet of them. Raises AtelierError.
    """
    asked = parse(wishes)
    file, config = open_adapter(path, asked.base)
    prompts = [asked.prompt] if asked.prompt != "auto" else list(config.sample.prompts) or [config.captions.trigger]
    plain = _plain(asked, config)
    out = Path(asked.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    drawer = Drawer(config, file, download=download)
    drawer.read([*prompts, plain.negative])
    for index, prompt in enumerate(prompts):
        stem, rows = f"{file.stem}-{index:02d}", []
        for seed in range(asked.seed, asked.seed + asked.count):
            request = replace(plain, prompt=prompt, seed=seed)
            row = [(strength, drawer.draw(replace(request, strength=strength))) for strength in asked.strength]
            base = drawer.draw(replace(request, strength=0.0)) if asked.compare else None
            yield from _write(out, f"{stem}-{seed}", row, base)
            rows.append([(strength_label(strength), picture) for strength, picture in row])
        if len(asked.strength) > 1:
            target = out / f"{stem}-sheet.png"
            sheet(rows).save(target)
            yield target


def _write(out: Path, stem: str, row: list[tuple[float, Image.Image]], base: Image.Image | None) -> Iterator[Path]:
    """The pictures of one seed; base: what stands at their left."""
    for strength, picture in row:
        target = out / (f"{stem}-{strength:g}.png" if len(row) > 1 else f"{stem}.png")
        pair = [("without", base), (strength_label(strength), picture)] if base else []
        (sheet([pair]) if pair else picture).save(target)
        yield target


def parse(wishes: list[str]) -> Wishes:
    """Raises ConfigError for the first wish that cannot be had."""
    unclear = next((wish for wish in wishes if "=" not in wish), None)
    if unclear is not None:
        raise ConfigError(unclear, "this is not of the form key=value.", 'For example: prompt="a red dog"')
    try:
        return Wishes.model_validate(dict(wish.partition("=")[::2] for wish in wishes))
    except ValidationError as error:
        detail = error.errors()[0]
        key = str(detail["loc"][0])
        if key not in Wishes.model_fields:
            raise ConfigError(key, "there is no such key.", f"Keys: {', '.join(Wishes.model_fields)}.") from error
        raise ConfigError(key, f"{detail['input']!r} cannot be used.", HOW.get(key, f"{detail['msg']}.")) from error


def _plain(asked: Wishes, config: TrainConfig) -> DrawRequest:
    """What all pictures have in common."""
    multiple = catalog.FAMILIES[config.model.family].pixel_multiple
    for key in ("width", "height"):
        side = getattr(asked, key)
        if side != "auto" and side % multiple:
            near = max(round(side / multiple), 1) * multiple
            raise ConfigError(key, f"{side} is not a multiple of {multiple}, which the model needs.", f"Use {near}.")
    return DrawRequest(
        prompt="",
        negative=config.sample.negative if asked.negative == "auto" else asked.negative,
        seed=asked.seed,
        steps=int(config.sample.steps if asked.steps == "auto" else asked.steps),
        guidance=float(config.sample.guidance if asked.guidance == "auto" else asked.guidance),
        width=int(config.data.resolution if asked.width == "auto" else asked.width),
        height=int(config.data.resolution if asked.height == "auto" else asked.height),
        strength=1.0,
    )


def open_adapter(path: Path, base: str) -> tuple[Path, TrainConfig]:
    """The adapter file, and the config of its run or one made from what the file says of itself.

    base: another base model than that, or "auto".
    """
    run = RunDir(path)
    if run.config.is_file():
        return _of_run(run, base)
    if not path.is_file():
        raise ConfigError("LORA_OR_RUN", f"there is no file or run {path}.", "Give a .safetensors file or a run.")
    for folder in (path.parent, path.parent.parent.parent):  # of a finished run, or of a checkpoint
        if RunDir(folder).config.is_file() and path in RunDir(folder).adapter_files():
            return path, _config_of(RunDir(folder), base)
    try:
        with safe_open(path, framework="pt") as opened:
            facts = opened.metadata() or {}
    except SafetensorError as error:
        raise ConfigError(
            "LORA_OR_RUN", f"{path.name} is no safetensors file: {error}.", "Copy or download it again."
        ) from error
    base = facts.get("atelier.base", "") if base == "auto" else base
    if not base:
        raise ConfigError(
            "base", f"{path.name} does not say which model it is for.", f"Add base=NAME: {', '.join(catalog.MODELS)}."
        )
    wishes = [f"model.base={base}", f"captions.trigger={facts.get('atelier.trigger', '')}"]
    return path, resolve.resolve(resolve.validate(resolve.override({}, wishes)), detect())


def _of_run(run: RunDir, base: str) -> tuple[Path, TrainConfig]:
    config = _config_of(run, base)
    file = run.adapter(config.run.name)
    if not file.is_file():
        raise ConfigError("LORA_OR_RUN", f"{run.path} has no adapter file yet.", "Wait for its end, or resume it.")
    return file, config


def _config_of(run: RunDir, base: str) -> TrainConfig:
    config = resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))
    if base == "auto":
        return config
    return resolve.resolve(resolve.with_changes(config, {"model": {"base": base, "family": "auto"}}), detect())
