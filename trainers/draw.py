"""Pictures from a finished adapter: the command `sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open

from trainers import catalog, resolve
from trainers.config import TrainConfig
from trainers.errors import ConfigError
from trainers.families import load_family
from trainers.families.base import SampleRequest
from trainers.machine import detect
from trainers.rundir import RunDir
from trainers.worker import make_runtime, quiet_libraries


class Wishes(BaseModel):
    """What `sample` can be told by key=value. "auto": as in the run, or as the model likes it."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = "auto"
    base: str = "auto"
    seed: int = Field(42, ge=0)
    count: int = Field(1, ge=1)
    width: int | Literal["auto"] = "auto"
    height: int | Literal["auto"] = "auto"
    steps: int | Literal["auto"] = "auto"
    guidance: float | Literal["auto"] = "auto"
    out: str = "."


def draw_with_adapter(path: Path, wishes: list[str]) -> list[Path]:
    """Draw with a LoRA file or the file of a run folder; `count` pictures a prompt, seeds counting up."""
    asked = _parse(wishes)
    file, config = _open(path, asked.base)
    prompts = [asked.prompt] if asked.prompt != "auto" else list(config.sample.prompts) or [config.captions.trigger]
    quiet_libraries()
    runtime = make_runtime(config)
    family = load_family(config, runtime)
    family.load("text")
    conds = family.encode_prompt(prompts).split()
    family.unload("text")
    family.load("denoiser")
    family.apply_lora(str(file))
    family.load("vae")
    out = Path(asked.out).expanduser()
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for index, cond in enumerate(conds):
        for seed in range(asked.seed, asked.seed + asked.count):
            request = SampleRequest(
                cond=cond,
                seeds=(seed,),
                width=int(_or(asked.width, config.data.resolution)),
                height=int(_or(asked.height, config.data.resolution)),
                steps=int(_or(asked.steps, config.sample.steps)),
                guidance=float(_or(asked.guidance, config.sample.guidance)),
            )
            written.append(out / f"{file.stem}-{index:02d}-{seed}.png")
            family.sample(request)[0].save(written[-1])
    return written


def _or(wish: object, default: object) -> object:
    return default if wish == "auto" else wish


def _parse(wishes: list[str]) -> Wishes:
    pairs = dict(wish.partition("=")[::2] for wish in wishes)
    try:
        return Wishes.model_validate(pairs)
    except ValidationError as error:
        detail = error.errors()[0]
        key = str(detail["loc"][0])
        raise ConfigError(key, f"{detail['msg']}.", f"Keys: {', '.join(Wishes.model_fields)}.") from error


def _open(path: Path, base: str) -> tuple[Path, TrainConfig]:
    """The adapter file, and the config of its run or one made from what the file says of itself."""
    run = RunDir(path)
    if run.config.is_file():
        config = resolve.validate(resolve.parse_toml(run.config.read_text(encoding="utf-8")))
        file = run.adapter(config.run.name)
        if not file.is_file():
            raise ConfigError("LORA_OR_RUN", f"{path} has no adapter file yet.", "Wait for its end, or resume it.")
        return file, config
    if not path.is_file():
        raise ConfigError("LORA_OR_RUN", f"there is no file or run {path}.")
    with safe_open(path, framework="pt") as opened:
        facts = opened.metadata() or {}
    base = facts.get("atelier.base", "") if base == "auto" else base
    if not base:
        raise ConfigError(
            "base", f"{path.name} does not say which model it is for.", f"Add base=NAME: {', '.join(catalog.MODELS)}."
        )
    wishes = [f"model.base={base}", f"captions.trigger={facts.get('atelier.trigger', '')}"]
    return path, resolve.resolve(resolve.validate(resolve.override({}, wishes)), detect())
