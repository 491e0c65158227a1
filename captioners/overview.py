"""The table of captioners for a terminal of 120 columns. Light."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from captioners.catalog import CAPTIONERS, READS, CaptionerSpec
from captioners.config import Quantize
from captioners.packages import BITSANDBYTES, FILES, ONNXRUNTIME
from captioners.weights import is_here
from trainers.machine import Machine

WIDTH = 120
COLUMNS = "{:28} {:36} {:6} {:>9} {:>5} {:>5} {:>5}"
ALL_READ = "run, pictures and policy, captioner.name and captioner.batch_size"


def table(machine: Machine) -> Iterator[str]:
    """Lines: of each captioner two, with its figures, and with its source and what to know of it; then the notes."""
    yield COLUMNS.format("captioner", "licence", "writes", "download", "GB", "nf4", "here")
    for name, spec in CAPTIONERS.items():
        yield _row(name, spec, machine)
        about = f"{spec.source}: {spec.note}" if spec.source else spec.note
        yield from textwrap.wrap(about, WIDTH, initial_indent="    ", subsequent_indent="    ")
    yield ""
    yield from _notes(machine)


def _row(name: str, spec: CaptionerSpec, machine: Machine) -> str:
    nf4 = f"{memory_here(spec, machine, 'nf4'):.1f}" if spec.quantizable else "-"
    memory = f"{memory_here(spec, machine):.1f}" if spec.params else "-"
    here = "-" if spec.kind == "server" else "yes" if is_here(name) else "no"
    return COLUMNS.format(name, spec.licence, spec.writes, _download(spec), memory, nf4, here)


def _download(spec: CaptionerSpec) -> str:
    if spec.built_in:
        return "built in"
    if spec.kind == "server":
        return "server"
    return f"{spec.download_gib:.1f} GB{'*' * spec.gated}" if spec.download_gib else "by hand"


def memory_here(spec: CaptionerSpec, machine: Machine, quantize: Quantize = "none") -> float:
    """Peak in GiB on this machine, in the precision that "auto" stands for. Taggers are in fp32 everywhere."""
    is_fp32 = machine.device == "cpu" or spec.kind == "wd"
    return spec.memory_gib(quantize, 4.0 if is_fp32 else 2.0)


def _notes(machine: Machine) -> Iterator[str]:
    if any(spec.gated for spec in CAPTIONERS.values()):
        yield "* Accept the licence on the model's page at Hugging Face once, and sign in with `hf auth login`."
    yield f"GB, nf4: peak of memory on {machine.device} for a picture at a time, and with captioner.quantize = nf4."
    yield f"here: on this machine already. Install {FILES[ONNXRUNTIME]} for wd, {FILES[BITSANDBYTES]} for"
    yield "captioner.quantize and for the 4-bit files of joycaption_folders."
    yield f"All captioners read {ALL_READ}. Beside these"
    for kind, paths in READS.items():
        yield from textwrap.wrap(f"{kind}: {_grouped(paths)}", WIDTH, initial_indent="  ", subsequent_indent="      ")


def _grouped(paths: frozenset[str]) -> str:
    """Settings by section, as in captioner.device, precision; prompt.text."""
    sections: dict[str, list[str]] = {}
    for path in sorted(paths):
        section, key = path.split(".")
        sections.setdefault(section, []).append(key)
    return "; ".join(f"{section}.{', '.join(keys)}" for section, keys in sections.items())
