"""The folder `.venv`: made, brought up to date and stamped, so that a second start does nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.launcher.errors import SetupError
from app.launcher.pip import last_lines, pip_install
from app.launcher.torch_build import TorchBuild, build_for_this_machine, card_maker

GIB = 1 << 30


@dataclass(frozen=True)
class Stamp:
    """What a finished environment was made from. core, tests: digests; tests is empty when they lack packages."""

    core: str
    tests: str
    card_maker: str
    build: TorchBuild

    def write(self, path: Path) -> None:
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_text(json.dumps(dataclasses.asdict(self), indent=1), encoding="utf-8")
        os.replace(unfinished, path)

    @staticmethod
    def read(path: Path) -> Stamp | None:
        """None when there is no stamp, or one of another version of Atelier."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return Stamp(**{**record, "build": TorchBuild(**record["build"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def digest(requirements: Path, *more: str) -> str:
    """Of the file, and of those that it includes."""
    return hashlib.sha256("\n".join([*_texts(requirements), *more]).encode()).hexdigest()


def _texts(requirements: Path) -> list[str]:
    text = requirements.read_text(encoding="utf-8")
    included = re.findall(r"^-r\s+(\S+)", text, re.MULTILINE)
    return [text, *(inner for name in included for inner in _texts(requirements.parent / name))]


class Environment:
    """Where the environment of the program in `root` lies, and what it lacks. Creating the object touches nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.requirements = root / "requirements.txt"
        self.test_requirements = root / "requirements-test.txt"
        self.bare_requirements = root / "requirements-scorers.txt"  # goes in without what its packages ask for
        self.stamp = root / ".setup.json"
        self.lock = root / ".setup.lock"  # held during a set-up; one that was cut off leaves it behind
        self.log = root / ".setup.log"

    def python_version(self) -> str:
        """Version of the environment's own Python, as in "3.11"; empty when it is missing, broken or lacks pip."""
        code = "import sys, importlib.util as u; print('%d.%d' % sys.version_info[:2], bool(u.find_spec('pip')))"
        try:
            answer = subprocess.run([str(self.python), "-I", "-c", code], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        version, _, has_pip = answer.stdout.strip().partition(" ")
        return version if answer.returncode == 0 and has_pip == "True" else ""

    def wanted(self, build: TorchBuild, maker: str) -> Stamp:
        """The stamp that the environment has once all is installed, the tests' packages too."""
        core = digest(self.requirements, self.python_version(), build.index_url)
        tests = digest(self.test_requirements, core, *_texts(self.bare_requirements))
        return Stamp(core, tests, maker, build)

    def is_ready(self, wanted: Stamp, with_tests: bool = False) -> bool:
        """It holds what the requirement files ask for now, and no set-up was cut off."""
        stamp = Stamp.read(self.stamp)
        if stamp is None or self.lock.exists() or stamp != dataclasses.replace(wanted, tests=stamp.tests):
            return False
        return not with_tests or stamp.tests == wanted.tests


def set_up(env: Environment, with_tests: bool = False, choose_again: bool = False) -> None:
    """Make the environment or bring it up to date; does nothing, and needs no network, when it is ready.

    choose_again: ask the graphics card anew, also when it is of the same make as before. Raises SetupError.
    """
    stamp, maker = Stamp.read(env.stamp), card_maker()
    keep_build = stamp is not None and stamp.card_maker == maker and not choose_again
    build = stamp.build if stamp and keep_build else build_for_this_machine()
    if env.is_ready(env.wanted(build, maker), with_tests):
        return
    cut_off = env.lock.exists()
    with sole_setup(env):
        started = time.monotonic()
        if cut_off or not env.python_version() or (stamp and stamp.build.index_url != build.index_url):
            env.stamp.unlink(missing_ok=True)
            make_venv(env, build)
        install(env, env.wanted(build, maker), with_tests)
        print(f"The environment is ready after {time.monotonic() - started:.0f} s.", flush=True)


def install(env: Environment, wanted: Stamp, with_tests: bool) -> None:
    """Install what is missing or has changed; each part is stamped as soon as it is whole."""
    stamp = Stamp.read(env.stamp)
    if stamp is None or stamp.core != wanted.core:
        env.stamp.unlink(missing_ok=True)
        stamp = None
        if wanted.build.index_url:  # first: pip then takes this torch for the one that requirements.txt asks for
            pinned = re.findall(r"^torch==\S+", env.requirements.read_text(encoding="utf-8"), re.MULTILINE)
            arguments = [*pinned, "--index-url", wanted.build.index_url]
            pip_install(env.python, env.log, f"Installing PyTorch for {wanted.build.name}", arguments)
        pip_install(env.python, env.log, "Installing packages", ["-r", str(env.requirements)])
    dataclasses.replace(wanted, tests=stamp.tests if stamp else "").write(env.stamp)
    if with_tests:
        title = "Installing what the tests need"
        pip_install(env.python, env.log, title, ["-r", str(env.test_requirements)])
        pip_install(env.python, env.log, title, ["--no-deps", "-r", str(env.bare_requirements)])
        wanted.write(env.stamp)


@contextlib.contextmanager
def sole_setup(env: Environment) -> Iterator[None]:
    """Keep a second set-up away. The lock file stays behind only when this one is cut off."""
    failure = None
    try:
        file = env.lock.open("a")
    except OSError as error:
        message = f"Nothing can be written in {env.root}: {error.strerror}."
        raise SetupError(message, "Move Atelier to a folder of your own, such as one in your home folder.") from error
    with file:
        try:
            hold(file)
        except OSError as error:
            message = "Another set-up of Atelier is running."
            raise SetupError(message, "Wait until it has ended, then start again.") from error
        try:
            yield
        except SetupError as error:
            failure = error
        except KeyboardInterrupt:
            print("\nStopped. The next start begins the set-up again.", file=sys.stderr)
            raise
    env.lock.unlink(missing_ok=True)  # after closing: Windows cannot remove an open file
    if failure:
        raise failure


def hold(file: IO[str]) -> None:
    """Lock a file until it is closed or this process ends. Raises OSError when another process holds it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def make_venv(env: Environment, build: TorchBuild) -> None:
    """An empty environment, in place of an unfinished or damaged one, or one with another build of torch."""
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            "This Python cannot make environments: it lacks ensurepip, which Debian and Ubuntu ship apart.",
            "Install it with: apt install python3-venv   Then start again.",
        )
    check_space(env.root, build)
    if env.folder.exists() or env.folder.is_symlink():
        print("The environment is unfinished, damaged or for another graphics card: making it again.", flush=True)
        try:
            shutil.rmtree(env.folder)
        except OSError as error:
            message = f"{env.folder} cannot be removed: {error}."
            raise SetupError(message, "Close every Atelier window, then start again.") from error
    print(f"Making the environment in {env.folder} (PyTorch: {build.name}; {build.why}).", flush=True)
    # Not sys.executable: that can be the Python of the folder that was just removed.
    base = getattr(sys, "_base_executable", "") or sys.executable
    made = subprocess.run([base, "-m", "venv", str(env.folder)], capture_output=True, text=True)
    if made.returncode:
        env.log.write_text(made.stdout + made.stderr, encoding="utf-8")
        raise SetupError(f"Making the environment failed:\n{last_lines(env.log)}", f"The whole log: {env.log}")


def check_space(folder: Path, build: TorchBuild) -> None:
    """Raises SetupError when the environment would not fit on the disk."""
    free = shutil.disk_usage(folder).free / GIB
    if free < build.disk_gib:
        raise SetupError(
            f"The disk is too small: the environment needs {build.disk_gib:g} GB, {free:.1f} GB are free in {folder}.",
            "Free some space, or move Atelier to another disk, then start again.",
        )
