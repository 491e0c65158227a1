"""What this machine has, and what is wrong with it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.launcher.environment import GIB, Environment, Stamp
from app.launcher.torch_build import CUDA_13_OLDEST_DRIVER, Card, build_for_this_machine, card_maker, nvidia_cards
from trainers.paths import data_dir

REMAKE = "Remove the folder .venv, then run: python launch.py setup"

# Run by the environment's Python: versions of the packages named as arguments, and what torch computes on.
PROBE = """
import importlib.metadata, json, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
versions, device, error = {name: version(name) for name in sys.argv[1:]}, "", ""
try:
    import torch
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    device = torch.cuda.get_device_name() if cuda else "Apple GPU" if mps else "processor"
except (ImportError, OSError, RuntimeError) as raised:
    error = str(raised)
print(json.dumps({"versions": versions, "device": device, "error": error}))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the answer. problem: empty when all is well; remedy: what to do about it."""

    label: str
    value: str
    problem: str = ""
    remedy: str = ""


def doctor(env: Environment) -> int:
    """Print what this machine has. Returns the number of problems."""
    findings = look(env)
    for finding in findings:
        print(f"{finding.label:<13}{finding.value}")
    problems = [finding for finding in findings if finding.problem]
    print()
    for number, finding in enumerate(problems, 1):
        print(f"Problem {number}: {finding.problem}\n    {finding.remedy}")
    if not problems:
        print("Nothing is wrong.")
    return len(problems)


def look(env: Environment) -> list[Finding]:
    cards, stamp = nvidia_cards(), Stamp.read(env.stamp)
    build = stamp.build if stamp else build_for_this_machine()
    ready = env.is_ready(env.wanted(build, card_maker()))
    return [
        Finding("Python", f"{platform.python_version()} ({sys.executable})"),
        Finding("System", f"{platform.platform()}, {os.cpu_count()} cores, {ram_gib():.1f} GB of memory"),
        disk(env.root, 0 if ready else build.disk_gib),
        *graphics(cards),
        Finding("Torch build", f"{build.name}: {build.why}"),
        *environment(env, ready, bool(cards)),
        data_folder(),
        network(ready),
        Finding("App window", app_browser() or "no Chrome, Edge or Chromium; the default browser opens instead"),
    ]


def disk(folder: Path, need_gib: float) -> Finding:
    free = shutil.disk_usage(folder).free / GIB
    problem = f"The environment needs {need_gib:g} GB of disk; {free:.1f} GB are free." if free < need_gib else ""
    remedy = "Free some space, or move Atelier to another disk."
    return Finding("Disk", f"{free:.1f} GB free in {folder}", problem, remedy)


def graphics(cards: list[Card] | None) -> list[Finding]:
    if cards is None:
        return [
            Finding("Graphics", "an AMD card" if card_maker() == "amd" else "no NVIDIA card; large models need one")
        ]
    if not cards:
        value, problem = "nvidia-smi is installed and finds no card", "The NVIDIA driver does not answer."
        return [Finding("Graphics", value, problem, "Restart the computer, or install the driver again.")]
    return [Finding("Graphics", f"{card.name}, {card.memory_gib:.0f} GB, driver {card.driver}") for card in cards]


def environment(env: Environment, ready: bool, has_card: bool) -> list[Finding]:
    """Is it set up, has it the packages that requirements.txt pins, and does torch see the card?"""
    if not env.python_version():
        return [Finding("Environment", "not made yet, or damaged; the next start makes it")]
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", env.requirements.read_text(encoding="utf-8"), re.MULTILINE))
    answer = subprocess.run([str(env.python), "-I", "-c", PROBE, *pins], capture_output=True, text=True)
    if answer.returncode:
        return [Finding("Environment", "damaged", f"Its Python fails: {answer.stderr.strip()[-200:]}", REMAKE)]
    report: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    state = "up to date" if ready else "out of date; the next start brings it up to date"
    return [
        Finding("Environment", f"{env.folder}, {state}"),
        packages(pins, report["versions"], ready),
        torch(report, has_card),
    ]


def packages(pins: dict[str, str], versions: dict[str, str], ready: bool) -> Finding:
    """A difference to the pins is a problem in an environment that claims to be ready."""
    changed = [
        f"{name} {versions[name] or 'missing'} instead of {pin}"
        for name, pin in pins.items()
        if versions[name].split("+")[0] != pin
    ]
    problem = f"Packages were changed: {', '.join(changed)}." if changed and ready else ""
    return Finding("Packages", ", ".join(f"{name} {versions[name] or 'missing'}" for name in pins), problem, REMAKE)


def torch(report: dict[str, Any], has_card: bool) -> Finding:
    if report["error"]:
        redistributable = (
            "Install Microsoft's Visual C++ Redistributable: https://aka.ms/vs/17/release/vc_redist.x64.exe"
        )
        remedy = redistributable if platform.system() == "Windows" else REMAKE
        return Finding("Torch", "does not load", f"PyTorch does not load: {report['error']}", remedy)
    problem = "PyTorch does not see the NVIDIA card." if has_card and report["device"] == "processor" else ""
    remedy = f"Update its driver to {CUDA_13_OLDEST_DRIVER} or newer, then run: python launch.py setup"
    return Finding("Torch", f"{report['versions']['torch']} computes on: {report['device']}", problem, remedy)


def data_folder() -> Finding:
    folder = data_dir()
    nearest = next(path for path in [folder, *folder.parents] if path.exists())
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    value = f"{folder}, {shutil.disk_usage(nearest).free / GIB:.1f} GB free"
    problem = "" if writable else f"The data folder {folder} cannot be written to."
    return Finding("Data folder", value, problem, "Choose another with --data-dir DIR.")


def network(ready: bool) -> Finding:
    """A finished set-up works without network, so that only an unfinished one makes its lack a problem."""
    index = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple/"
    try:
        with urllib.request.urlopen(index.rstrip("/") + "/pip/", timeout=5):
            return Finding("Network", f"{index} answers")
    except OSError as error:  # URLError, timeouts and resets
        value = f"{index} does not answer; only set-up and downloads need it"
        problem = "" if ready else f"The package index {index} does not answer: {error}."
        return Finding("Network", value, problem, "Connect to the network, or set HTTPS_PROXY.")


def app_browser() -> str:
    """Path of a browser that can open a window without tabs; empty when there is none."""
    names = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "microsoft-edge")
    places = [Path(f"/Applications/{name}.app") for name in ("Google Chrome", "Microsoft Edge", "Chromium")]
    for variable in ("ProgramFiles", "ProgramFiles(x86)", "LocalAppData"):
        if folder := os.environ.get(variable):
            places += [Path(folder, part) for part in ("Google/Chrome/Application", "Microsoft/Edge/Application")]
    installed = [shutil.which(name) for name in names] + [str(place) for place in places if place.exists()]
    return next(filter(None, installed), "")


def ram_gib() -> float:
    if sys.platform == "win32":
        import ctypes

        kib = ctypes.c_ulonglong(0)
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kib))
        return kib.value * 1024 / GIB
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
