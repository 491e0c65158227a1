"""Settings of captioning: from words to a resolved configuration, and what is refused."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from captioners import catalog, resolve
from captioners.catalog import CAPTIONERS
from captioners.config import CaptionConfig
from tests.readers import reads
from trainers import settings
from trainers.errors import ConfigError, ConfigErrors
from trainers.machine import Machine
from trainers.parameters import by_path, parameters
from trainers.paths import PROGRAM

LAPTOP = Machine("cpu", "a laptop", 16.0, 16.0, 4, bf16=False)
CARD = Machine("cuda", "a card", 24.0, 64.0, 8, bf16=True)
OLD_CARD = Machine("cuda", "an old card", 8.0, 16.0, 4, bf16=False)


def made(name: str, *wishes: str, machine: Machine = LAPTOP) -> CaptionConfig:
    values = {"captioner": {"name": name}, "pictures": {"folder": "pictures"}}
    source = ["captioner.source=folders"] if name == "joycaption-alpha-two-folders" else []
    return resolve.resolve(resolve.validate(resolve.override(values, [*source, *wishes])), machine)


@pytest.mark.parametrize("machine", [LAPTOP, CARD, OLD_CARD], ids=lambda machine: machine.name)
@pytest.mark.parametrize("name", CAPTIONERS)
def test_resolving_leaves_no_auto_and_is_idempotent(name: str, machine: Machine) -> None:
    config = made(name, machine=machine)
    left = {path for path in by_path(CaptionConfig) if _value(config, path) == "auto"}
    assert left <= {"prompt.task"} and (not CAPTIONERS[name].tasks or not left)
    stored = resolve.load(settings.dump(config))
    assert stored == config == resolve.resolve(stored, machine)


def _value(config: CaptionConfig, path: str) -> object:
    section, key = path.split(".")
    return getattr(getattr(config, section), key)


@pytest.mark.parametrize(
    ("wish", "path", "value"),
    [
        ("existing=append", "policy.existing", "append"),
        ("policy.existing=append", "policy.existing", "append"),
        ("batch_size=3", "captioner.batch_size", 3),
        ("trigger=2024", "policy.trigger", "2024"),
        ("blacklist=['a','b']", "policy.blacklist", ("a", "b")),
        ("overwrite=replace", "policy.existing", "replace"),  # as other tools call it
        ("dry_run=true", "pictures.dry_run", True),
        ("seed=7", "run.seed", 7),
    ],
)
def test_a_key_of_one_section_needs_no_section(wish: str, path: str, value: object) -> None:
    assert _value(made("sandbox", wish), path) == value


def test_every_key_that_several_sections_have_is_refused_without_its_section() -> None:
    names = [parameter.name for parameter in parameters(CaptionConfig)]
    assert {name for name in names if names.count(name) > 1} <= {"name"}  # run.name, captioner.name


@pytest.mark.parametrize(
    ("name", "wish", "field"),
    [
        ("sandbox", "existing=always", "policy.existing"),
        ("sandbox", "nonsense=1", "nonsense"),
        ("sandbox", "name=me", "name"),
        ("sandbox", "policy.nonsense=1", "policy.nonsense"),
        ("sandbox", "nonsense", "nonsense"),
        ("sandbox", "captioner.quantize=nf4", "captioner.quantize"),
        ("florence2-base", "prompt.text=why", "prompt.text"),
        ("florence2-base", "task=mixed", "prompt.task"),
        ("wd-vit", "temperature=0.5", "generate.temperature"),
        ("wd-vit", "general=1.5", "tags.general"),
        ("blip-base", "general=0.5", "tags.general"),
        ("joycaption-beta-one", "caption_type=Poem", "prompt.caption_type"),
        ("joycaption-beta-one", "length=enormous", "prompt.length"),
        ("joycaption-beta-one", "options=['sing']", "prompt.options"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_field(name: str, wish: str, field: str) -> None:
    with pytest.raises((ConfigError, ConfigErrors)) as caught:
        made(name, wish)
    errors = caught.value.errors if isinstance(caught.value, ConfigErrors) else [caught.value]
    assert [error.field for error in errors] == [field] and errors[0].hint


def test_an_unknown_captioner_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean florence2-base\?"):
        made("florence-base")


def test_drawing_follows_the_captioner_and_the_temperature() -> None:
    usual = made("joycaption-beta-one").generate
    assert (usual.temperature, usual.top_p, usual.beams, usual.max_tokens) == (0.6, 0.9, 1, 512)
    greedy = made("joycaption-beta-one", "temperature=0").generate
    assert (greedy.temperature, greedy.top_p, greedy.top_k) == (0, 1.0, 0)
    assert made("florence2-base").generate.beams == 3


def test_numbers_follow_the_machine() -> None:
    kinds = [made("florence2-base", machine=machine).captioner for machine in (LAPTOP, CARD, OLD_CARD)]
    assert [(kind.device, kind.precision, kind.batch_size) for kind in kinds] == [
        ("cpu", "fp32", 1),
        ("cuda", "bf16", 8),
        ("cuda", "fp16", 8),
    ]
    assert made("qwen3-vl-2b", machine=OLD_CARD).captioner.precision == "bf16"
    assert made("florence2-base", "device=cpu", machine=CARD).captioner.precision == "fp32"


def test_a_cost_free_question_writes_nothing() -> None:
    assert made("server", "server.url=http://localhost/v1", "cost_free=true").pictures.dry_run


def test_a_job_of_another_version_is_refused() -> None:
    text = settings.dump(made("sandbox")).replace("schema_version = 1", "schema_version = 2")
    with pytest.raises(ConfigError, match="2 is not known"):
        resolve.load(text)


def test_every_setting_has_a_reader() -> None:
    read: set[str] = set()
    for file in (PROGRAM / "captioners").rglob("*.py"):
        if file.name not in ("config.py", "resolve.py"):
            read |= set(reads(ast.parse(file.read_text(encoding="utf-8")), CaptionConfig))
    told = {"run.name", "run.output_dir"}  # the folder of the job, which `resolve` makes of them
    assert sorted(set(by_path(CaptionConfig)) - read - told) == []


def test_what_a_kind_reads_exists() -> None:
    assert set(by_path(CaptionConfig)) >= catalog.ONLY_SOME_READ
    assert set(catalog.READS) == set(catalog.MODULES) == {spec.kind for spec in CAPTIONERS.values()}


def test_what_a_kind_reads_is_what_its_module_reads() -> None:
    """A setting that is offered for a captioner is read by it, or by what all of its kind share."""
    shared = {"generate", "loading", "prompts", "weights", "job", "scribe", "worker", "tries", "generation"}
    common: set[str] = set()
    for name in shared:
        if (file := PROGRAM / "captioners" / f"{name}.py").is_file():
            common |= set(reads(ast.parse(file.read_text(encoding="utf-8")), CaptionConfig))
    for kind, module in catalog.MODULES.items():
        stem = Path(*module.split("."))
        own: set[str] = set()
        for file in PROGRAM.glob(f"{stem.parent}/{stem.name}*.py"):
            own |= set(reads(ast.parse(file.read_text(encoding="utf-8")), CaptionConfig))
        own |= set(reads(ast.parse((PROGRAM / "captioners/tags.py").read_text(encoding="utf-8")), CaptionConfig))
        assert catalog.READS[kind] - own - common == set(), kind
